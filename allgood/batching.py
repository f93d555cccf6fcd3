"""Which rows share a forward pass: length-sorted batches under a budget of padded tokens.

The composition depends on the lengths and the budget alone, never on load or time, so that the same rows always meet
in the same batches and give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence


def token_budget_batches(lengths: Sequence[int], *, max_tokens: int) -> list[list[int]]:
    """Split row indices into batches of at most `max_tokens` padded tokens, longest rows first.

    Args:
        lengths: Tokens of each row.
        max_tokens: Largest rows x longest row of a batch. A row longer than this gets a batch of its own.

    Returns:
        Batches of row indices; together every index once. Rows of equal length keep their order.

    Raises:
        ValueError: `max_tokens` is below 1.

    >>> token_budget_batches([3, 9, 4, 2], max_tokens=10)
    [[1], [2, 0], [3]]
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens must be at least 1, got {max_tokens}")
    batches: list[list[int]] = []
    width = 0
    # Longest first: the largest batch comes first, so a budget that does not fit in memory fails at once.
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batches and (len(batches[-1]) + 1) * width <= max_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
            width = max(lengths[row], 1)
    return batches
