from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.cast.sample_rows import COLUMNS, OF_PROPERTY, of_property, sample_rows, score_columns

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "samples.md"


def test_columns_become_rows_of_plain_values() -> None:
    rows = sample_rows({"sample": [0, 1], **of_property("gold", {"helpful": np.array([0.5, np.nan])})})
    assert rows[0] == {"sample": 0, "gold.helpful": 0.5}
    assert type(rows[1]["gold.helpful"]) is float
    assert np.isnan(rows[1]["gold.helpful"])  # missing, and never 0


def test_scores_of_held_out_models_keep_their_name() -> None:
    scores = {"helpful": np.array([1.0]), "evaluator.helpful": np.array([2.0])}
    assert sample_rows(score_columns(scores)) == [{"reward.helpful": 1.0, "evaluator.helpful": 2.0}]


@pytest.mark.parametrize("name", ["score.helpful", "rewards", "prompt.id"])
def test_a_column_that_no_file_has_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no column of samples"):
        sample_rows({name: [1]})


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        sample_rows({"sample": [0, 1], "prompt": ["a"]})


def test_the_documentation_says_what_every_column_means() -> None:
    page = PAGE.read_text(encoding="utf-8")
    columns = COLUMNS | {f"{kind}.<property>": meaning for kind, meaning in OF_PROPERTY.items()}
    for name, meaning in columns.items():
        assert f"| `{name}` | {meaning} |" in page
