"""What differs from `configs/open_world.yaml`, so that a run takes two minutes of a core and is flat at its end."""

from __future__ import annotations

from pipelines.config.run import RunConfig

SETTINGS = (
    "align.optimizer.schedule=cosine",  # its last quarter is below 15 % of the rate: KL and utility are flat at the end
    "align.evaluation_samples=32",  # with 4 or 16, one run's noise hides a change of 5 %
    "align.max_evaluation_prompts=64",
    "references.num_samples=64",
    "evaluate.samples_per_prompt=8",
    "evaluate.sft_samples_per_prompt=16",
    "tracking.wandb=disabled",
)


def with_steps(config: RunConfig, steps: int) -> RunConfig:
    """The run with so many steps, evaluated at three quarters of them and at the end, which bound the last quarter."""
    update = {"steps": steps, "evaluate_every": round(0.75 * steps), "checkpoint_every": steps}
    return config.model_copy(update={"align": config.align.model_copy(update=update)})
