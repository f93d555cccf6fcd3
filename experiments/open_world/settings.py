"""What differs from `configs/open_world.yaml`, so that a run takes two minutes of a core and is flat at its end."""

from __future__ import annotations

SETTINGS = (
    "align.steps=240",
    "align.optimizer.schedule=cosine",  # its last quarter is below 15 % of the rate: KL and utility are flat at the end
    "align.evaluate_every=180",  # and at the end: the two bound the last quarter
    "align.evaluation_samples=32",  # with 4 or 16, one run's noise hides a change of 5 %
    "align.checkpoint_every=240",
    "references.num_samples=64",
    "evaluate.samples_per_prompt=8",
    "evaluate.sft_samples_per_prompt=16",
    "tracking.wandb=disabled",
)
