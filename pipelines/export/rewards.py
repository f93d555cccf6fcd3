"""`allgood export-rewards`: the reward side of a run as a folder that can be moved, for `AllGoodScorer` anywhere.

It holds `rewards.yaml`, the reward models that lie in folders, the reference points of every prompt in the table, heads
that predict others, the policy's tokenizer (whose template tells what a prompt is), a few texts with their rewards, and
`manifest.json` with checksums and the keys of everything the numbers depend on; where it is asked for also pi_0, for
fresh samples. Models on the hub stay names, with the commit of the run. Whoever reads it needs neither Ray nor this
package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from allgood.errors import ConfigError
from allgood.objectives import Lagrangian, Objective
from allgood.scorers.known_rewards import KNOWN_REWARDS, save_known
from allgood.scorers.models import load_tokenizer
from allgood.scorers.rewards_file import EXPORT, MANIFEST, REWARDS, read_rewards, rewards_yaml
from allgood.scorers.rewards_spec import RewardsSpec
from pipelines.alignment import checkpoints
from pipelines.answers.judged import objective_of_responses
from pipelines.cast.finished_models import refuse_unfit_models
from pipelines.config.run import RunConfig
from pipelines.export.exported_files import ExportedFiles, Extras
from pipelines.export.known_rewards import known_rewards_of
from pipelines.export.samples import samples_spec
from pipelines.output.files import atomic_path, check_writable
from pipelines.output.hashes import copy_tokenizer
from pipelines.output.progress import say
from pipelines.output.stamp import stamped
from pipelines.references.treatments import run_table
from pipelines.run.folder import RunFolder
from pipelines.run.start_policy import start_policy

TEMPLATE = "policy_tokenizer"

Report = dict[str, Any]


def export_rewards(
    config: RunConfig, output: Path | None = None, *, predictors: bool = False, fresh_samples: bool = False
) -> Path:
    """Write the folder (absent: `rewards` in the run folder) and return it.

    `predictors` adds heads that the run lacks, `fresh_samples` pi_0 for whoever can draw them.

    Raises:
        ConfigError: The objective has no utility of a response, a Lagrangian was not trained yet, the output is a
            folder of something else, or samples are asked for and no reference comes from any.
        ModelError, ReferenceTableError, DataError: What is missing or belongs to another run.
    """
    output = config.folder / EXPORT if output is None else output
    _refuse_others(output)
    check_writable(output.parent)
    objective, step = _objective(config)
    if fresh_samples:
        _refuse_without_samples(config)
    refuse_unfit_models(config)
    table = run_table(config)
    with atomic_path(output) as folder:
        folder.mkdir()
        export = ExportedFiles(config, folder, table, Extras(predictors, fresh_samples))
        properties = {name: export.property(name) for name in config.properties}
        copy_tokenizer(start_policy(config).source, export.new_folder(TEMPLATE))
        load_tokenizer(folder / TEMPLATE)  # a template that cannot be read is found here and not where it is used
        spec = RewardsSpec(
            properties,
            objective,
            config.missing_eos_penalty,
            policy_template=TEMPLATE,
            start_policy=export.start_policy(),
        )
        (folder / REWARDS).write_text(rewards_yaml(spec), encoding="utf-8")
        if table is not None and (known := known_rewards_of(config, table)) is not None:
            save_known(known, folder / KNOWN_REWARDS)
        manifest = export.manifest() | {"name": config.name, "step": step}
        (folder / MANIFEST).write_text(json.dumps(stamped(manifest), indent=2) + "\n", encoding="utf-8")
        read_rewards(folder)
    return output


def _objective(config: RunConfig) -> tuple[Objective, int | None]:
    """The objective as the run left it, and after which step; a Lagrangian has the multipliers of its last checkpoint.

    Raises:
        ConfigError: It has no utility of a response, or multipliers that no step has learned yet.
        CheckpointError: Every checkpoint is damaged.
    """
    objective = objective_of_responses(config)
    if not isinstance(objective, Lagrangian):
        return objective, None
    last = checkpoints.latest(RunFolder(config.folder).checkpoints, say)
    if last is None:
        raise ConfigError(
            f"objective.kind lagrangian learns its multipliers, and {config.folder} has no checkpoint with them; align "
            "it first"
        )
    return objective.at(last.state.multipliers), last.state.step


def _refuse_without_samples(config: RunConfig) -> None:
    if not any(samples_spec(setting.reference) for setting in config.properties.values()):
        raise ConfigError(
            "--start-policy is for references from samples, and no property of this run has one; leave it out"
        )


def _refuse_others(output: Path) -> None:
    """An export replaces an earlier one, and nothing else."""
    if output.exists() and not (output / REWARDS).is_file():
        raise ConfigError(f"{output} exists and is no folder of exported rewards; give another --output")


def export_report(folder: Path) -> Report:
    """What was exported, for the terminal."""
    manifest: Mapping[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    report: Report = {"files": len(manifest["files"])}
    for name, coverage in manifest["predictors"].items():
        shares = ", ".join(f"{row['share_below']:.2f} for {row['quantile']:g}" for row in coverage["quantiles"])
        report[f"predictor of {name}"] = f"share of held-out samples below the predicted quantile: {shares}"
    return report
