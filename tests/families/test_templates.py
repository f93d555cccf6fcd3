"""Every kind of chat template, read by policies and scorers, against the template called by anybody."""

from __future__ import annotations

import pytest

from tests.families.page import PAGE, template_row
from tests.families.template_checks import TEMPLATES, TemplateCase, examine_template
from tests.templates import KINDS


@pytest.mark.parametrize("case", TEMPLATES, ids=[case.kind for case in TEMPLATES])
def test_policies_and_scorers_read_what_the_template_writes(case: TemplateCase) -> None:
    found = examine_template(case)
    assert found.end == KINDS[case.kind].end
    assert found.policy
    assert found.scorer
    assert template_row(case, found) in PAGE.read_text(encoding="utf-8").splitlines(), "run python -m tests.families"


def test_every_kind_of_template_is_tried() -> None:
    assert {case.kind for case in TEMPLATES} == KINDS.keys() - {"none"}
