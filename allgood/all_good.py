"""The central act: texts or raw rewards in, one view out, with log P(all good) of every response.

    rewards -> references -> transform -> formula

This is the public face for whoever trains with something else. Nothing here needs Ray, a configuration or a run's
folder, and a run's training step, its preview, its evaluation and its scores go through the same code.

>>> import numpy as np
>>> from allgood.formula import Formula
>>> from allgood.objectives import FormulaUtility
>>> from allgood.treatment import Treatment
>>> all_good = AllGood(
...     properties={
...         "helpful": Treatment(transform="log_sigmoid", references={"q1": 1.0, "q2": -2.0}),  # r_ref of each prompt
...         "harmless": Treatment(transform="log_sigmoid", references=0.5),  # the same of every prompt
...     },
...     objective=FormulaUtility(Formula("helpful & harmless")),
... )
>>> rewards = {"helpful": np.float32([1.0, 3.0, np.nan]), "harmless": np.float32([0.5, 2.5, 2.5])}
>>> judged = all_good.of_rewards(rewards, ["q1", "q1", "q2"])  # a failed score is NaN, never 0
>>> judged.utilities.astype(float).round(3).tolist()  # what to maximise, KL not included
[-1.386, -0.254, nan]
>>> judged.properties["helpful"].p_good.round(3).tolist(), judged.failed.tolist()
([0.5, 0.881, nan], [False, False, True])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from allgood.conversations import prompt_id
from allgood.objectives import FormulaUtility, Lagrangian, Objective, refuse_unfit
from allgood.scorers.scorer import Scorer
from allgood.treatment import Treatment, treat
from allgood.views import FloatArray, PropertyView


@dataclass(frozen=True)
class Judged:
    """What is made of responses, all of one shape: [rows], or [prompts, samples].

    Attributes:
        properties: The view of each property: r, r_ref, z, u and P(good).
        utilities: The objective's utility in nats, KL not included; NaN where a needed score failed.
        log_p_all_good: Log P(formula) before any penalty; absent where exponents temper the formula or the objective is
            another.
    """

    properties: Mapping[str, PropertyView]
    utilities: FloatArray
    log_p_all_good: FloatArray | None

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Which responses have no utility. Drop them: 0 would be the best utility there is."""
        return np.isnan(self.utilities)

    @property
    def p_all_good(self) -> NDArray[np.float64] | None:
        """P(formula) of each response, where the objective says it."""
        return None if self.log_p_all_good is None else np.exp(self.log_p_all_good.astype(np.float64))


@dataclass(frozen=True)
class AllGood:
    """What each property makes of its rewards, and how they are combined.

    Attributes:
        properties: A treatment (references and transform) per property.
        objective: How their views become one utility.
        missing_eos_penalty: Subtracted from the utility of responses that were cut at the length limit, at least 0.

    Raises:
        ValueError: The objective names what is no property or cannot work with a transform, or the penalty is negative.
    """

    properties: Mapping[str, Treatment]
    objective: Objective
    missing_eos_penalty: float = 0.0

    def __post_init__(self) -> None:
        refuse_unfit(self.objective, {name: treatment.facts for name, treatment in self.properties.items()})
        if not self.missing_eos_penalty >= 0:
            raise ValueError(f"missing_eos_penalty must be at least 0, got {self.missing_eos_penalty}")

    def at(self, multipliers: Mapping[str, float]) -> AllGood:
        """The same at other multipliers of a Lagrangian; itself where none are learned."""
        if not isinstance(self.objective, Lagrangian):
            return self
        return replace(self, objective=self.objective.at(multipliers))

    def of_texts(
        self,
        scorers: Mapping[str, Scorer],
        prompts: Sequence[str],
        responses: Sequence[str],
        *,
        prompt_ids: Sequence[str] | None = None,
        was_cut: NDArray[np.bool_] | None = None,
    ) -> Judged:
        """Score responses and judge them, [rows]; row i is `responses[i]` to `prompts[i]`.

        Args:
            scorers: One per property, see `allgood.scorers`.
            prompts: Conversations that end in "Assistant:".
            responses: As many.
            prompt_ids: By which the references know the prompts; absent: `conversations.prompt_id` of each.
            was_cut: Which responses ended at the length limit.

        Raises:
            ValueError: As in `of_rewards`.
            RoleError: A scorer failed, or a transform refuses the rewards.
        """
        self._refuse_missing("scorers", scorers)
        rewards = {name: scorers[name].score(prompts, responses).rewards for name in self.properties}
        ids = [prompt_id(prompt) for prompt in prompts] if prompt_ids is None else prompt_ids
        return self.of_rewards(rewards, ids, was_cut=was_cut)

    def of_rewards(
        self, rewards: Mapping[str, FloatArray], prompt_ids: Sequence[str], *, was_cut: NDArray[np.bool_] | None = None
    ) -> Judged:
        """Judge responses by their raw rewards; NaN = scoring failed.

        Args:
            rewards: Per property, [rows] or [prompts, samples].
            prompt_ids: One per row, or one per prompt.
            was_cut: Which responses ended at the length limit, in the shape of the rewards.

        Raises:
            ValueError: A property has no rewards, or shapes differ.
            ReferenceTableError: A prompt has no reference.
            RoleError: A transform refuses the rewards.
        """
        self._refuse_missing("rewards", rewards)
        views = {}
        for name, treatment in self.properties.items():
            values = np.asarray(rewards[name], dtype=np.float32)
            if values.ndim not in (1, 2) or len(values) != len(prompt_ids):
                raise ValueError(
                    f"rewards of {name!r} have shape {values.shape}, but must be [rows] or [prompts, samples] with one "
                    f"of the {len(prompt_ids)} prompt ids each"
                )
            grid = values[:, None] if values.ndim == 1 else values
            view = treat(treatment, grid, prompt_ids, property_name=name)
            views[name] = view.flat() if values.ndim == 1 else view
        return self.of_views(views, was_cut=was_cut)

    def of_views(self, views: Mapping[str, PropertyView], *, was_cut: NDArray[np.bool_] | None = None) -> Judged:
        """Combine what the treatments made: for whoever treated the rewards before, where they were scored.

        Raises:
            ValueError: A property has no view, shapes differ, or there is a penalty and nobody says what was cut.
        """
        self._refuse_missing("views", views)
        shapes = {name: view.utilities.shape for name, view in views.items()}
        shapes |= {} if was_cut is None else {"was_cut": was_cut.shape}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"rewards must all have one shape, got {shapes}")
        failed = np.any([views[name].failed for name in self.objective.names], axis=0)
        combined = self.objective.combine(views)
        combined = np.where(failed | ~np.isfinite(combined), np.float32(np.nan), combined)
        return Judged(views, self._penalised(combined, was_cut), combined if self._is_probability else None)

    @property
    def _is_probability(self) -> bool:
        return isinstance(self.objective, FormulaUtility) and not self.objective.formula.is_tempered

    def _penalised(self, combined: FloatArray, was_cut: NDArray[np.bool_] | None) -> FloatArray:
        """The penalty comes after the transform."""
        if was_cut is None:
            if self.missing_eos_penalty:
                raise ValueError(
                    f"missing_eos_penalty is {self.missing_eos_penalty}, so was_cut must say which responses it hits"
                )
            return combined
        return combined - np.float32(self.missing_eos_penalty) * was_cut.astype(np.float32)

    def _refuse_missing(self, what: str, given: Mapping[str, object]) -> None:
        missing = [name for name in self.properties if name not in given]
        if missing:
            raise ValueError(f"there are no {what} of property {missing[0]!r}; given are: {', '.join(given)}")
