"""What `rewards.yaml` says, as values: who scores each property, against which reference, and what is made of it.

Nothing here loads anything, so that a scorer of all properties travels between processes as what it was made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from allgood.objectives import Objective
from allgood.scorers.spec import ClassifierSpec, ScorerSpec
from allgood.transform_facts import TransformFacts, facts_of
from allgood.treatment import Treatment
from allgood.views import GoodFrom

ReferenceFrom = Literal["constant", "table", "replies", "predictor", "samples", "fallback", "nowhere"]
"""Where r_ref of a prompt came from; a row whose reference came from nowhere has no utility."""


@dataclass(frozen=True)
class PredictorSpec:
    """A head that predicts a quantile of pi_0's rewards from the prompt.

    It stands on the reward model itself, or on `encoder` (folder or name on the hub).
    """

    file: str
    quantile: float
    encoder: str | None = None


Estimator = Literal["mean", "median", "gaussian_quantile", "empirical_quantile", "draws"]
"""What is made of rewards of samples: an estimator of `allgood.references`, or the rewards themselves."""


@dataclass(frozen=True)
class SamplesSpec:
    """r_ref of a prompt from rewards of fresh samples of pi_0, estimated as `allgood reference` does it.

    `quantile` goes with the two quantiles, and `num` with "draws": the first so many rewards, whose mean is r_ref.
    """

    estimator: Estimator
    quantile: float | None = None
    num: int | None = None

    def __post_init__(self) -> None:
        if (self.quantile is not None) != self.estimator.endswith("quantile"):
            raise ValueError("`quantile` belongs to the estimators gaussian_quantile and empirical_quantile")
        if (self.num is not None) != (self.estimator == "draws"):
            raise ValueError("`num` belongs to the estimator draws: give both, or neither")
        if self.quantile is not None and not 0 < self.quantile < 1:
            raise ValueError(f"`quantile` is {self.quantile:g}, and must be between 0 and 1")


@dataclass(frozen=True)
class StartPolicySpec:
    """pi_0, of which fresh samples are drawn at temperature 1, as in a run.

    Attributes:
        source: Folder or name on the hub.
        num_samples: Per prompt, at least 2.
        seed: With the prompt's id it decides what is sampled.
        max_new_tokens, max_prompt_tokens: Limits, in tokens; prompts are cut from the left.
        stop: Texts that end a response; None: those of the policy's format.
        device, dtype: Of the model; "auto" as in a run.
    """

    source: str
    num_samples: int = 64
    seed: int = 0
    max_new_tokens: int = 128
    max_prompt_tokens: int = 384
    stop: tuple[str, ...] | None = None
    device: str = "auto"
    dtype: str = "auto"


@dataclass(frozen=True)
class ReferenceSpec:
    """Where r_ref comes from, in the units of the raw reward: one constant, or what is asked in this order.

    Attributes:
        constant: The same for every prompt; with it there is nothing else.
        table: File of r_ref by prompt, see `reference_files`.
        replies: Texts whose mean reward is r_ref of a prompt that is not in the table.
        predictor: For prompts that were never sampled.
        samples: For whoever can draw fresh samples: a service, or actors.
        fallback: For every prompt that is still without one.
    """

    constant: float | None = None
    table: str | None = None
    replies: tuple[str, ...] = ()
    predictor: PredictorSpec | None = None
    samples: SamplesSpec | None = None
    fallback: float | None = None


@dataclass(frozen=True)
class PropertySpec:
    """A property: its scorer, reference and transform; `temperature` divides reward and reference.

    `is_log_prob` says of a user's own transform whether it gives log P(good). `moments` are mean and standard deviation
    over all pi_0 samples, for a transform that needs them.
    """

    scorer: ScorerSpec
    reference: ReferenceSpec
    transform: str = "log_sigmoid"
    options: Mapping[str, float] = field(default_factory=dict)
    is_log_prob: bool = False
    temperature: float = 1.0
    moments: tuple[float, float] | None = None

    @property
    def facts(self) -> TransformFacts:
        """What is known of the transform."""
        return self.treatment(0.0).facts

    def treatment(self, references: float | Mapping[str, float]) -> Treatment:
        """What is made of rewards with these references."""
        return Treatment(
            transform=self.transform,
            references=references,
            temperature=self.temperature,
            options=self.options,
            moments=self.moments,
            good_from=self._good_from,
        )

    @property
    def _good_from(self) -> GoodFrom | None:
        """A classifier computes log P in log space; a user's own transform may give the log of a rounded number."""
        if isinstance(self.scorer, ClassifierSpec):
            return "log_prob"
        return "rounded_log_prob" if self.is_log_prob and ":" in self.transform else None


@dataclass(frozen=True)
class RewardsSpec:
    """Everything in `rewards.yaml`.

    Attributes:
        properties: By name.
        objective: How they become one utility.
        missing_eos_penalty: Nats that a cut answer loses.
        policy_template: Folder or name of the tokenizer whose chat template wrote the prompts that will be sent.
        min_share_in_table: The share of prompts that must be found in the reference tables, in [0, 1].
        start_policy: Who draws the fresh samples that properties take references from.
    """

    properties: Mapping[str, PropertySpec]
    objective: Objective
    missing_eos_penalty: float = 0.0
    policy_template: str | None = None
    min_share_in_table: float = 0.0
    start_policy: StartPolicySpec | None = None

    @property
    def sampled(self) -> dict[str, SamplesSpec]:
        """The properties that take references from fresh samples, and how."""
        references = {name: setting.reference.samples for name, setting in self.properties.items()}
        return {name: samples for name, samples in references.items() if samples is not None}


def check_references(name: str, setting: PropertySpec) -> None:
    """Refuse a reference that cannot serve the transform.

    Raises:
        ValueError: Says what the transform needs.
    """
    needs, reference = facts_of(setting.transform).needs, setting.reference
    has_draws = reference.samples is None or reference.samples.estimator == "draws"
    if needs == "draws" and (reference.predictor or reference.replies or not has_draws):
        raise ValueError(
            f"transform {setting.transform} of property {name!r} compares with samples of pi_0, which only a table and "
            "fresh samples with the estimator draws have"
        )
    if needs == "draws" and reference.table is None and reference.samples is None:
        raise ValueError(
            f"transform {setting.transform} of property {name!r} compares with samples of pi_0, which only a table has"
        )
    if needs == "draws" and reference.fallback is not None:
        raise ValueError(
            f"transform {setting.transform} of property {name!r} compares with samples of pi_0, and a fallback is one "
            "number; leave it out, so that prompts without samples fail"
        )
    if needs == "mean_and_std" and setting.moments is None:
        raise ValueError(
            f"transform {setting.transform} of property {name!r} needs `moments`, mean and standard deviation of the "
            "rewards of pi_0 samples"
        )
    if needs == "nothing" and reference.constant != 0.0:
        raise ValueError(
            f"transform {setting.transform} of property {name!r} is a probability already and takes no reference; set "
            "reference to {kind: none}"
        )


def check_samples(spec: RewardsSpec) -> None:
    """Refuse fresh samples without somebody who draws enough of them, and somebody whom nobody asks.

    Raises:
        ValueError: Says what is missing.
    """
    policy = spec.start_policy
    for name, samples in spec.sampled.items():
        if policy is None:
            raise ValueError(
                f"property {name!r} takes references from fresh samples, so `start_policy` must say of which model"
            )
        if samples.num is not None and samples.num > policy.num_samples:
            raise ValueError(
                f"property {name!r} takes {samples.num} draws, but start_policy.num_samples is {policy.num_samples}"
            )
    if policy is not None and not spec.sampled:
        raise ValueError("`start_policy` is there, but no property has a reference of kind samples; leave it out")
