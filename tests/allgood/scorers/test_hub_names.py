"""Names with a revision: taken apart and put together, and folders left as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from allgood.scorers.hub_names import at_revision, is_hub_name, split_revision


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("owner/name@v1.0", ("owner/name", "v1.0")),
        ("name@refs/pr/3", ("name", "refs/pr/3")),
        ("owner/name", ("owner/name", None)),
        ("/abs/a@b", ("/abs/a@b", None)),
        ("./a@b", ("./a@b", None)),
    ],
)
def test_a_revision_stands_after_the_name(source: str, parts: tuple[str, str | None]) -> None:
    assert split_revision(source) == parts
    assert at_revision(*parts) == source


def test_a_folder_with_an_at_in_its_path_has_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "a@b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert split_revision("runs/a@b") == ("runs/a@b", None)
    assert not is_hub_name("runs/a@b")
    assert not is_hub_name(tmp_path)
    assert not is_hub_name("../other")
    assert is_hub_name("owner/name@v1")
