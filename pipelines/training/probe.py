"""The linear probe: a linear head on a frozen encoder's mean-pooled embedding, alongside the fine-tuned reward model.

It answers what the encoder knows of a property without being trained for it. The head w has no bias (it would cancel in
a pair): chosen wins with probability sigmoid(w . (e+ - e-)). It is fitted by L-BFGS with an L2 penalty, of the
strength that does best on validation pairs, and reported on test pairs like any reward model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from transformers import PreTrainedModel

from allgood.errors import ConfigError
from allgood.scorers.models import load_encoder, resolve_device
from pipelines.config.run import RunConfig
from pipelines.output.files import write_json
from pipelines.output.progress import Bar, track
from pipelines.output.quiet import quiet_transformers
from pipelines.training.reward_model import EncodedPairs, encode_pairs, pairs_of, reward_folder, reward_settings
from pipelines.training.reward_report import ScoredPairs, log_loss, reward_report
from pipelines.training.scoring import mean_pooled
from pipelines.training.sources import absolute_source, backbone_tokenizer

Report = dict[str, Any]
Floats = NDArray[np.float64]

L2_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of |w|^2 / 2, per pair; embeddings are standardised


def train_probe(config: RunConfig, property_name: str) -> Report:
    """Fit and report the probe of a property; writes reward/<property>/probe.json of the base folder.

    Raises:
        ConfigError: The property's reward model has no encoder of its own as backbone.
        DataError: A split has no pairs.
        ModelError: The encoder or its tokenizer cannot be used.
    """
    settings = reward_settings(config, property_name, held_out=False)
    if settings.backbone == "sft":
        raise ConfigError(f"properties.{property_name}.train.backbone is the start policy; a probe needs an encoder")
    source = absolute_source(settings.backbone_source)
    tokenizer = backbone_tokenizer(source)
    pairs = pairs_of(config, property_name)
    train, validation, test = (
        encode_pairs(tokenizer, pairs, settings, split=split, property_name=property_name)
        for split in ("reward", "validation", "test")
    )
    torch.set_num_threads(config.own_threads)
    with quiet_transformers():
        model, _ = load_encoder(source, device=resolve_device(config.device))
    num_rows = 2 * sum(len(split.pairs) for split in (train, validation, test))
    with track(f"probe {property_name}: embedding", num_rows) as bar:
        embedded = [
            _embed(model, split, pad_token=tokenizer.pad_token_id, bar=bar) for split in (train, validation, test)
        ]
    weights, penalty = fit(embedded[0][0] - embedded[0][1], embedded[1][0] - embedded[1][1])
    scored = [
        ScoredPairs.of(split.pairs, chosen=chosen @ weights, rejected=rejected @ weights)
        for split, (chosen, rejected) in zip((validation, test), embedded[1:], strict=True)
    ]
    report = {
        "property": property_name,
        "encoder": settings.backbone,
        "l2_penalty": penalty,
        **reward_report(*scored, num_bootstrap=config.evaluate.bootstrap),
    }
    write_json(reward_folder(config, property_name, held_out=False) / "probe.json", report)
    return report


def fit(train: Floats, validation: Floats) -> tuple[Floats, float]:
    """Weights [features] for differences of embeddings [pairs, features], and the penalty: the best on validation."""
    # A difference has mean about 0, and no bias may be added, so features are scaled but not shifted.
    scale = train.std(axis=0) + 1e-8
    candidates = [(_solve(train / scale, penalty) / scale, penalty) for penalty in L2_PENALTIES]
    return min(candidates, key=lambda candidate: log_loss(validation @ candidate[0]))


def _solve(features: Floats, penalty: float) -> Floats:
    def objective(weights: Floats) -> tuple[float, Floats]:
        margins = features @ weights
        gradient = -(expit(-margins) @ features) / len(features) + penalty * weights
        return log_loss(margins) + 0.5 * penalty * float(weights @ weights), gradient

    solution: Floats = minimize(objective, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B").x
    return solution


def _embed(model: PreTrainedModel, split: EncodedPairs, *, pad_token: int, bar: Bar) -> tuple[Floats, Floats]:
    chosen, rejected = (
        mean_pooled(model, side, pad_token=pad_token, bar=bar) for side in (split.rows.chosen, split.rows.rejected)
    )
    return chosen, rejected
