"""The page of models lists what the matrix tries, and nothing else."""

from __future__ import annotations

import re

from tests.families.page import ALL_POLICIES, ALL_SCORERS, HEAD, PAGE, TEMPLATES


def test_the_page_lists_every_family_and_template_in_order() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.startswith(HEAD)
    rows = re.findall(r"^\| (.*?) \|", page, re.MULTILINE)
    names = [case.name for case in (*ALL_POLICIES, *ALL_SCORERS, *TEMPLATES)]
    assert [row for row in rows if row not in ("family", "chat template", "---")] == names


def test_no_promise_on_the_page_is_broken() -> None:
    assert "**no**" not in PAGE.read_text(encoding="utf-8")
