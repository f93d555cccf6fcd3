"""Every family of reward models, scored, trained and saved, against plain transformers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.families.page import ALL_SCORERS, PAGE, outcome_of, scorer_row
from tests.families.scorer_checks import TOLERANCE, ScorerFindings, examine_scorer
from tests.families.scorers import ScorerCase

CASES = [pytest.param(case, id=case.name, marks=[pytest.mark.slow] * case.slow) for case in ALL_SCORERS]


@pytest.mark.parametrize("case", CASES)
def test_a_reward_model_is_what_plain_transformers_says_or_is_refused(case: ScorerCase, tmp_path: Path) -> None:
    outcome = outcome_of(partial(examine_scorer, case, tmp_path))
    if isinstance(outcome, ScorerFindings):
        assert case.refusal is None
        assert [name for name, holds in outcome.verdicts().items() if not holds] == [], outcome
        assert outcome.blind > 100 * TOLERANCE, "the weights are too even: these checks would not see a mistake"
    else:
        assert case.refusal is not None, outcome
        assert case.refusal in str(outcome)
    assert scorer_row(case, outcome) in PAGE.read_text(encoding="utf-8").splitlines(), "run python -m tests.families"
