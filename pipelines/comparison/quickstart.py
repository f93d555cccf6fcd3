"""`allgood quickstart`: everything once, on the embedded world, in minutes.

World, SFT, two reward models side by side, references, raw-sum and LSC-sum alignment at several KL coefficients on kept
actors, evaluation by gold on test prompts, a report. Quickstart measures with gold alone: the learned evaluators of the
paper belong to `make study` and to runs on real data.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from allgood.errors import ConfigError
from pipelines.comparison.arms import Arm, ArmRun, arm_of, kept_actors, lsc_sum, raw_sum, run_arms, sample_policy
from pipelines.comparison.summary import arm_entry, chosen_arm, final_table, sft_entry
from pipelines.config.loading import save_config
from pipelines.config.run import RunConfig
from pipelines.data import prepare_anew
from pipelines.evaluation.entry import Comparison
from pipelines.evaluation.measure import Measurement, PolicySamples, measure
from pipelines.evaluation.samples import test_prompts
from pipelines.objective.gold import gold_of
from pipelines.output.files import write_json
from pipelines.output.progress import say
from pipelines.output.stamp import NUMBERS_VERSION
from pipelines.output.typed_json import as_json
from pipelines.references.build import build_references
from pipelines.reporting.report import write_group_report
from pipelines.run.folder import RunFolder
from pipelines.run.locks import making_base, writing_results
from pipelines.run.session import ray_session
from pipelines.storage.copy import refuse_storage
from pipelines.training.parallel import train_rewards
from pipelines.training.sft import train_sft
from pipelines.world.write import write_world


def run_quickstart(config: RunConfig) -> Comparison:
    """Run the chain of `config` and return what `summary.json` holds.

    Raises:
        ConfigError: The configuration has no world (there would be no gold) or no arms, or its folder is in use.
    """
    if config.world is None or config.comparison is None:
        raise ConfigError("quickstart needs `world` and `comparison`; see configs/quickstart.yaml")
    refuse_storage(config, "quickstart")
    with writing_results(config.folder, "quickstart"), making_base(config.base_folder, "quickstart"):
        return _run(config)


def _run(config: RunConfig) -> Comparison:
    started = time.monotonic()
    folder = RunFolder(config.folder)
    save_config(config, folder.config)
    write_world(config)
    prepare_anew(config)
    with ray_session():
        if config.sft is not None:
            train_sft(config)
        reward_reports = train_rewards(config)
        arms, sft = _align(config)
    summary = replace(
        summarise(config, arms, sft),
        reward_models=reward_reports,
        seconds=time.monotonic() - started,
        report=str(folder.report),
    )
    write_json(folder.summary, as_json(summary))
    write_group_report(folder.path, summary)
    say(final_table(summary))
    return summary


def _align(config: RunConfig) -> tuple[list[ArmRun], PolicySamples]:
    assert config.comparison is not None
    with kept_actors(config, config.comparison.lanes) as lanes:
        build_references(config, lanes[0])
        prompts = test_prompts(config)
        sft = sample_policy(config, lanes[0], prompts, policy_version=0, is_reference=True)
        return run_arms(configured_arms(config), lanes, prompts), sft


def configured_arms(config: RunConfig) -> list[Arm]:
    """The arms of `comparison`, in the order of the file."""
    assert config.comparison is not None
    return [
        arm_of(raw_sum(config) if arm.objective == "raw_sum" else lsc_sum(config), arm.objective, arm.coefficient)
        for arm in config.comparison.arms
    ]


def summarise(config: RunConfig, arms: Sequence[ArmRun], sft: PolicySamples) -> Comparison:
    """The numbers of a comparison: the start policy, every arm against it, and the arm chosen on validation prompts."""
    gold = gold_of(config)
    assert gold is not None

    def measured(samples: PolicySamples) -> Measurement:
        return measure(samples, sft, gold.bars, seed=config.seed, num_bootstrap=config.evaluate.bootstrap)

    return Comparison(
        numbers_version=NUMBERS_VERSION,
        name=config.name,
        sft=sft_entry(measured(sft)),
        arms=tuple(arm_entry(run, measured(run.samples)) for run in arms),
        chosen_arm=chosen_arm([run.summary for run in arms]),
    )
