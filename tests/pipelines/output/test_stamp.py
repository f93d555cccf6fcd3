from __future__ import annotations

from pathlib import Path

import pytest

from allgood.errors import DataError
from pipelines.output.files import write_json
from pipelines.output.stamp import NUMBERS_VERSION, STAMP, is_of_today, load_together, refuse_mixed, stamped


def test_a_result_says_which_version_made_it() -> None:
    assert stamped({"seed": 3}) == {STAMP: NUMBERS_VERSION, "seed": 3}
    assert is_of_today(stamped({}))
    assert not is_of_today({})


def test_results_of_one_version_stand_together(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_json(tmp_path / f"{seed}.json", stamped({"seed": seed}))
    assert [found["seed"] for found in load_together(sorted(tmp_path.glob("*.json")))] == [0, 1]
    refuse_mixed({"a": {}, "b": {}})  # both before stamps
    assert load_together([]) == []


def test_a_page_of_two_versions_names_a_file_of_each(tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    write_json(old, {"seed": 0})
    write_json(new, stamped({"seed": 1}))
    with pytest.raises(DataError, match=r"old\.json is older than such versions; .*new\.json is of version 2"):
        load_together([old, new])
