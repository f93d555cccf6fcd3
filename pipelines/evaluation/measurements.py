"""What an evaluation finds, as `measurements.json` holds it: the fields here are the keys there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from allgood.diagnostics import Improvement, Saturation
from pipelines.evaluation.efficiency import Efficiency
from pipelines.evaluation.estimates import Estimate
from pipelines.evaluation.measure import Measurement

T = TypeVar("T")

UNJUDGED = (
    "Nobody judges this run: there is no gold, no held-out model and no HTTP judge. So nothing here says which "
    "responses are better, and no objective, reference, transform or KL coefficient can be chosen by it; training "
    "rewards and KL stand under their own names. A judge is `properties.<name>.evaluator`, `evaluate.gold` or "
    "`evaluate.judge_url`."
)


@dataclass(frozen=True, kw_only=True)
class ByPolicy(Generic[T]):
    """The same thing of both policies."""

    sft: T
    aligned: T


@dataclass(frozen=True, kw_only=True)
class EvaluatorFindings:
    """The held-out preference model: shares over a quantile of its own scores of pi_0 samples, against a random one.

    An estimate is None where no prompt has a score.
    """

    quantile: float
    over_quantile: Estimate | None = None
    sft_over_quantile: Estimate | None = None
    win_rate: Estimate | None = None
    improvement: Improvement


@dataclass(frozen=True, kw_only=True)
class RewardFindings:
    """What became of a training reward: gain, saturation, and agreement with evaluator and gold before and after.

    Agreements are named "first~second". An estimate is None, or absent, where no prompt has a score.
    """

    gain: Estimate | None = None
    win_rate: Estimate | None = None
    num_failed: int
    improvement: Improvement
    saturation: ByPolicy[Saturation]
    agreement: ByPolicy[dict[str, Estimate]]


@dataclass(frozen=True, kw_only=True)
class JudgedProperty:
    """What the HTTP judge says of one property. `first_failure` says why an answer could not be read."""

    win_rate: Estimate | None
    num_failed: int
    share_consistent: float
    first_failure: str | None


@dataclass(frozen=True, kw_only=True)
class JudgeFindings:
    """The HTTP judge and its verdicts, per property."""

    url: str
    model: str
    properties: dict[str, JudgedProperty]


@dataclass(frozen=True, kw_only=True)
class SampleRow:
    """A response of the table that a reader looks at, alongside a pi_0 response to the same prompt.

    `numbers` are named after property and scorer, such as "helpful gold"; NaN where scoring failed.
    """

    kind: str  # "best", "worst" or "most changed"
    prompt_id: str
    prompt: str
    response: str
    sft_response: str
    kl: float
    numbers: dict[str, float]
    sft_numbers: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """All of it, per property where a name is a key."""

    numbers_version: int | None = None  # of `pipelines.output.stamp`; early ones have none
    num_prompts: int
    num_samples: int
    num_sft_samples: int
    bars: Mapping[str, float]
    sft_quantile_bars: dict[str, float]
    sft: Measurement
    aligned: Measurement
    evaluators: dict[str, EvaluatorFindings]
    reward_models: dict[str, RewardFindings]
    margin_correlations: dict[str, ByPolicy[float]]  # given the prompt, of two properties named "first~second"
    efficiency: Efficiency | None
    efficiency_missing: str | None  # why there is none
    table: tuple[SampleRow, ...]
    table_ranked_by: str
    judge: JudgeFindings | None
    notes: tuple[str, ...] = ()

    @property
    def is_judged(self) -> bool:
        """Whether anybody but the training reward models says which responses are better."""
        return self.aligned.gold is not None or bool(self.evaluators) or self.judge is not None
