"""What nobody but a fallback knows of a call can be filled in from samples, and nothing else changes."""

from __future__ import annotations

from allgood.conversations import prompt_id
from allgood.scorers.asked import Asked
from allgood.scorers.read_rows import ReadRow, ReadRows
from allgood.scorers.reference_files import References

TEA, MATE, RAIN = "tea", "mate", "rain"
IDS = {text: prompt_id(text) for text in (TEA, MATE, RAIN)}


def test_samples_take_the_place_of_a_fallback_and_of_nothing() -> None:
    rows = ReadRows(tuple(ReadRow(text, "yes", None) for text in IDS), 0)
    asked = Asked(
        rows,
        {"good": References({IDS[TEA]: 1.0, IDS[MATE]: 9.0, IDS[RAIN]: float("nan")}), "brief": References({})},
        {"good": {IDS[TEA]: "table", IDS[MATE]: "fallback", IDS[RAIN]: "nowhere"}, "brief": {}},
        1 / 3,
    )
    assert asked.without_reference("good") == {IDS[MATE]: MATE, IDS[RAIN]: RAIN}
    filled = asked.with_samples("good", References({IDS[RAIN]: 2.0}))
    assert filled.references["good"].values == {IDS[TEA]: 1.0, IDS[MATE]: 9.0, IDS[RAIN]: 2.0}
    assert filled.reference_from["good"] == {IDS[TEA]: "table", IDS[MATE]: "fallback", IDS[RAIN]: "samples"}
    assert filled.references["brief"] is asked.references["brief"]
    assert (filled.rows, filled.share_in_table) == (asked.rows, asked.share_in_table)
