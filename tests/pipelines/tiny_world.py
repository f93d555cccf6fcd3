"""A world and its models in miniature: overrides of the run files of worlds, for the whole chain in seconds."""

from __future__ import annotations

TINY_WORLD = (
    "world.num_prompts=200",
    "world.pairs_per_prompt=2",
    "world.demonstrations_per_prompt=4",
    "policy.architecture.hidden_size=32",
    "policy.architecture.intermediate_size=64",
    "sft.training.max_steps=6",
    "properties.helpful.train.training.max_steps=3",
    "properties.harmless.train.training.max_steps=3",
    "align.prompts_per_step=4",
    "evaluate.prompts=12",
    "evaluate.bootstrap=100",
    "tracking.wandb=disabled",
)
