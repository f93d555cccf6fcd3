"""What is measured on cached samples, from samples small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import torch

from allgood.views import PropertyView
from pipelines.config.properties import ClassifierProperty
from pipelines.preview.measures import measures_of, without_failures
from pipelines.references.cached_samples import CachedSamples


def test_p_good_of_a_classifier_is_its_own_probability() -> None:
    log_p = torch.tensor([[0.2, 0.9]]).log()
    cached = CachedSamples(
        split="validation",
        prompt_ids=("p",),
        prompts=("text",),
        responses=(("a", "b"),),
        finish_reasons=(("eos", "eos"),),
        num_tokens=torch.ones(1, 2, dtype=torch.int64),
        was_cut=torch.zeros(1, 2, dtype=torch.bool),
        rewards={"judge": log_p.double()},
        gold={},
        evaluators={},
    )
    values = log_p.numpy()
    own = {"judge": PropertyView(values, np.zeros_like(values), values, values, "log_prob")}
    settings = {"judge": ClassifierProperty(kind="classifier", model="m")}
    measures = measures_of(without_failures(cached), own, {}, settings)
    found = measures.values[..., measures.names.index("p_good.judge")]
    torch.testing.assert_close(found, torch.tensor([[0.2, 0.9]]).double())  # sigma(log p) says 0.167 and 0.474
