"""The files of an export: models, reference points, heads, pi_0, and a manifest with checksums of all of them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from allgood.scorers.reference_files import References, save_head, save_references
from allgood.scorers.rewards_file import REWARDS
from allgood.scorers.rewards_spec import PredictorSpec, PropertySpec, ReferenceSpec, StartPolicySpec
from allgood.scorers.spec import ClassifierSpec, EnsembleSpec, FunctionSpec, HttpSpec, ModelSpec, ScorerSpec
from pipelines.cast.request import scorer_spec
from pipelines.config.properties import CustomTransform, FunctionProperty
from pipelines.config.run import RunConfig
from pipelines.data import load_prepared
from pipelines.export.predictors import fit_predictor, wanted_predictor
from pipelines.export.samples import samples_spec, start_policy_spec
from pipelines.output.hashes import copy_tokenizer, function_hash, sha256_of
from pipelines.output.progress import say
from pipelines.references.keys import table_keys, temperature
from pipelines.references.table import ReferenceTable
from pipelines.references.treatments import needs_moments
from pipelines.run.folder import RunFolder
from pipelines.run.start_policy import absolute_source

START_POLICY = "start_policy"
_ANY_DEVICE = "auto"  # whoever reads the folder may have a GPU where the run had none


@dataclass(frozen=True)
class Extras:
    """What an export holds only where it is asked for."""

    predictors: bool
    fresh_samples: bool


class ExportedFiles:
    """What is written while properties are exported one after the other."""

    def __init__(self, config: RunConfig, folder: Path, table: ReferenceTable | None, extras: Extras) -> None:
        self._config = config
        self._folder = folder
        self._table = table
        self._extras = extras
        self._predictor = partial(wanted_predictor, config, for_all=extras.predictors)
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

    def start_policy(self) -> StartPolicySpec | None:
        """pi_0, written where it is asked for."""
        if not self._extras.fresh_samples:
            return None
        policy = start_policy_spec(self._config)
        return replace(policy, source=self._model(policy.source, START_POLICY), device=_ANY_DEVICE)

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
            samples=samples_spec(reference) if self._extras.fresh_samples else None,
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


def _functions(config: RunConfig) -> list[str]:
    """Python functions that scorers and transforms are."""
    settings = config.properties.values()
    scorers = [setting.function for setting in settings if isinstance(setting, FunctionProperty)]
    transforms = [setting.transform for setting in settings if isinstance(setting.transform, CustomTransform)]
    return [*scorers, *(transform.function for transform in transforms)]


def _file_name(name: str) -> str:
    """A property's name as that of a file."""
    return quote(name, safe="")
