"""One world of the study: everything redrawn from its seed, all arms on one lane of kept actors, numbers as JSON."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pipelines.comparison import kept_actors, run_arms, sample_policy
from pipelines.config.run import RunConfig
from pipelines.data import prepare
from pipelines.evaluation.measure import measure
from pipelines.evaluation.samples import test_prompts
from pipelines.files import write_json
from pipelines.gold import gold_of
from pipelines.references import build_references
from pipelines.run_folder import RunFolder
from pipelines.sft import train_sft
from pipelines.study.design import study_arms
from pipelines.summary import arm_entry, sft_entry
from pipelines.training.parallel import SideJob, train_rewards, train_side_by_side
from pipelines.world.write import write_world

NUM_REFERENCE_SAMPLES = 64


def world_config(config: RunConfig, *, seed: int, shortcuts: bool) -> RunConfig:
    """`config` with everything redrawn from `seed`, and the shortcuts' strength on or 0."""
    assert config.world is not None
    world = {"seed": seed} if shortcuts else {"seed": seed, "shortcut_strength": 0.0}
    return config.model_copy(
        update={
            "name": f"seed_{seed}_{'on' if shortcuts else 'off'}",
            "seed": seed,
            "world": config.world.model_copy(update=world),
            "references": config.references.model_copy(update={"num_samples": NUM_REFERENCE_SAMPLES}),
        }
    )


def run_world(config: RunConfig, results: Path) -> dict[str, Any]:
    """Run one world unless `results` is there already; what it holds. Needs a running Ray session."""
    write_world(config)
    prepare(config)
    # In a process of its own, because another world may be training in this one.
    train_side_by_side(
        [SideJob(f"sft {config.name}", RunFolder(config.folder).sft / "metrics.jsonl", partial(train_sft, config))]
    )
    rewards = train_rewards(config)
    gold = gold_of(config)
    assert gold is not None
    with kept_actors(config, num_lanes=1) as lanes:
        build_references(config, lanes[0])
        prompts = test_prompts(config)
        sft = sample_policy(config, lanes[0], prompts, policy_version=0, is_reference=True)
        arms = study_arms(config)
        runs = run_arms([arm for arm, _ in arms], lanes, prompts)
    measured = partial(measure, sft=sft, bars=gold.bars, seed=config.seed, num_bootstrap=config.evaluate.bootstrap)
    entries = [arm_entry(run, measured(run.samples)) for run in runs]
    numbers = {
        "seed": config.seed,
        "shortcut_strength": config.world.shortcut_strength if config.world else 0.0,
        "sft": sft_entry(measured(sft)),
        "arms": [entry | {"target_kl": target} for entry, (_, target) in zip(entries, arms, strict=True)],
        "reward_accuracy": {name: report["accuracy"] for name, report in rewards.items()},
    }
    write_json(results, numbers)
    return numbers
