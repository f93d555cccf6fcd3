"""Reward functions for tests: cheap, deterministic, different for different texts."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Sequence

import torch


def short(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """Shorter is better."""
    return [2.0 - 0.1 * len(response) for response in responses]


def slow_short(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """As `short`, in half a second and more: long enough to be killed in."""
    time.sleep(0.5)
    return short(prompts, responses)


def centred_short(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """As `short`, less the mean of what it is given: an answer's reward depends on its neighbours."""
    rewards = short(prompts, responses)
    return [reward - sum(rewards) / len(rewards) for reward in rewards]


def vowels(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """The share of vowels, times 4."""
    return [4.0 * sum(letter in "aeiou" for letter in response) / max(1, len(response)) for response in responses]


def share_of_vowels(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """The share of vowels, in [0, 1]: no logit."""
    return [reward / 4.0 for reward in vowels(prompts, responses)]


def failed_as_zero(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """Fails on everything, and hides it."""
    return [0.0 for _ in responses]


def broken_on_b(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """Fails, by NaN, on responses that contain a b."""
    return [float("nan") if "b" in response else 1.0 for response in responses]


def patchy(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """As `short`, but fails on one response in twelve."""
    rewards = zip(prompts, responses, short(prompts, responses), strict=True)
    return [
        float("nan") if zlib.crc32(f"{prompt}|{response}".encode()) % 12 == 0 else reward
        for prompt, response, reward in rewards
    ]


def raising(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """As `patchy`, but raises, or answers for too few, where that gives NaN."""
    rewards = patchy(prompts, responses)
    if any(math.isnan(reward) for reward in rewards):
        if len(rewards) % 2:
            raise ZeroDivisionError("no reward")
        return [reward for reward in rewards if not math.isnan(reward)]
    return rewards


_seen: set[int] = set()


def flaky(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """As `short`, but the first time that a batch is asked for, it raises."""
    batch = zlib.crc32("|".join([*prompts, *responses]).encode())
    if batch not in _seen:
        _seen.add(batch)
        raise TimeoutError("not now")
    return short(prompts, responses)


def always_broken(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """Fails on everything."""
    return [float("nan") for _ in responses]


def gold(prompts: Sequence[str], responses: Sequence[str]) -> dict[str, list[float]]:
    """Gold of the two properties."""
    return {"short": short(prompts, responses), "vowels": vowels(prompts, responses)}


def doubled_margin(rewards: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """A user's own transform."""
    return 2.0 * (rewards - references)
