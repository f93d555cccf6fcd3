"""Where a training starts: an architecture whose values make no model is one sentence."""

from __future__ import annotations

import pytest

from allgood.errors import ConfigError
from pipelines.training.sources import new_policy
from tests.actors import tiny_models


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"hidden_size": 33}, "The hidden size \\(33\\) is not a multiple"),
        ({"hidden_size": "x"}, "expected int, got str"),
        ({"num_attention_heads": 0}, "ZeroDivisionError"),
        ({"hidden_size": -32}, "negative dimension"),
        ({"hidden_act": "fancy"}, "KeyError: 'fancy'"),
    ],
)
def test_an_architecture_whose_values_make_no_model_is_refused(values: dict[str, object], reason: str) -> None:
    sizes = {"model_type": "llama", "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 1}
    with pytest.raises(ConfigError, match=f"`policy.architecture` is no causal language model.*{reason}.*; give `mod"):
        new_policy(sizes | values, tiny_models.tokenizer())
