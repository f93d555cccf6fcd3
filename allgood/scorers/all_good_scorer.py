"""The whole reward side behind one call: prompts and responses in, what every property and the objective say out.

    scorer = AllGoodScorer.from_config("rewards.yaml")
    scores = scorer.score(prompts, responses)    # scores.total, scores.properties, scores.ok, scores.reasons

It reads a `rewards.yaml`, what `allgood export-rewards` wrote, or a run folder with it. Scorers, references, transforms
and objective are those of a run, through the same code; nothing here needs Ray. For whoever trains with something else.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allgood.all_good import AllGood, Judged
from allgood.errors import naming
from allgood.scorers.all_good_scores import AllGoodScores
from allgood.scorers.asked import Asked
from allgood.scorers.loading import load_scorer
from allgood.scorers.models import load_tokenizer
from allgood.scorers.policy_texts import PolicyTexts, Text
from allgood.scorers.prompt_features import Features
from allgood.scorers.read_rows import ReadRows, read_rows
from allgood.scorers.reference_sources import ReferenceSource, find_references, sources_of
from allgood.scorers.rewards_file import read_rewards
from allgood.scorers.rewards_spec import ReferenceFrom, RewardsSpec
from allgood.scorers.scorer import Scored, Scorer
from allgood.scorers.table_share import TableShare

_UNREAD = "unread"  # stands for the id of a prompt that could not be read; ids are hexadecimal
_FAILED = "scoring failed: the reward is no finite number"
_NO_REFERENCE = "the prompt has no reference: no table, replies, predictor or fallback that is declared knows it"
_NO_SAMPLES = f"{_NO_REFERENCE}, and fresh samples, which only `allgood serve` and actors draw, gave none"
_NOT_FINITE = "the objective is not finite there"


@dataclass(frozen=True)
class _Parts:
    """What is loaded: per property its scorer and the sources of its references, in the order of asking."""

    scorers: Mapping[str, Scorer]
    sources: Mapping[str, Sequence[ReferenceSource]]
    texts: PolicyTexts


class AllGoodScorer:
    """Scorers, references, transforms and objective of a `RewardsSpec`, loaded at the first call.

    It pickles as its spec: another process loads everything anew. Calls from several threads are safe; each local model
    answers one at a time.

    Args:
        spec: What `rewards_file.read_rewards` reads.
        scorers: Ready-made scorers of some properties, in place of those that the spec describes, such as actors.
        samples: Per property a source of references from fresh samples of pi_0, asked where neither the table nor a
            predictor knows a prompt.
        features: Per property who computes the features of prompts that its predictor reads; absent: loaded here.
    """

    def __init__(
        self,
        spec: RewardsSpec,
        *,
        scorers: Mapping[str, Scorer] | None = None,
        samples: Mapping[str, ReferenceSource] | None = None,
        features: Mapping[str, Features] | None = None,
    ) -> None:
        given = {"_given": dict(scorers or {}), "_samples": dict(samples or {}), "_features": dict(features or {})}
        self.__setstate__({"spec": spec, **given})

    @staticmethod
    def from_config(path: str | Path) -> AllGoodScorer:
        """The scorer of a `rewards.yaml`, of the folder of an exported one, or of a run folder with it; loaded.

        Raises:
            ConfigError: There is none, or a key or value is wrong.
            ModelError: A model cannot be loaded, or a file is not what was exported.
            ReferenceTableError: A file of references is missing or damaged.
        """
        scorer = AllGoodScorer(read_rewards(Path(path)))
        scorer._loaded()
        return scorer

    def score(
        self, prompts: Sequence[Text], responses: Sequence[Text], *, was_cut: NDArray[np.bool_] | None = None
    ) -> AllGoodScores:
        """Score responses; row i is `responses[i]` to `prompts[i]`. Any number of rows, also none.

        Args:
            prompts: Messages, `Human:`/`Assistant:` text, what a user says, or renderings of the declared template.
            responses: Texts, or lists with one message of the assistant.
            was_cut: Which responses ended at the length limit, [rows]; needed where cut answers have a penalty.

        Raises:
            ValueError: Numbers of rows differ, or there is a penalty and nobody says what was cut.
            ReferenceTableError: Fewer prompts than the spec's minimum are in the reference tables.
            RoleError: A scorer failed as a whole, or a transform refuses the rewards.
        """
        asked = self.read(prompts, responses)
        scorers = self._loaded().scorers
        scored = {name: asked.rows.scored(scorer) for name, scorer in scorers.items()}
        return self.judge(asked, scored, was_cut=was_cut)

    def read(self, prompts: Sequence[Text], responses: Sequence[Text]) -> Asked:
        """The first half of `score`: what is asked, as a run would hold it, and the references; nothing is scored.

        For whoever asks the scorers in a way of their own, and then calls `judge`.

        Raises:
            ValueError, ReferenceTableError: As in `score`.
        """
        if len(prompts) != len(responses):
            raise ValueError(f"there are {len(prompts)} prompts, but {len(responses)} responses")
        parts = self._loaded()
        rows = read_rows(parts.texts, prompts, responses)
        found = {name: find_references(sources, rows.prompts) for name, sources in parts.sources.items()}
        found_by = {name: by for name, (_, by) in found.items()}
        references = {name: references for name, (references, _) in found.items()}
        return Asked(rows, references, found_by, self._share_in_table(rows, found_by))

    def parted(self, conversation: str) -> tuple[str, str]:
        """Prompt and response of a whole conversation in one text, for `score`.

        Raises:
            ValueError: Where the response begins cannot be told for certain.
        """
        return self._loaded().texts.parted(conversation)

    def judge(
        self, asked: Asked, scored: Mapping[str, Scored], *, was_cut: NDArray[np.bool_] | None = None
    ) -> AllGoodScores:
        """The second half of `score`: what is made of each property's rewards, one per row of `asked`.

        Raises:
            ValueError, RoleError: As in `score`.
        """
        judged = self._judged(asked, scored, was_cut)
        ids = asked.rows.prompt_ids
        return AllGoodScores(
            judged=judged,
            prompt_ids=ids,
            reference_from={
                name: tuple(by.get(key or "", "nowhere") for key in ids) for name, by in asked.reference_from.items()
            },
            reasons=tuple(self._reason(judged, scored, asked.rows, row) for row in range(len(ids))),
            share_in_table=asked.share_in_table,
        )

    @property
    def transforms(self) -> tuple[str, ...]:
        """Names of the properties' transforms."""
        return tuple(setting.transform for setting in self.spec.properties.values())

    @property
    def needs_was_cut(self) -> bool:
        """Whether `score` must be told which responses were cut."""
        return self.spec.missing_eos_penalty > 0

    async def score_async(
        self, prompts: Sequence[Text], responses: Sequence[Text], *, was_cut: NDArray[np.bool_] | None = None
    ) -> AllGoodScores:
        """`score` in a thread of its own, while the event loop goes on."""
        return await asyncio.to_thread(self.score, prompts, responses, was_cut=was_cut)

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("spec", "_given", "_samples", "_features")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.spec: RewardsSpec = state["spec"]
        self._given: dict[str, Scorer] = state["_given"]
        self._samples: dict[str, ReferenceSource] = state["_samples"]
        self._features: dict[str, Features] = state["_features"]
        self._share = TableShare(self.spec.min_share_in_table)
        self._parts: _Parts | None = None
        self._lock = threading.Lock()

    def _loaded(self) -> _Parts:
        with self._lock:
            if self._parts is None:
                self._parts = self._load()
            return self._parts

    def _load(self) -> _Parts:
        scorers: dict[str, Scorer] = {}
        sources: dict[str, Sequence[ReferenceSource]] = {}
        for name, setting in self.spec.properties.items():
            with naming(f"property {name!r}"):
                scorers[name] = self._given.get(name) or _OneAtATime(load_scorer(setting.scorer))
                sources[name] = sources_of(
                    setting, scorers[name], samples=self._samples.get(name), features=self._features.get(name)
                )
        template = self.spec.policy_template
        return _Parts(scorers, sources, PolicyTexts(None if template is None else load_tokenizer(template)))

    def _share_in_table(self, rows: ReadRows, found_by: Mapping[str, Mapping[str, ReferenceFrom]]) -> float | None:
        """Of the distinct prompts; counted, and refused where it is too small. None where no property has a table."""
        tabled = [name for name, setting in self.spec.properties.items() if setting.reference.table is not None]
        if not tabled:
            return None
        num_found = sum(all(found_by[name][key] == "table" for name in tabled) for key in rows.prompts)
        return self._share.add(num_found=num_found, num_asked=len(rows.prompts) + rows.num_unread_prompts)

    def _judged(self, asked: Asked, scored: Mapping[str, Scored], was_cut: NDArray[np.bool_] | None) -> Judged:
        """The central act; a prompt that could not be read has no reference."""
        treatments = {}
        for name, setting in self.spec.properties.items():
            references = asked.references[name]
            values = {**references.values, _UNREAD: float("nan")}
            constant = setting.reference.constant
            treatment = setting.treatment(values if constant is None else constant)
            draws = references.draws
            treatments[name] = replace(treatment, draws=draws) if treatment.facts.needs == "draws" else treatment
        all_good = AllGood(treatments, self.spec.objective, self.spec.missing_eos_penalty)
        rewards = {name: part.rewards for name, part in scored.items()}
        return all_good.of_rewards(rewards, [key or _UNREAD for key in asked.rows.prompt_ids], was_cut=was_cut)

    def _reason(self, judged: Judged, scored: Mapping[str, Scored], rows: ReadRows, row: int) -> str | None:
        """Why a row has no utility, the first cause there is."""
        if not judged.failed[row]:
            return None
        if rows.rows[row].reason is not None:
            return rows.rows[row].reason
        for name in self.spec.objective.names:
            view = judged.properties[name]
            if np.isnan(view.rewards[row]):
                return f"{name}: {scored[name].reasons.get(row, _FAILED)}"
            if np.isnan(view.references[row]):
                return f"{name}: {_NO_SAMPLES if name in self.spec.sampled else _NO_REFERENCE}"
        return _NOT_FINITE


class _OneAtATime:
    """A scorer that answers several threads one after the other."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._lock = threading.Lock()

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """See `scorer.Scorer.score`."""
        with self._lock:
            return self._scorer.score(prompts, responses)
