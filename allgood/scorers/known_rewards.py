"""Texts with the rewards that they had in a run: whoever loads exported models can see whether they still say the same.

Another version of a library, another template, or a server that applies a sigmoid gives other rewards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allgood.errors import ModelError

KNOWN_REWARDS = "known_rewards.json"
"""The file, alongside `rewards.yaml`."""


@dataclass(frozen=True)
class KnownRewards:
    """Canonical prompts, responses, and per property the rewards of the run, [rows], all finite."""

    prompts: tuple[str, ...]
    responses: tuple[str, ...]
    rewards: Mapping[str, NDArray[np.float32]]


def save_known(known: KnownRewards, path: Path) -> None:
    """Write JSON that `load_known` reads back to equal values."""
    content = {
        "prompts": known.prompts,
        "responses": known.responses,
        "rewards": {name: rewards.tolist() for name, rewards in known.rewards.items()},
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load_known(path: Path) -> KnownRewards | None:
    """The texts of a file; None where there is none.

    Raises:
        ModelError: It is damaged.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rewards = {name: np.array(values, dtype=np.float32) for name, values in content["rewards"].items()}
        return KnownRewards(tuple(content["prompts"]), tuple(content["responses"]), rewards)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} is damaged ({error!r}); export the rewards again") from error
