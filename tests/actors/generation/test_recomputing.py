"""Decoding without a cache, against plain forward passes of single rows."""

import pytest
import torch

from actors.generation import recomputing
from actors.generation.recomputing import prefill_recomputing
from tests.actors import tiny_models

PROMPTS = [[1, 5, 9, 30], [1, 44], [1, 7, 8, 200, 17, 91, 12]]


@pytest.mark.parametrize("pass_tokens", [16_384, 9])  # all rows in one pass, or hardly two
@torch.inference_mode()
def test_logits_are_those_of_each_row_alone_also_after_rows_were_dropped(pass_tokens, monkeypatch):
    monkeypatch.setattr(recomputing, "_PASS_TOKENS", pass_tokens)
    model = tiny_models.policy()
    rows = [list(prompt) for prompt in PROMPTS for _ in range(2)]
    decoder, logits = prefill_recomputing(model, PROMPTS, 2, max_new_tokens=3)
    assert_those_of(model, rows, logits)
    for tokens, alive in (([3, 4, 5, 6, 7, 8], [0, 1, 2, 3, 4, 5]), ([9, 10, 11], [1, 2, 4]), ([12], [2])):
        if len(alive) < len(rows):
            decoder.keep(torch.isin(torch.arange(len(rows)), torch.tensor(alive)))
            rows = [rows[row] for row in alive]
        rows = [[*row, token] for row, token in zip(rows, tokens, strict=True)]
        assert_those_of(model, rows, decoder.step(torch.tensor(tokens)))


def assert_those_of(model, rows, logits):
    expected = torch.stack([model(input_ids=torch.tensor([row])).logits[0, -1] for row in rows])
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
