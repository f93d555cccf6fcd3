"""What the roles of a run are made of: every setting of the config reaches its actor."""

from __future__ import annotations

from pathlib import Path

from actors.rollout import RolloutSpec
from pipelines.cast.request import rollout_part
from tests.actors.tiny_models import save_policy
from tests.pipelines.tiny_run import tiny_config


def test_rollout_actors_have_the_sampling_of_the_config(tmp_path: Path) -> None:
    save_policy(tmp_path / "base" / "sft" / "best")
    sampling = {"max_new_tokens": 7, "max_prompt_tokens": 31, "stop": ["\n\nUser:", "###"]}
    spec = rollout_part(tiny_config(tmp_path, sampling=sampling)).spec
    assert isinstance(spec, RolloutSpec)
    assert (spec.max_new_tokens, spec.max_prompt_tokens, spec.stop) == (7, 31, ("\n\nUser:", "###"))
