"""A version travels in parts of a bounded size, whatever its tensors are."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from actors.weights.layout import TensorEntry, layout_of, parted
from tests.actors import tiny_models


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 200))
def test_parts_keep_the_order_and_exceed_their_size_only_for_a_single_tensor(sizes: list[int], limit: int) -> None:
    entries = [TensorEntry(str(index), (size,), torch.float32) for index, size in enumerate(sizes)]
    layout = parted(entries, part_bytes=limit)
    assert list(layout.entries) == entries
    assert layout.parts
    for part in layout.parts:
        assert len(part) == 1 or sum(entry.num_bytes for entry in part) <= limit


def test_tied_weights_stand_once_and_sizes_are_those_of_the_dtype_that_travels() -> None:
    model = tiny_models.policy(tie_word_embeddings=True)
    layout = layout_of(dict(model.named_parameters()), torch.bfloat16)
    assert len(layout.parts) == 1
    assert "lm_head.weight" not in {entry.name for entry in layout.entries}
    assert sum(entry.num_bytes for entry in layout.entries) == 2 * model.num_parameters()
