from pathlib import Path

import pytest

from allgood.errors import DataError
from pipelines.config.data import PairSource
from pipelines.data.pairs import read_pairs
from tests.pipelines.data.files import pair_row, question, write_jsonl


def equal_row(number: int) -> dict[str, str]:
    return {"chosen": f"{question(number)} same", "rejected": f"{question(number)}  same "}


def test_equal_pairs_are_dropped_and_counted_up_to_one_percent(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "pairs.jsonl", [*(pair_row(i) for i in range(99)), equal_row(99)])
    pairs, report = read_pairs(PairSource(path=str(path)))
    assert len(pairs) == 99
    assert report["dropped_equal_responses"] == 1


def test_more_equal_pairs_than_one_percent_are_an_error(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "pairs.jsonl", [*(pair_row(i) for i in range(98)), equal_row(98), equal_row(99)])
    with pytest.raises(
        DataError, match=r"pairs\.jsonl: 2 of 100 pairs have chosen equal to rejected, first at .*line 99"
    ):
        read_pairs(PairSource(path=str(path)))


def test_pairs_on_different_prompts_are_dropped_and_counted(tmp_path: Path) -> None:
    odd = {"chosen": f"{question(1)} a", "rejected": f"{question(2)} b"}
    path = write_jsonl(tmp_path / "pairs.jsonl", [pair_row(0), odd])
    pairs, report = read_pairs(PairSource(path=str(path)))
    assert [pair.chosen for pair in pairs] == ["good 0"]
    assert report["dropped_different_prompts"] == 1
    with pytest.raises(DataError, match="has no usable pair: in all of its 1 rows"):
        read_pairs(PairSource(path=str(write_jsonl(tmp_path / "odd.jsonl", [odd]))))


def test_repeats_contradictions_margins_and_empty_responses_are_counted_and_kept(tmp_path: Path) -> None:
    flipped = {"chosen": pair_row(0)["rejected"], "rejected": pair_row(0)["chosen"], "margin": 0.5}
    empty = {"chosen": f"{question(1)} a", "rejected": question(1)}
    path = write_jsonl(tmp_path / "pairs.jsonl", [pair_row(0), pair_row(0), flipped, empty])
    pairs, report = read_pairs(PairSource(path=str(path)))
    assert len(pairs) == 4
    assert report == {
        "format": "hh",
        "rows": 4,
        "pairs": 4,
        "dropped_equal_responses": 0,
        "dropped_different_prompts": 0,
        "repeated_pairs": 1,
        "contradicting_pairs": 3,
        "pairs_with_an_empty_response": 1,
        "pairs_with_margin": 1,
        "prompts": 2,
        "stripped": 0,
    }


def test_a_row_without_chosen_is_named_by_line(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "pairs.jsonl.gz", [pair_row(0), {"rejected": pair_row(1)["rejected"]}])
    with pytest.raises(DataError, match=r"pairs\.jsonl\.gz, line 2: `chosen` is missing"):
        read_pairs(PairSource(path=str(path)))
