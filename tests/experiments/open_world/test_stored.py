"""Stored numbers come back as they were, seed by seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from allgood.errors import DataError
from experiments.open_world.stored import Stored


def test_what_is_written_is_read_with_a_line_per_key(tmp_path: Path) -> None:
    stored, entry = Stored(tmp_path), {"seed": 3, "arms": [{"kl": 1.0}, {"kl": 2.0}], "none": [], "text": "π"}
    path = stored.predictions("weak", 3)
    stored.write(path, entry)
    assert stored.load(path) == entry
    assert len(path.read_text(encoding="utf-8").splitlines()) == 9


def test_seeds_come_in_order_with_their_arms(tmp_path: Path) -> None:
    stored = Stored(tmp_path)
    for seed in (10, 2):
        stored.write(stored.predictions("strong", seed), {"seed": seed})
    stored.write(stored.start("strong", 2), {"kl": 0.0})
    stored.write(stored.arm("strong", 2, "lsc_sum_kl4"), {"kl": 4.1, "numbers_version": 2})
    first, second = stored.seeds("strong")
    assert (first.seed, first.start, set(first.arms)) == (2, {"kl": 0.0}, {"lsc_sum_kl4"})
    assert (second.seed, second.start, second.arms) == (10, None, {})
    assert stored.seeds("weak") == []


def test_arms_of_different_versions_are_never_mixed(tmp_path: Path) -> None:
    stored = Stored(tmp_path)
    stored.write(stored.predictions("strong", 0), {})
    for version in (1, 2):
        stored.write(stored.arm("strong", 0, f"arm_{version}"), {"numbers_version": version})
    with pytest.raises(DataError, match="never mixes versions"):
        stored.seeds("strong")
