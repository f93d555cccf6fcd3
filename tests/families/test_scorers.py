"""Every family of reward models, scored, trained and saved, against plain transformers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.families.page import ALL_SCORERS, PAGE, examined_scorer, scorer_lines
from tests.families.scorer_checks import TOLERANCE
from tests.families.scorers import ScorerCase

CASES = [pytest.param(case, id=case.name, marks=[pytest.mark.slow] * case.slow) for case in ALL_SCORERS]


@pytest.mark.parametrize("case", CASES)
def test_a_reward_model_is_what_plain_transformers_says_or_is_refused(case: ScorerCase, tmp_path: Path) -> None:
    scoring, training = examined_scorer(case, tmp_path)
    if isinstance(scoring, str) or isinstance(training, str):
        assert case.refusal is not None, (scoring, training)
        assert case.refusal in str(training)
        assert "in a batch but" in str(scoring)
    else:
        assert case.refusal is None
        assert scoring.holds, scoring
        assert training.holds, training
        assert scoring.blind > 100 * TOLERANCE, "the weights are too even: these checks would not see a mistake"
    page = PAGE.read_text(encoding="utf-8").splitlines()
    assert set(scorer_lines(case, scoring, training)) <= set(page), "run python -m tests.families"
