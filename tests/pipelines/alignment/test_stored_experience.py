"""Experience that a checkpoint holds comes back with all its bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from actors.messages import Chunk, Experience, LogProbs, Rollout, Scores
from allgood.views import PropertyView
from pipelines.alignment.stored_experience import read_steps, write_steps


def experience(step: int, index: int) -> Experience:
    """Two prompts with two samples each, of 1 to 4 tokens."""
    draw = np.random.default_rng(10 * step + index)
    lengths = (1, 4, 2, 3)
    prompts = ("\n\nHuman: Tea?\n\nAssistant:", "\n\nHuman: \u017bur\u2026\n\nAssistant:")
    chunk = Chunk(step, index, 2**60 + step, step - 1, ("tea", "soup"), prompts, samples_per_prompt=2)
    rollout = Rollout(
        chunk=chunk,
        prompt_tokens=(np.int32([1, 40, 41]), np.int32([1, 7])),
        response_tokens=tuple(draw.integers(0, 99, n).astype(np.int32) for n in lengths),
        logprobs=tuple(draw.normal(size=n).astype(np.float32) for n in lengths),
        entropies=tuple(draw.normal(size=n).astype(np.float32) for n in lengths),
        responses=("a", "", "b\nb", '"c"'),
        finish_reasons=("eos", "length", "stop", "eos"),
        num_prompts_cut=1,
        seconds=0.1,
    )
    numbers = [draw.normal(size=4).astype(np.float32) for _ in range(8)]
    numbers[0][2] = np.nan  # a failed score
    views = {
        "a.b": PropertyView(*numbers[:4], "rounded_log_prob"),
        "other": PropertyView(*(n[::-1] for n in numbers[4:])),  # not contiguous in memory
    }
    scores = {name: Scores(name, view, 2, 0.3) for name, view in views.items()}
    scores["a.b"] = replace(scores["a.b"], reasons={2: "no answer in 3 s"}, num_given_up=1)
    reference = LogProbs(tuple(draw.normal(size=n).astype(np.float32) for n in lengths), 0.2)
    return Experience(rollout, scores, reference)


def test_what_is_read_has_the_bits_of_what_was_written(tmp_path: Path) -> None:
    written = {7: [experience(7, 0), experience(7, 1)], 12: [experience(12, 0)]}
    write_steps(tmp_path / "ahead", written)
    found = read_steps(tmp_path / "ahead")
    assert list(found) == [7, 12]
    for step, parts in written.items():
        for one, other in zip(parts, found[step], strict=True):
            # The printed form of arrays this short is complete, dtypes included, and NaN equals itself there.
            assert repr(other) == repr(one)
            for row, again in zip(one.rollout.logprobs, other.rollout.logprobs, strict=True):
                assert row.tobytes() == again.tobytes()
            for name, scores in one.scores.items():
                assert scores.view.rewards.tobytes() == other.scores[name].view.rewards.tobytes()


def test_nothing_ahead_leaves_no_folder_and_reads_as_nothing(tmp_path: Path) -> None:
    write_steps(tmp_path / "ahead", {})
    assert not (tmp_path / "ahead").exists()
    assert read_steps(tmp_path / "ahead") == {}
