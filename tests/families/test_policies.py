"""Every family of policies, sampled, aligned, trained and saved, against plain transformers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.families.page import ALL_POLICIES, PAGE, outcome_of, policy_row
from tests.families.policies import PolicyCase
from tests.families.policy_checks import TOLERANCE, PolicyFindings, examine_policy

CASES = [pytest.param(case, id=case.name, marks=[pytest.mark.slow] * case.slow) for case in ALL_POLICIES]


@pytest.mark.parametrize("case", CASES)
def test_a_policy_is_what_plain_transformers_says_or_is_refused(case: PolicyCase, tmp_path: Path) -> None:
    outcome = outcome_of(partial(examine_policy, case, tmp_path))
    if isinstance(outcome, PolicyFindings):
        assert case.refusal is None
        assert [name for name, holds in outcome.verdicts().items() if not holds] == [], outcome
        assert outcome.blind > 100 * TOLERANCE, "the weights are too even: these checks would not see a mistake"
        assert not case.several_ends or outcome.num_ends > 1
    else:
        assert case.refusal is not None, outcome
        assert case.refusal in str(outcome)
    assert policy_row(case, outcome) in PAGE.read_text(encoding="utf-8").splitlines(), "run python -m tests.families"
