"""What kept samples of the SFT policy depend on."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.evaluation.samples import sft_key
from pipelines.references.judge_keys import judge_keys
from tests.pipelines.tiny_run import make_base, tiny_config


def test_samples_that_an_earlier_version_of_the_gold_scored_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_base(tmp_path)
    code = tmp_path / "users_gold.py"
    code.write_text("def gold(prompts, responses):\n    return {'short': [1.0 for _ in responses]}\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = tiny_config(tmp_path, evaluate={"gold": "users_gold:gold", "bars": {"short": 0.0}})
    before = sft_key(config, [], judge_keys(config))
    assert sft_key(config, [], judge_keys(config)) == before
    code.write_text(code.read_text().replace("1.0", "2.0"))
    assert sft_key(config, [], judge_keys(config)) != before
