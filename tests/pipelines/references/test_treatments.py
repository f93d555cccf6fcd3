"""The treatment of prompts that are in no table, from samples at hand."""

from __future__ import annotations

import math

import numpy as np

from pipelines.config.properties import FunctionProperty
from pipelines.references.treatments import fresh_treatment, tabled

SAMPLES = np.array([[0.0, 4.0, 9.0], [0.0, math.nan, 9.0]])


def function(transform: dict[str, object], reference: dict[str, object]) -> FunctionProperty:
    return FunctionProperty.model_validate(
        {"kind": "function", "function": "m:f", "transform": transform, "reference": reference}
    )


def test_fresh_references_leave_out_failed_scores() -> None:
    setting = function({"kind": "tanh", "scale": 2.0}, {"kind": "mean"})
    found = fresh_treatment(setting, ["a", "b"], SAMPLES, None, key="k", temperature=3.0)
    assert found.references == {"a": 13 / 3, "b": 4.5}
    assert (found.key, found.transform, found.options, found.temperature) == ("k", "tanh", {"scale": 2.0}, 3.0)
    assert found.draws is None


def test_a_prompt_with_a_failed_draw_has_no_reference() -> None:
    setting = function({"kind": "log_mean_sigmoid"}, {"kind": "draws", "num": 2})
    found = fresh_treatment(setting, ["a", "b"], SAMPLES, None, key="k", temperature=1.0)
    np.testing.assert_array_equal(list(dict(found.references).values()), [2.0, math.nan])  # type: ignore[arg-type]
    assert found.draws is not None
    assert found.draws["a"].tolist() == [0.0, 4.0]


def test_a_table_is_needed_for_its_references_and_for_its_moments() -> None:
    assert not tabled(function({"kind": "identity"}, {"kind": "constant", "value": 1.0}))
    assert tabled(function({"kind": "z_score"}, {"kind": "none"}))
    assert tabled(function({"kind": "identity"}, {"kind": "median"}))
