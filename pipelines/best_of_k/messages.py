"""Prompts and responses as the messages that other trainers read: {role, content}, roles user, assistant and system."""

from __future__ import annotations

from typing import Any

from allgood.conversations import messages_of_turns, parse
from pipelines.best_of_k.pool import Pool

Message = dict[str, str]


def asked(prompt: str) -> list[Message]:
    """The messages that a canonical prompt asks to answer; its empty last turn is none of them."""
    return messages_of_turns(parse(prompt)[:-1])


def said(response: str) -> list[Message]:
    """The response as the assistant's message."""
    return [{"role": "assistant", "content": response}]


def told(pool: Pool, row: int, *, suffix: str = "") -> dict[str, float]:
    """What the run says of a row: combined utility, and per property reward, margin and P(good)."""
    found = pool.judged
    numbers = {"utility": float(found.utilities[row])}
    for name, view in found.properties.items():
        numbers[f"reward.{name}"] = float(view.rewards[row])
        numbers[f"margin.{name}"] = float(view.margins[row])
        numbers[f"p_good.{name}"] = float(view.p_good[row])
    return {f"{name}{suffix}": value for name, value in numbers.items()}


def named(pool: Pool, prompt: int) -> dict[str, Any]:
    """Which prompt it is, and its split where the data have one."""
    answered = pool.judged.answers[prompt]
    return {"prompt_id": answered.id} | ({} if answered.split is None else {"split": answered.split})
