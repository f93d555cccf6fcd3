"""A linear head on the frozen encoder's mean-pooled embedding, fitted to a property's pairs, and its rewards.

The same head as the probe that a run reports (`pipelines/training/probe.py`); here it also scores answers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from allgood.errors import DataError
from allgood.scorers.encoding import encode_all_for_scoring
from allgood.scorers.models import load_encoder, resolve_device
from experiments.best_of_k.models import made_from
from pipelines.answers.reading import Answered, flat
from pipelines.config.run import RunConfig
from pipelines.output.files import write_json
from pipelines.output.progress import track
from pipelines.output.quiet import quiet_transformers
from pipelines.training.probe import fit
from pipelines.training.reward_model import encode_pairs, pairs_of, reward_settings
from pipelines.training.reward_report import ScoredPairs, reward_report
from pipelines.training.rows import Ragged
from pipelines.training.scoring import mean_pooled
from pipelines.training.sources import absolute_source, backbone_tokenizer

Floats = NDArray[np.float64]

SPLITS = ("reward", "validation", "test")
ANSWER_TOKENS = 512  # as many as the encoder reads


@dataclass(frozen=True)
class Embedder:
    """The frozen encoder, and the answers that are to be scored."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    answers: Sequence[Answered]

    def embed(self, rows: Ragged, what: str) -> Floats:
        """Mean-pooled embeddings, [rows, features]."""
        with track(f"embedding {what}", len(rows)) as bar:
            return mean_pooled(self.model, rows, pad_token=self.tokenizer.pad_token_id, bar=bar)

    @cached_property
    def embedded_answers(self) -> Floats:
        """[answers, features]; NaN where an answer is longer than the encoder reads."""
        prompts, responses = flat(self.answers)
        examples = list(zip(prompts, responses, strict=True))
        encoded = encode_all_for_scoring(self.tokenizer, examples, max_tokens=ANSWER_TOKENS)
        kept = [index for index, encoding in enumerate(encoded) if encoding is not None]
        tokens = [encoding.tokens for encoding in encoded if encoding is not None]
        embeddings = np.full((len(encoded), self.model.config.hidden_size), np.nan)
        embeddings[kept] = self.embed(Ragged.of(tokens), "answers")
        return embeddings


def linear_rewards(config: RunConfig, answers: Sequence[Answered], folder: Path) -> dict[str, dict[str, Any]]:
    """Per property `rewards` of all answers, [rows], and `report` on held-out pairs; what is in `folder` is kept.

    A reward is None where the answer is longer than the encoder reads.

    Raises:
        DataError: `folder` holds rewards by heads of other pairs, or of other answers.
    """
    embedder: Embedder | None = None
    found = {}
    for name in config.properties:
        path = folder / f"{name}.json"
        made = made_from(config, name) | {"answers": sum(len(answered.responses) for answered in answers)}
        if not path.is_file():
            embedder = embedder or _embedder(config, name, answers)
            write_json(path, {"made_from": made} | _head(config, name, embedder))
        found[name] = json.loads(path.read_text(encoding="utf-8"))
        if found[name]["made_from"] != made:
            raise DataError(f"{path} is of other pairs, settings or answers; delete it, or give another --folder")
    return found


def _embedder(config: RunConfig, name: str, answers: Sequence[Answered]) -> Embedder:
    source = absolute_source(reward_settings(config, name, held_out=False).backbone_source)
    with quiet_transformers():
        model, _ = load_encoder(source, device=resolve_device(config.device))
    return Embedder(model, backbone_tokenizer(source), answers)


def _head(config: RunConfig, name: str, embedder: Embedder) -> dict[str, Any]:
    settings = reward_settings(config, name, held_out=False)
    pairs = pairs_of(config, name)
    encoded = [encode_pairs(embedder.tokenizer, pairs, settings, split=split, property_name=name) for split in SPLITS]
    chosen = [embedder.embed(split.rows.chosen, f"{name} pairs") for split in encoded]
    rejected = [embedder.embed(split.rows.rejected, f"{name} pairs") for split in encoded]
    weights, penalty = fit(chosen[0] - rejected[0], chosen[1] - rejected[1])
    validation, test = (
        ScoredPairs.of(encoded[split].pairs, chosen=chosen[split] @ weights, rejected=rejected[split] @ weights)
        for split in (1, 2)
    )
    report = reward_report(validation, test, num_bootstrap=config.evaluate.bootstrap)
    counts = {"train_pairs": len(encoded[0].pairs), "l2_penalty": penalty}
    rewards = (embedder.embedded_answers @ weights).tolist()
    return {"report": report | counts, "rewards": [None if math.isnan(reward) else reward for reward in rewards]}
