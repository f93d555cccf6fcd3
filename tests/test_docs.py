"""The checks of the documentation find what they are for."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.check import problems_of


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a](missing.md)", "link to missing.md: there is no missing.md"),
        ("# Here\n[a](#there)", "link to #there: there is no heading #there"),
        ("```bash\nallgood algin configs/quickstart.yaml\n```", "No such command"),
        ("```bash\nallgood align\n```", "Missing"),
        ("```bash\nallgood align --overwrit configs/mine.yaml\n```", "No such option"),
        (
            "```bash\nallgood config configs/quickstart.yaml \\\n  kl.coeficient=1\n```",
            "did you mean `kl.coefficient`?",
        ),
        ("```bash\nmake quikstart\n```", "the Makefile has no target quikstart"),
        ("`allgood algin` does it", "there is no command algin"),
    ],
)
def test_a_wrong_page_is_reported(tmp_path: Path, text: str, problem: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    (found,) = problems_of(page)
    assert problem in found


def test_a_right_page_is_not_reported(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# The page\n[a](#the-page), [b](page.md#the-page), `allgood align` and `make test`\n"
        "```bash\n.venv/bin/allgood align configs/quickstart.yaml kl.coefficient=0.2   # a comment\n```\n"
        "```yaml\nallgood: [this is not a command](nor-a-link)\n```\n"
    )
    assert list(problems_of(page)) == []
