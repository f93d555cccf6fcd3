"""Every family of policies, sampled, aligned, trained and saved, against plain transformers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.families.page import ALL_POLICIES, PAGE, examined_policy, policy_lines
from tests.families.policies import PolicyCase
from tests.families.policy_checks import TOLERANCE

CASES = [pytest.param(case, id=case.name, marks=[pytest.mark.slow] * case.slow) for case in ALL_POLICIES]


@pytest.mark.parametrize("case", CASES)
def test_a_policy_is_what_plain_transformers_says_or_is_refused(case: PolicyCase, tmp_path: Path) -> None:
    found = examined_policy(case, tmp_path)
    if isinstance(found, str):
        assert case.refusal is not None, found
        assert case.refusal in found
    else:
        assert case.refusal is None
        assert [name for name, holds in found.verdicts().items() if not holds] == [], found
        assert found.blind > 100 * TOLERANCE, "the weights are too even: these checks would not see a mistake"
        assert not case.several_ends or found.num_ends > 1
    page = PAGE.read_text(encoding="utf-8").splitlines()
    assert set(policy_lines(case, found)) <= set(page), "run python -m tests.families"
