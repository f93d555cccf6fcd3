"""Shortcut rates per prompt, so that intervals can be clustered; the detectors are those of `allgood.shortcuts`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from allgood.shortcuts import has_consult, has_list, is_refusal, num_words, repetition
from pipelines.evaluation.estimates import PerPrompt

SHORTCUTS: dict[str, Callable[[str], float]] = {
    "lists": has_list,
    "consult": has_consult,
    "refusal": is_refusal,
    "repetition": repetition,
    "mean_length_words": num_words,
}


def shortcut_values(responses: Sequence[Sequence[str]]) -> dict[str, PerPrompt]:
    """Per shortcut the mean over each prompt's samples, [prompts]: shares in [0, 1], lengths in words."""
    return {
        name: np.array([np.mean([measure(text) for text in samples]) for samples in responses])
        for name, measure in SHORTCUTS.items()
    }
