"""Reports on the terminal."""

from __future__ import annotations

from pipelines.output.progress import report_lines


def test_groups_of_numbers_take_one_line_and_lists_are_left_out() -> None:
    report = {
        "accuracy": 0.71234,
        "interval": [0.7, 0.73],
        "pairs": {"train": {"rows": 10, "cut": 0}, "curve": [1, 2], "test": {"rows": 3}},
        "by_split": {"sft": 1, "test": 2},
        "empty": {},
        "temperature": None,
    }
    assert list(report_lines(report)) == [
        "  accuracy: 0.7123",
        "  pairs:",
        "    train: rows 10, cut 0",
        "    test: rows 3",
        "  by_split: sft 1, test 2",
        "  temperature: unknown",
    ]
