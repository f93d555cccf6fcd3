"""`allgood export-rewards`: the reward side of a run as a folder that can be moved, for `AllGoodScorer` anywhere.

It holds `rewards.yaml`, the reward models that lie in folders, the reference points of every prompt in the table, heads
that predict others, the policy's tokenizer (whose template tells what a prompt is), a few texts with their rewards, and
`manifest.json` with checksums and the keys of everything the numbers depend on. Models on the hub stay names, with the
commit of the run. Whoever reads it needs neither Ray nor this package.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from allgood.errors import ConfigError
from allgood.objectives import Lagrangian, Objective
from allgood.scorers.known_rewards import KNOWN_REWARDS, save_known
from allgood.scorers.models import load_tokenizer
from allgood.scorers.reference_files import References, save_head, save_references
from allgood.scorers.rewards_file import EXPORT, MANIFEST, REWARDS, read_rewards, rewards_yaml
from allgood.scorers.rewards_spec import PredictorSpec, PropertySpec, ReferenceSpec, RewardsSpec
from allgood.scorers.spec import ClassifierSpec, EnsembleSpec, FunctionSpec, HttpSpec, ModelSpec, ScorerSpec
from pipelines.alignment import checkpoints
from pipelines.answers.judged import objective_of_responses
from pipelines.cast.finished_models import refuse_unfit_models
from pipelines.cast.request import scorer_spec
from pipelines.config.properties import CustomTransform, FunctionProperty
from pipelines.config.run import RunConfig
from pipelines.data import load_prepared
from pipelines.export.known_rewards import known_rewards_of
from pipelines.export.predictors import fit_predictor, wanted_predictor
from pipelines.output.files import atomic_path, check_writable
from pipelines.output.hashes import copy_tokenizer, function_hash, sha256_of
from pipelines.output.progress import say
from pipelines.output.stamp import stamped
from pipelines.references.keys import table_keys, temperature
from pipelines.references.table import ReferenceTable
from pipelines.references.treatments import needs_moments, run_table
from pipelines.run.folder import RunFolder
from pipelines.run.start_policy import absolute_source, start_policy

TEMPLATE = "policy_tokenizer"
_ANY_DEVICE = "auto"  # whoever reads the folder may have a GPU where the run had none

Report = dict[str, Any]


def export_rewards(config: RunConfig, output: Path | None = None, *, predictors: bool = False) -> Path:
    """Write the folder (absent: `rewards` in the run folder) and return it; `predictors` adds heads that the run lacks.

    Raises:
        ConfigError: The objective has no utility of a response, a Lagrangian was not trained yet, or the output is
            a folder of something else.
        ModelError, ReferenceTableError, DataError: What is missing or belongs to another run.
    """
    output = config.folder / EXPORT if output is None else output
    _refuse_others(output)
    check_writable(output.parent)
    objective, step = _objective(config)
    refuse_unfit_models(config)
    table = run_table(config)
    with atomic_path(output) as folder:
        folder.mkdir()
        export = _Export(config, folder, table, predictors)
        properties = {name: export.property(name) for name in config.properties}
        copy_tokenizer(start_policy(config).source, export.new_folder(TEMPLATE))
        load_tokenizer(folder / TEMPLATE)  # a template that cannot be read is found here and not where it is used
        spec = RewardsSpec(properties, objective, config.missing_eos_penalty, policy_template=TEMPLATE)
        (folder / REWARDS).write_text(rewards_yaml(spec), encoding="utf-8")
        if table is not None and (known := known_rewards_of(config, table)) is not None:
            save_known(known, folder / KNOWN_REWARDS)
        manifest = export.manifest() | {"name": config.name, "step": step}
        (folder / MANIFEST).write_text(json.dumps(stamped(manifest), indent=2) + "\n", encoding="utf-8")
        read_rewards(folder)
    return output


class _Export:
    """What is written while properties are exported one after the other."""

    def __init__(self, config: RunConfig, folder: Path, table: ReferenceTable | None, for_all: bool) -> None:
        self._config = config
        self._folder = folder
        self._table = table
        self._predictor = partial(wanted_predictor, config, for_all=for_all)
        self._coverage: dict[str, Any] = {}

    def property(self, name: str) -> PropertySpec:
        """Write a property's files; its spec with paths relative to the folder."""
        setting = self._config.properties[name]
        transform = setting.transform
        moments = self._table.moments(name) if self._table is not None and needs_moments(setting) else None
        return PropertySpec(
            scorer=self._scorer(name),
            reference=self._reference(name),
            transform=transform.facts.name,
            options=transform.options,
            is_log_prob=isinstance(transform, CustomTransform) and transform.is_log_prob is True,
            temperature=temperature(self._config, name),
            moments=moments,
        )

    def new_folder(self, name: str) -> Path:
        """A folder of the export, made."""
        path = self._folder / name
        path.mkdir(parents=True)
        return path

    def manifest(self) -> dict[str, Any]:
        """Checksums of all files but `rewards.yaml`, which may be edited; and what the numbers depend on."""
        files = sorted(path for path in self._folder.rglob("*") if path.is_file() and path.name != REWARDS)
        return {
            "schema": 1,
            "keys": table_keys(self._config, list(self._config.properties)),
            "predictors": self._coverage,
            "functions": {name: function_hash(name) for name in _functions(self._config)},
            "files": {path.relative_to(self._folder).as_posix(): sha256_of(path) for path in files},
        }

    def _scorer(self, name: str) -> ScorerSpec:
        spec = scorer_spec(self._config, name)
        match spec:
            case FunctionSpec():
                return spec
            case HttpSpec():
                return self._served(spec, f"tokenizers/{_file_name(name)}")
            case EnsembleSpec():
                members = [
                    self._model(member, f"models/{_file_name(name)}.{number}")
                    for number, member in enumerate(spec.members)
                ]
                return replace(spec, members=tuple(members), device=_ANY_DEVICE)
            case ModelSpec() | ClassifierSpec():
                source = self._model(spec.source, f"models/{_file_name(name)}")
                return replace(spec, source=source, device=_ANY_DEVICE)

    def _served(self, spec: HttpSpec, target: str) -> HttpSpec:
        """The model stays at its server; a tokenizer in a folder, which writes texts for it, is copied."""
        if spec.tokenizer is None or not Path(spec.tokenizer).is_dir():
            return spec
        copy_tokenizer(spec.tokenizer, self.new_folder(target))
        return replace(spec, tokenizer=target)

    def _model(self, source: str, target: str) -> str:
        """A copy of a model's folder; a name on the hub stays one."""
        if not Path(source).is_dir():
            return source
        folder = self.new_folder(target)
        for path in Path(source).iterdir():
            if path.is_file():  # folders hold what no classifier reads, such as other formats
                shutil.copyfile(path, folder / path.name)
        return target

    def _reference(self, name: str) -> ReferenceSpec:
        reference = self._config.properties[name].reference
        if reference.fixed is not None:
            return ReferenceSpec(constant=reference.fixed)
        assert self._table is not None, "`run_table` refuses a run that needs one and has none"
        known = self._known(name, self._table)
        path = self._folder / "references" / f"{_file_name(name)}.safetensors"
        path.parent.mkdir(exist_ok=True)
        save_references(known, path)
        say(f"{name}: reference points of {len(known.values)} prompts")
        return ReferenceSpec(
            table=path.relative_to(self._folder).as_posix(),
            replies=reference.fixed_replies,
            predictor=self._fitted(name, self._table),
        )

    def _known(self, name: str, table: ReferenceTable) -> References:
        reference = self._config.properties[name].reference
        values = table.known_references(name, reference)
        if reference.num_draws is None:
            return References(values)
        draws = table.known_draws(name, reference.num_draws)
        means = {prompt: float(rewards.mean(dtype="float64")) for prompt, rewards in draws.items()}
        return References(means, draws)

    def _fitted(self, name: str, table: ReferenceTable) -> PredictorSpec | None:
        wanted = self._predictor(name)
        if wanted is None:
            return None
        prompts = load_prepared(RunFolder(self._config.base_folder).data).prompts
        fitted = fit_predictor(self._config, name, wanted, table, prompts)
        self._coverage[name] = fitted.coverage
        path = self._folder / "predictors" / f"{_file_name(name)}.safetensors"
        path.parent.mkdir(exist_ok=True)
        save_head(fitted.head, path)
        encoder = wanted.encoder
        if encoder is not None:
            encoder = self._model(absolute_source(encoder), f"encoders/{_file_name(name)}")
        return PredictorSpec(path.relative_to(self._folder).as_posix(), wanted.quantile, encoder)


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


def _functions(config: RunConfig) -> list[str]:
    """Python functions that scorers and transforms are."""
    settings = config.properties.values()
    scorers = [setting.function for setting in settings if isinstance(setting, FunctionProperty)]
    transforms = [setting.transform for setting in settings if isinstance(setting.transform, CustomTransform)]
    return [*scorers, *(transform.function for transform in transforms)]


def _file_name(name: str) -> str:
    """A property's name as that of a file."""
    return quote(name, safe="")


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
