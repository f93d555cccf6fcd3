"""Measured reward models on the map: marks for its heat maps and a section of its page, from stored aggregates.

`experiments/real_data` measures and stores them; where nothing is stored, nothing is marked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.tables import markdown_table
from allgood.idealised.objectives import LSC, RAW, Z_SCORE

Stored = Mapping[str, Any]

SMALL, STRONG = "22M, trained here", "4B and 8B, public"


@dataclass(frozen=True)
class Mark:
    """Where measured reward models lie on an axis: from the lowest to the highest end of their 95 % intervals."""

    label: str
    low: float
    high: float


@dataclass(frozen=True)
class Real:
    """What is stored of real reward models: parts `judged` and `public` of docs/results/data/real_data."""

    judged: Stored
    public: Stored

    def marks(self) -> dict[str, list[Mark]]:
        """By the title of the heat map's panel."""
        models = self.judged["models"].values()
        strong = [self.public["labeller"], *self.public["trained"].values()]
        spreads = [row["spread"] for found in models for row in found["properties"].values()]
        errors = [_error(found["intervals"]["accuracy"]) for found in models]
        return {
            "spread of rewards (nats)": [
                _mark(SMALL, spreads),
                _mark(STRONG, [found["spread"] for found in strong]),
            ],
            "spread between prompts (sigma)": [
                _mark(SMALL, [found["intervals"]["between_prompts"] for found in models]),
                _mark(STRONG, [found["sigma"] for found in strong]),
            ],
            "spread by prompt and property (sigma)": [_mark(SMALL, [found["intervals"]["mixed"] for found in models])],
            "normal error (spreads)": [
                _mark(SMALL, errors),
                _mark(STRONG, [_error(found["correlation"]) for found in self.public["trained"].values()]),
            ],
            "correlation of the properties": [_mark(SMALL, [found["intervals"]["tension"] for found in models])],
        }

    def section(self) -> str:
        """The part of the page; the table has the small models, on which everything was measured."""
        header = ["reward models", "spread: helpful", "harmless", "correlation with the judge", "between properties"]
        header += ["KL 1: raw / LSC / z-score", "KL 2", "KL 4"]
        rows = []
        for kind, found in self.judged["models"].items():
            spreads = [_shown(found["properties"][name]["spread"]) for name in ("helpful", "harmless")]
            own = [_shown(found["intervals"][name]) for name in ("accuracy", "tension")]
            rates = found["predicted"]["all_good"]
            by_kl = zip(*(rates[objective] for objective in (RAW, LSC, Z_SCORE)), strict=True)
            rows.append([kind, *spreads, *own, *(" / ".join(f"{rate:.3f}" for rate in at_kl) for at_kl in by_kl)])
        return "\n".join(
            [SECTION.strip(), "", *markdown_table(header, rows, align="l" + "r" * 7), "", SECTION_END.strip()]
        )


def load_real(folder: Path) -> Real | None:
    """What is stored, or None."""
    paths = [folder / f"{part}.json" for part in ("judged", "public")]
    if not all(path.is_file() for path in paths):
        return None
    return Real(*(json.loads(path.read_text(encoding="utf-8")) for path in paths))


def _mark(label: str, found: Sequence[Mapping[str, float]]) -> Mark:
    return Mark(label, min(row["low"] for row in found), max(row["high"] for row in found))


def _error(accuracy: Mapping[str, float]) -> dict[str, float]:
    """Standard deviation of a reward's error in spreads of gold, from the correlation of reward and gold."""
    high, low = (math.sqrt(1 / accuracy[end] ** 2 - 1) for end in ("low", "high"))
    return {"low": low, "high": high}


def _shown(found: Mapping[str, float]) -> str:
    return f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


SECTION = """
## Where real reward models lie

The bars at the left of some panels above are measured: 22M reward models trained on real pairs and judged by GPT-4
(orange), and a public 8B reward model and 4B models trained on its choices, on samples of one policy (black). What lies
beyond a panel is drawn at its end: errors of the small models are 2.4 to 4 spreads, the 8B model's spread is 7 nats.
"""

SECTION_END = """
Small reward models lie where the choice hardly matters: their rewards are too alike and too noisy. Strong ones have
spreads at which it can. There it depends on whether the spreads of the properties differ on a prompt, and on
overrating, which was not seen in samples. [Real reward models on the map](real_reward_models.md) has the
measurements, the tails, the sources, and what cannot be known from them.
"""
