"""Every snippet of the page on objectives is a run file that loads, and whose objective can be built."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.config.contradictions import refuse_destructive
from pipelines.config.loading import load_config
from pipelines.config.objective_values import objective_of

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "choose_objective.md"
SNIPPETS = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
HEAD = "name: snippet\nworld: {}\npolicy: {architecture: {model_type: llama}}\n"


def test_there_is_a_snippet_per_family() -> None:
    assert len(SNIPPETS) == 7


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_loads(tmp_path: Path, snippet: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(HEAD + snippet)
    config = load_config(path)
    refuse_destructive(config)
    objective_of(config.objective, config.properties)
