"""Whoever draws samples estimates references as the run does: every kind of reference has its estimator."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from pydantic import TypeAdapter

from allgood.scorers.fresh_references import reference_of_samples
from pipelines.config.references import Reference
from pipelines.export.samples import samples_spec

ADAPTER: TypeAdapter[Any] = TypeAdapter(Reference)
KINDS: list[dict[str, Any]] = [
    {"kind": "mean"},
    {"kind": "dataset"},
    {"kind": "median"},
    {"kind": "quantile", "quantile": 0.7},
    {"kind": "quantile", "quantile": 0.7, "method": "empirical"},
    {"kind": "predicted", "quantile": 0.9},
    {"kind": "draws", "num": 3},
    {"kind": "none"},
    {"kind": "constant", "value": 1.5},
    {"kind": "canned", "replies": ["No."]},
]


def test_every_kind_is_here() -> None:
    union = get_args(get_args(Reference)[0])
    assert {kind["kind"] for kind in KINDS} == {member.model_fields["kind"].default for member in union}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
def test_a_reference_is_what_the_run_makes_of_these_samples(kind: dict[str, Any]) -> None:
    reference = ADAPTER.validate_python(kind)
    samples = samples_spec(reference)
    if not reference.needs_samples:
        assert samples is None
        return
    assert samples is not None
    rewards = np.float32([0.3, -1.7, 2.2, 0.9, 5.1])
    [expected] = reference.for_any_prompt.from_samples(rewards[None].astype(np.float64), None)
    assert reference_of_samples(samples, "tea", rewards).values["tea"] == expected  # to the bit
