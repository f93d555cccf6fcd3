"""What the roles of a run are made of: every setting of the config reaches its actor."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.rollout import RolloutSpec
from allgood.errors import ConfigError
from allgood.scorers.combination import LowerBound
from allgood.scorers.spec import EnsembleSpec
from pipelines.cast.request import rollout_part, scorer_spec
from pipelines.config.loading import load_config, save_config
from tests.actors.tiny_models import save_policy
from tests.pipelines.tiny_run import tiny_config


def test_rollout_actors_have_the_sampling_of_the_config(tmp_path: Path) -> None:
    save_policy(tmp_path / "base" / "sft" / "best")
    sampling = {"max_new_tokens": 7, "max_prompt_tokens": 31, "stop": ["\n\nUser:", "###"]}
    spec = rollout_part(tiny_config(tmp_path, sampling=sampling)).spec
    assert isinstance(spec, RolloutSpec)
    assert (spec.max_new_tokens, spec.max_prompt_tokens, spec.stop) == (7, 31, ("\n\nUser:", "###"))


def test_an_ensemble_of_the_config_is_the_value_that_scores(tmp_path: Path) -> None:
    combine = {"kind": "lower_bound", "penalty": 0.5}
    setting = {"kind": "ensemble", "members": ["a", "b"], "combine": combine, "max_tokens": 17}
    config = tiny_config(tmp_path, properties={"tone": setting}, objective={"kind": "formula", "expression": "tone"})
    expected = EnsembleSpec(("a", "b"), LowerBound(0.5), max_tokens=17, device="cpu")
    assert scorer_spec(config, "tone") == expected
    assert config.properties["tone"].model_dump(mode="json")["combine"] == combine


def test_a_key_that_a_combination_does_not_have_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    save_config(tiny_config(tmp_path), path)
    setting = "{kind: ensemble, members: [a, b], combine: {kind: lower_bound, penalti: 2}}"
    with pytest.raises(ConfigError, match=r"unknown key `properties.tone.combine.penalti`; did you mean .*penalty"):
        load_config(path, [f"properties.tone={setting}"])
    with pytest.raises(ConfigError, match=r"`properties.tone.combine.penalty` is -1; allowed: a number >= 0"):
        load_config(path, [f"properties.tone={setting.replace('penalti: 2', 'penalty: -1')}"])
