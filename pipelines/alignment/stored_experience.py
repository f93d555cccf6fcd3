"""Finished experience on disk, so that a checkpoint holds what was made ahead of the learner.

`step_000051.safetensors` has the numbers of a step, by place of their chunk in it (`0.logprobs`; rows of unequal length
as one array with their lengths, `0.logprobs.lengths`), `step_000051.json` the rest. What is read has the same bits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from actors.messages import Chunk, Experience, LogProbs, Rollout, Scores
from actors.packing import Packed
from allgood.views import PropertyView

Arrays = dict[str, NDArray[Any]]


def write_steps(folder: Path, steps: Mapping[int, Sequence[Experience]]) -> None:
    """Write the experience of each step into a folder, which is made if there is something to write."""
    for step, experience in steps.items():
        folder.mkdir(exist_ok=True)
        arrays: Arrays = {}
        for index, one in enumerate(experience):
            arrays |= {f"{index}.{name}": values for name, values in _arrays(one).items()}
        save_file(arrays, folder / f"step_{step:06d}.safetensors")
        content = [_rest(one) for one in experience]
        (folder / f"step_{step:06d}.json").write_text(json.dumps(content) + "\n", encoding="utf-8")


def read_steps(folder: Path) -> dict[int, list[Experience]]:
    """The experience by step; nothing where the folder is missing."""
    steps = {}
    for path in sorted(folder.glob("step_*.json")):
        arrays = load_file(path.with_suffix(".safetensors"))
        content = json.loads(path.read_text(encoding="utf-8"))
        parts = [_of_chunk(arrays, index) for index in range(len(content))]
        steps[int(re.sub(r"\D", "", path.stem))] = [
            _experience(part, rest) for part, rest in zip(parts, content, strict=True)
        ]
    return steps


def _arrays(one: Experience) -> Arrays:
    rollout = one.rollout
    ragged = {
        "prompt_tokens": rollout.prompt_tokens,
        "response_tokens": rollout.response_tokens,
        "logprobs": rollout.logprobs,
        "entropies": rollout.entropies,
        "reference": one.reference.rows,
    }
    found: Arrays = {}
    for name, rows in ragged.items():
        packed = Packed.of(rows)
        found |= {name: packed.values, f"{name}.lengths": packed.lengths}
    for name, scores in one.scores.items():
        found |= {f"scores.{name}.{field}": values for field, values in _numbers(scores.view).items()}
    return found


def _numbers(view: PropertyView) -> Arrays:
    # Contiguous copies: safetensors writes the memory of an array, whatever its strides say.
    numbers = {
        "rewards": view.rewards,
        "references": view.references,
        "margins": view.margins,
        "utilities": view.utilities,
    }
    return {name: np.ascontiguousarray(values) for name, values in numbers.items()}


def _rest(one: Experience) -> dict[str, Any]:
    """What is not an array of numbers."""
    rollout = one.rollout
    return {
        "chunk": asdict(rollout.chunk),
        "responses": rollout.responses,
        "finish_reasons": rollout.finish_reasons,
        "num_prompts_cut": rollout.num_prompts_cut,
        "seconds": rollout.seconds,
        "reference_seconds": one.reference.seconds,
        "scores": {
            name: {
                "good_from": scores.view.good_from,
                "num_prompts_cut": scores.num_prompts_cut,
                "seconds": scores.seconds,
                "reasons": {str(row): reason for row, reason in scores.reasons.items()},
                "num_given_up": scores.num_given_up,
            }
            for name, scores in one.scores.items()
        },
    }


def _of_chunk(arrays: Arrays, index: int) -> Arrays:
    return {name.removeprefix(f"{index}."): a for name, a in arrays.items() if name.startswith(f"{index}.")}


def _experience(arrays: Arrays, rest: dict[str, Any]) -> Experience:
    chunk = rest["chunk"]
    rollout = Rollout(
        chunk=Chunk(**{**chunk, "prompt_ids": tuple(chunk["prompt_ids"]), "prompts": tuple(chunk["prompts"])}),
        prompt_tokens=_rows(arrays, "prompt_tokens"),
        response_tokens=_rows(arrays, "response_tokens"),
        logprobs=_rows(arrays, "logprobs"),
        entropies=_rows(arrays, "entropies"),
        responses=tuple(rest["responses"]),
        finish_reasons=tuple(rest["finish_reasons"]),
        num_prompts_cut=rest["num_prompts_cut"],
        seconds=rest["seconds"],
    )
    scores = {name: _scores(arrays, name, content) for name, content in rest["scores"].items()}
    return Experience(rollout, scores, LogProbs(_rows(arrays, "reference"), rest["reference_seconds"]))


def _scores(arrays: Arrays, name: str, content: dict[str, Any]) -> Scores:
    rewards, references, margins, utilities = (
        arrays[f"scores.{name}.{field}"] for field in ("rewards", "references", "margins", "utilities")
    )
    view = PropertyView(rewards, references, margins, utilities, content["good_from"])
    reasons = {int(row): reason for row, reason in content.get("reasons", {}).items()}  # an earlier version wrote none
    num_given_up = content.get("num_given_up", 0)
    return Scores(name, view, content["num_prompts_cut"], content["seconds"], reasons, num_given_up)


def _rows(arrays: Arrays, name: str) -> tuple[NDArray[Any], ...]:
    return Packed(arrays[name], arrays[f"{name}.lengths"]).rows()
