"""A sweep in miniature on the tiny run: reward functions, a random policy, gold that counts vowels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.config.run import RunConfig
from pipelines.config.sweep import SweepConfig
from tests.pipelines.tiny_run import tiny_config

GOLD = {
    "gold": "tests.pipelines.tiny_rewards:gold",
    "bars": {"short": 0.0, "vowels": 1.0},
    "prompts": 4,
    "bootstrap": 100,
    "sft_samples_per_prompt": 4,
}
ALIGN = {"steps": 6, "evaluate_every": 2, "checkpoint_every": 2, "prompts_per_step": 4, "max_evaluation_prompts": 3}


def tiny_sweep(folder: Path, name: str = "tiny", **sections: Any) -> SweepConfig:
    """A sweep over `tiny_run`; `sections` replace or add to the file's sections."""
    return SweepConfig.model_validate(
        {"name": name, "run": "tiny.yaml", "output_dir": folder / "sweeps", "max_concurrent": 2, **sections}
    )


def tiny_base(folder: Path, **changes: Any) -> RunConfig:
    """The base run of the sweep, on the base that `make_base` writes."""
    config = tiny_config(folder, "base_run", evaluate=GOLD, **changes)
    return config.model_copy(update={"align": config.align.model_copy(update=ALIGN)})


def unjudged_base(folder: Path) -> RunConfig:
    """The same without gold, so that nobody says which response is better."""
    config = tiny_base(folder)
    return config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"gold": None, "bars": {}})})
