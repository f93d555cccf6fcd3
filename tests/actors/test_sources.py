"""The models that specs name, looked up one by one."""

from __future__ import annotations

import pytest

from actors.sources import as_named, found_scorer
from allgood.scorers.spec import (
    ClassifierSpec,
    EnsembleSpec,
    FunctionSpec,
    HttpSpec,
    ModelSpec,
    ScorerSpec,
    Server,
)

SERVER = Server("http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("scorer", "found"),
    [
        (ModelSpec("/a", max_tokens=7), ModelSpec("/there/a", max_tokens=7)),
        (ClassifierSpec("/a", label=2), ClassifierSpec("/there/a", label=2)),
        (EnsembleSpec(("/a", "/b")), EnsembleSpec(("/there/a", "/there/b"))),
        (FunctionSpec("module:function"), FunctionSpec("module:function")),
        (HttpSpec("/a", SERVER, "sglang", template="none"), HttpSpec("/a", SERVER, "sglang", template="none")),
        (
            HttpSpec("a", SERVER, "sglang", template="here", tokenizer="/a"),
            HttpSpec("a", SERVER, "sglang", template="here", tokenizer="/there/a"),
        ),
    ],
)
def test_a_scorer_has_its_models_where_they_are_found(scorer: ScorerSpec, found: ScorerSpec) -> None:
    assert found_scorer(scorer, lambda source: f"/there{source}") == found
    assert found_scorer(scorer, as_named) == scorer
