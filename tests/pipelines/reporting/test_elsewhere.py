"""Links from a comparison's report lead to pages that are there, from wherever the report lies."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from pipelines.reporting import elsewhere
from pipelines.reporting.elsewhere import DOCS, PAGES, where_objectives_matter
from pipelines.reporting.html import page


def targets(folder: Path) -> list[str]:
    return re.findall(r'<li><a href="([^"]+)"', page("title", "", where_objectives_matter(folder)))


def test_every_page_is_in_the_checkout() -> None:
    assert all((DOCS / target).is_file() for target in PAGES.values())


@pytest.mark.parametrize("inside", ["runs/quickstart", "runs/deeper/one", "."])
def test_links_from_a_folder_of_the_checkout_are_relative_and_hold(inside: str) -> None:
    folder = DOCS.parent / inside
    found = targets(folder)
    assert len(found) == len(PAGES)
    for target in found:
        assert not Path(target).is_absolute()
        assert Path(os.path.normpath(folder / target)).is_file()


def test_links_from_elsewhere_name_the_whole_path(tmp_path: Path) -> None:
    assert all(Path(unquote(urlparse(target).path)).is_file() for target in targets(tmp_path))


def test_a_checkout_without_documentation_has_no_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "DOCS", tmp_path / "docs")
    assert where_objectives_matter(tmp_path) == []
