"""References: the reward r_ref at which a response counts as good with probability 1/2. A tagged union on `kind`.

Each kind says what it needs, and gives its value from a row of the reference table and from samples that are at hand.
The estimators are those of `allgood.references`; they bring torch, which reading a run file must not wait for, so they
are imported where a value is computed.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipelines.config.base import StrictModel, in_words

FloatRow = NDArray[np.float64]
FloatGrid = NDArray[np.float64]

Needs = Literal["nothing", "samples", "replies", "data", "head"]
"""Where a reference comes from: nowhere, samples of the start policy on the prompt, replies that the configuration
names, responses that the data hold, or a head that was trained on sampled prompts.
"""

QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.85, 0.95)  # that the reference table holds; others come from its samples
TOO_FEW_SAMPLES = "fewer than 2 of their samples could be scored; raise references.num_samples"


class ReferenceBase(StrictModel):
    """What a run asks of a reference, whatever its kind."""

    kind: str

    needs: ClassVar[Needs] = "samples"
    why_failed: ClassVar[str] = TOO_FEW_SAMPLES  # a value that is not finite

    @property
    def needs_samples(self) -> bool:
        """Whether a prompt that is in no table needs samples of the start policy for it."""
        return self.needs not in ("nothing", "replies")

    @property
    def fixed(self) -> float | None:
        """r_ref, where it is the same number for every prompt."""
        return None

    @property
    def num_draws(self) -> int | None:
        """How many rewards of samples it gives per prompt, where it gives rewards at all."""
        return None

    @property
    def fixed_replies(self) -> tuple[str, ...]:
        """Replies whose rewards it needs."""
        return ()

    @property
    def column(self) -> str | None:
        """The table's column with the mean reward of the texts that it names, where it names any."""
        return None

    @property
    def texts_in_words(self) -> str:
        """Whose rewards it is the mean of, where it is one of texts that are no samples."""
        return ""

    @property
    def encoders(self) -> frozenset[str | None]:
        """On which encoder the head stands that predicts it, None being the reward model; empty without a head."""
        return frozenset()

    @property
    def takes_every_prompt(self) -> bool:
        """Whether a run may use prompts that were never sampled, and shall."""
        return False

    @property
    def assumes_normal_rewards(self) -> bool:
        """Whether it is wrong where the rewards of a prompt are not normally distributed."""
        return False

    @property
    def in_words(self) -> str:
        """Its name in tables and plots."""
        return in_words(self)

    @property
    def for_any_prompt(self) -> Reference:
        """What stands for it where a prompt was just typed, so that no data hold it."""
        return self  # type: ignore[return-value]  # every kind is one of the union

    def from_table(self, row: Mapping[str, Any]) -> float | None:
        """r_ref from a prompt's row of the reference table; None where the row does not hold what it takes."""
        return None if self.column is None else row.get(self.column)

    @abstractmethod
    def from_samples(self, rewards: FloatGrid, of_texts: FloatRow | None) -> FloatRow:
        """r_ref of prompts that are in no table, [prompts]; NaN where too few scores are known.

        Args:
            rewards: Of samples of the start policy, [prompts, samples], NaN where scoring failed.
            of_texts: Mean rewards of the texts that it names, [prompts], where it names any.
        """


class NoReference(ReferenceBase):
    """r_ref = 0: rewards are not centred."""

    kind: Literal["none"] = "none"

    needs: ClassVar[Needs] = "nothing"

    @property
    def fixed(self) -> float:
        """0."""
        return 0.0

    def from_samples(self, rewards: FloatGrid, of_texts: FloatRow | None) -> FloatRow:
        """0 for all."""
        return np.zeros(len(rewards))


class ConstantReference(ReferenceBase):
    """The same r_ref for every prompt."""

    kind: Literal["constant"] = "constant"
    value: float = Field(description="r_ref, in the units of the rewards")

    needs: ClassVar[Needs] = "nothing"

    @property
    def fixed(self) -> float:
        """The value."""
        return self.value

    def from_samples(self, rewards: FloatGrid, of_texts: FloatRow | None) -> FloatRow:
        """The value for all."""
        return np.full(len(rewards), self.value)


class MeanReference(ReferenceBase):
    """The mean reward of samples of the start policy, per prompt."""

    kind: Literal["mean"] = "mean"

    def from_table(self, row: Mapping[str, Any]) -> float | None:
        """The column `mean`."""
        return float(row["mean"])

    def from_samples(self, rewards: FloatGrid, of_texts: FloatRow | None) -> FloatRow:
        """Their mean; a single score is enough."""
        from allgood import references

        return references.of_scored(references.mean, rewards, at_least=1)


class MedianReference(ReferenceBase):
    """The median reward of samples of the start policy, per prompt."""

    kind: Literal["median"] = "median"

    def from_table(self, row: Mapping[str, Any]) -> float | None:
        """The column of the quantile 1/2."""
        return float(row[quantile_column(0.5)])

    def from_samples(self, rewards: FloatGrid, of_texts: FloatRow | None) -> FloatRow:
        """Their median."""
        from allgood import references

        return references.of_scored(references.median, rewards)


class QuantileReference(ReferenceBase):
    """A quantile of the rewards of samples of the start policy, per prompt."""

    kind: Literal["quantile"] = "quantile"
    quantile: float = Field(0.85, gt=0, lt=1, description="of the start policy's rewards on the prompt")
    method: Literal["gaussian", "empirical"] = Field(
        "gaussian", description="gaussian: mean + z*std, better with few samples; empirical: linear interpolation"
    )

    @property
    def assumes_normal_rewards(self) -> bool:
        """Where it is computed from their mean and standard deviation."""
        return self.method == "gaussian"

    @property
    def in_words(self) -> str:
        """Such as q85."""
        return f"q{100 * self.quantile:g}" + ("" if self.method == "gaussian" else " empirical")

    def from_table(self, row: Mapping[str, Any]) -> float | None:
        """From mean and std, or the column of the quantile, if there is one."""
        from allgood import references

        if self.method == "gaussian":
            return references.normal_quantile(float(row["mean"]), float(row["std"]), self.quantile)
        return float(row[quantile_column(self.quantile)]) if self.quantile in QUANTILES else None

    def from_samples(self, rewards: FloatGrid, of_texts: FloatRow | None) -> FloatRow:
        """Their quantile."""
        from allgood import references

        estimate = references.gaussian_quantile if self.method == "gaussian" else references.empirical_quantile
        return references.of_scored(partial(estimate, quantile=self.quantile), rewards)


class CannedReference(ReferenceBase):
    """The mean reward of fixed replies to the prompt."""

    kind: Literal["canned"] = "canned"
    replies: list[str] = Field(min_length=1, description="the same for every prompt")

    needs: ClassVar[Needs] = "replies"
    why_failed: ClassVar[str] = (
        "no canned reply could be scored with them: too long for the property's max_tokens, or failed"
    )

    @property
    def fixed_replies(self) -> tuple[str, ...]:
        """The replies."""
        return tuple(self.replies)

    @property
    def column(self) -> str:
        """That of these replies."""
        return canned_column(self.replies)

    @property
    def texts_in_words(self) -> str:
        """The replies, by their key."""
        return f"these canned replies (set {canned_key(self.replies)})"

    @property
    def in_words(self) -> str:
        """The kind, and how many replies."""
        return f"canned ({len(self.replies)} replies)" if len(self.replies) > 1 else "canned"

    def from_samples(self, rewards: FloatGrid, of_texts: FloatRow | None) -> FloatRow:
        """The mean rewards of the replies."""
        assert of_texts is not None, "the caller scores the replies"
        return of_texts


class DatasetReference(ReferenceBase):
    """The mean reward of the data's own responses to the prompt: the property's chosen ones, else any chosen one."""

    kind: Literal["dataset"] = "dataset"

    needs: ClassVar[Needs] = "data"
    why_failed: ClassVar[str] = (
        "none of the data's own responses to them could be scored; raise the property's max_tokens"
    )

    @property
    def column(self) -> str:
        """The same for all."""
        return "dataset"

    @property
    def texts_in_words(self) -> str:
        """Any response."""
        return "a response from the data"

    @property
    def for_any_prompt(self) -> Reference:
        """The mean of the start policy."""
        return MeanReference()

    def from_samples(self, rewards: FloatGrid, of_texts: FloatRow | None) -> FloatRow:
        """The mean rewards of the data's responses."""
        assert of_texts is not None, "the caller scores the data's responses"
        return of_texts


class DrawsReference(ReferenceBase):
    """Rewards of random samples of the start policy, per prompt; more than one only for transforms that average."""

    kind: Literal["draws"] = "draws"
    num: int = Field(16, ge=1, description="samples per prompt, from the reference table; 1: that reward is r_ref")

    @property
    def num_draws(self) -> int:
        """As many as the user says."""
        return self.num

    def from_samples(self, rewards: FloatGrid, of_texts: FloatRow | None) -> FloatRow:
        """The mean of the first ones, as samples are independent."""
        from allgood import references

        return references.of_scored(references.mean, rewards[:, : self.num], at_least=1)


class PredictedReference(ReferenceBase):
    """A quantile predicted from the prompt's text by a head on the reward model or an encoder, for prompts never
    sampled too.
    """

    kind: Literal["predicted"] = "predicted"
    quantile: float = Field(0.85, gt=0, lt=1, description="of the predicted Gaussian: mean + z*std")
    encoder: str | None = Field(
        None,
        description="name (or name@revision) or folder of a Hugging Face encoder that the head stands on; empty: "
        "the reward model itself, which kinds function and ensemble do not have",
    )
    prompts: Literal["sampled", "all"] = Field(
        "sampled",
        description="that a run uses. sampled: as with other references, `references.max_prompts` of a split; all: "
        "those beyond it too, for which no other property may need samples",
    )

    needs: ClassVar[Needs] = "head"

    @property
    def encoders(self) -> frozenset[str | None]:
        """The one that is named."""
        return frozenset({self.encoder})

    @property
    def takes_every_prompt(self) -> bool:
        """Where the user says so."""
        return self.prompts == "all"

    def from_table(self, row: Mapping[str, Any]) -> float | None:
        """From the predicted mean and std."""
        from allgood import references

        return references.normal_quantile(float(row["mean"]), float(row["std"]), self.quantile)

    def from_samples(self, rewards: FloatGrid, of_texts: FloatRow | None) -> FloatRow:
        """What the prediction estimates: the Gaussian quantile of the samples, which are here."""
        from allgood import references

        return references.of_scored(partial(references.gaussian_quantile, quantile=self.quantile), rewards)


Reference = Annotated[
    NoReference
    | ConstantReference
    | MeanReference
    | MedianReference
    | QuantileReference
    | CannedReference
    | DatasetReference
    | DrawsReference
    | PredictedReference,
    Field(discriminator="kind"),
]


def quantile_column(quantile: float) -> str:
    """The table's column of an empirical quantile, "q85" for 0.85."""
    return f"q{round(100 * quantile):02d}"


def canned_key(replies: Sequence[str]) -> str:
    """Names a set of canned replies: the same texts in the same order have the same key."""
    return hashlib.sha256(json.dumps(list(replies), ensure_ascii=False).encode()).hexdigest()[:16]


def canned_column(replies: Sequence[str]) -> str:
    """The table's column with the mean reward of a set of canned replies."""
    return f"canned.{canned_key(replies)}"
