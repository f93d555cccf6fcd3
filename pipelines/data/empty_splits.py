"""Refusals where a split that the run needs stays empty, with the cause: what the prompts are, and where they went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Never

from allgood.errors import DataError
from pipelines.data.prepared import Prompt, Split
from pipelines.data.splits import Splits

_NEEDED: tuple[Split, ...] = ("alignment", "validation", "test")


def refuse_empty_splits(prompts: Sequence[Prompt], splits: Splits) -> None:
    """DataError where a list of prompts leaves nothing to align on, to validate on or to report on."""
    counts = Counter(prompt.split for prompt in prompts)
    missing = [split for split in _NEEDED if not counts[split]]
    if missing:
        raise DataError(
            f"no prompt to align on is in the split {missing[0]}: {_places(counts)}, and {_groups(splits)}; give more "
            "prompts that ask different things, other shares in `data.splits`, or a `split` in each row"
        )


def refuse_nothing_to_imitate(rows: Sequence[tuple[str, str]], splits: Splits) -> Never:
    """DataError for (prompt, response) rows none of which SFT may learn from."""
    answered = [prompt for prompt, response in rows if response]
    if not answered:
        raise DataError(f"there is nothing to imitate: the response is empty in all of the {len(rows)} demonstrations")
    counts = Counter(splits.of_prompt[prompt] for prompt in answered)
    raise DataError(
        f"none of the {len(rows)} demonstrations has a prompt of the sft split: {_places(counts)}, "
        f"and {_groups(splits)}; "
        'give demonstrations on other prompts, `"split": "sft"` in each row, or a larger `data.splits.sft`'
    )


def _places(counts: Mapping[Split, int]) -> str:
    return "they are in " + ", ".join(f"{split} ({count})" for split, count in counts.items() if count)


def _groups(splits: Splits) -> str:
    """Near-duplicates are the usual cause: a group is not divided, and a large one is never drawn for a small share."""
    asked = splits.num_groups + splits.num_near_duplicates
    words = f"{asked} different first questions in all"
    if not splits.num_near_duplicates:
        return f"there are {words}"
    return (
        f"of {words} many are near-duplicates, which stay together: {splits.num_groups} groups, the largest with "
        f"{splits.largest_group}"
    )
