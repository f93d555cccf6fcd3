"""Preference pairs of one source: read, cleaned, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from allgood.errors import DataError
from pipelines.config.data import PairSource
from pipelines.data.formats import Format, RawPair, detect_format, read_pair
from pipelines.data.prepared import Report
from pipelines.data.rated import rated_pairs
from pipelines.data.sources import Row, read_rows, unread_columns
from pipelines.data.turns import num_stripped

MAX_EQUAL_SHARE = 0.01
"""More pairs than this share with chosen == rejected mean that the file is not what it seems."""


def read_pairs(source: PairSource) -> tuple[list[RawPair], Report]:
    """The usable pairs of a source, and what happened to its rows. Of rated answers each two make a pair.

    Pairs whose two responses are equal, or answer different prompts, are dropped and counted. Repeated pairs and pairs
    that contradict another are counted and kept: several judgements of the same responses are information.

    Raises:
        DataError: More than 1 % of the pairs have chosen == rejected, no pair is left, or a row is wrong.
    """
    rows = read_rows(source)
    if source.format == "rated":
        assert source.attribute is not None  # the source's validator
        pairs, counts = rated_pairs(rows, source.attribute, path=source.path)
        return pairs, {"format": source.format} | counts | _report(rows, pairs)
    form = detect_format(rows[0]) if source.format == "auto" else source.format
    pairs, counts = _stated_pairs(rows, form, path=source.path)
    return pairs, {"format": form} | counts | _report(rows, pairs)


def _stated_pairs(rows: Sequence[Row], form: Format, *, path: str) -> tuple[list[RawPair], Report]:
    pairs = [read_pair(row, form) for row in rows]
    equal = [pair for pair in pairs if pair.prompt == pair.rejected_prompt and pair.chosen == pair.rejected]
    if len(equal) > MAX_EQUAL_SHARE * len(pairs):
        raise DataError(
            f"{path}: {len(equal)} of {len(pairs)} pairs have chosen equal to rejected, first at "
            f"{equal[0].place}; at most 1 % are accepted (and dropped), so check how the file was made"
        )
    kept = [pair for pair in pairs if pair.prompt == pair.rejected_prompt and pair.chosen != pair.rejected]
    if not kept:
        raise DataError(
            f"{path} has no usable pair: in all of its {len(pairs)} rows "
            "`chosen` and `rejected` answer different prompts"
        )
    return kept, {
        "rows": len(pairs),
        "dropped_equal_responses": len(equal),
        "dropped_different_prompts": len(pairs) - len(equal) - len(kept),
    }


def _report(rows: Sequence[Row], kept: Sequence[RawPair]) -> Report:
    times = Counter((pair.prompt, pair.chosen, pair.rejected) for pair in kept)
    return {
        "pairs": len(kept),
        "repeated_pairs": len(kept) - len(times),
        "contradicting_pairs": sum(
            count for (prompt, chosen, rejected), count in times.items() if (prompt, rejected, chosen) in times
        ),
        "pairs_with_an_empty_response": sum(not pair.chosen or not pair.rejected for pair in kept),
        "pairs_with_margin": sum(pair.margin is not None for pair in kept),
        "prompts": len({pair.prompt for pair in kept}),
        "stripped": num_stripped(rows, ("prompt", "chosen", "rejected", "response", "responses", "system")),
        **unread_columns(rows),
    }
