"""Where a comparison of objectives stands among others: links from its report to figure and map of this checkout."""

from __future__ import annotations

import os
from pathlib import Path

from pipelines.reporting.html import Section, links, paragraph

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    "In one figure: where it matters, and where it hardly does": "results/where_it_matters.png",
    "The map: calculated differences between objectives, with rules": "results/map.md",
    "How to tell for your own data, before training": "how-to/diagnosis.md",
}


def where_objectives_matter(folder: Path) -> list[Section]:
    """One section with links that hold from `folder`; none where the checkout came without its documentation."""
    found = {text: DOCS / page for text, page in PAGES.items() if (DOCS / page).is_file()}
    if not found:
        return []
    said = paragraph(
        "How much the choice between objectives can change depends on how the spreads of rewards differ, on answers "
        "that are overrated, and on the KL. One world and one seed show one case."
    )
    return [
        Section("Does the choice matter elsewhere?", [said, links({t: _from(folder, p) for t, p in found.items()})])
    ]


def _from(folder: Path, page: Path) -> str:
    """Relative within the checkout, so that both can be moved together."""
    root = DOCS.parent
    if folder.resolve().is_relative_to(root):
        return Path(os.path.relpath(page, folder.resolve())).as_posix()
    return page.as_uri()
