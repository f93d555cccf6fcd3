"""The sections `reference` of a property and `start_policy` of a `rewards.yaml`: read to values, and written back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast, get_args

from allgood.errors import ConfigError
from allgood.scorers.rewards_spec import Estimator, PredictorSpec, ReferenceSpec, SamplesSpec, StartPolicySpec
from allgood.scorers.sections import Section


def reference_of(section: Section, folder: Path) -> ReferenceSpec:
    """The section `reference`; paths in it start at `folder`.

    Raises:
        ConfigError: A key or value is wrong.
    """
    kind = section.one_of("kind", ("none", "constant", "table", "canned", "samples"))
    if kind in ("none", "constant"):
        reference = ReferenceSpec(constant=section.number("value") if kind == "constant" else 0.0)
    else:
        file = section.text("file") if kind == "table" else section.optional_text("file")
        reference = ReferenceSpec(
            table=None if file is None else str((folder / file).absolute()),
            replies=section.texts("replies") if kind == "canned" else (),
            predictor=_predictor(section.section("predictor"), folder) if section.has("predictor") else None,
            samples=_samples(section) if kind == "samples" else None,
            fallback=section.optional_number("fallback"),
        )
    section.end()
    return reference


def reference_keys(reference: ReferenceSpec) -> dict[str, Any]:
    """What `reference_of` reads back to an equal value."""
    if reference.constant is not None:
        return {"kind": "constant", "value": reference.constant} if reference.constant else {"kind": "none"}
    raw: dict[str, Any] = {"kind": "table"}
    if reference.replies:
        raw = {"kind": "canned", "replies": list(reference.replies)}
    if reference.samples is not None:
        raw = {"kind": "samples", **given(asdict(reference.samples))}
    predictor = None if reference.predictor is None else given(asdict(reference.predictor))
    return raw | given({"file": reference.table, "predictor": predictor, "fallback": reference.fallback})


def start_policy_of(section: Section, folder: Path) -> StartPolicySpec:
    """The section `start_policy`; a folder in it starts at `folder`.

    Raises:
        ConfigError: A key or value is wrong.
    """
    defaults = StartPolicySpec("")
    policy = StartPolicySpec(
        source=located(section.text("model"), folder),
        num_samples=section.whole("num_samples", defaults.num_samples, at_least=2),
        seed=section.whole("seed", defaults.seed, at_least=0),
        max_new_tokens=section.whole("max_new_tokens", defaults.max_new_tokens, at_least=1),
        max_prompt_tokens=section.whole("max_prompt_tokens", defaults.max_prompt_tokens, at_least=1),
        stop=section.texts("stop", ()) if section.has("stop") else None,
        device=section.text("device", defaults.device),
        dtype=section.one_of("dtype", ("auto", "float32", "bfloat16"), defaults.dtype),
    )
    section.end()
    return policy


def start_policy_keys(policy: StartPolicySpec) -> dict[str, Any]:
    """What `start_policy_of` reads back to an equal value."""
    raw = asdict(policy)
    return given({"model": raw.pop("source"), **raw, "stop": None if policy.stop is None else list(policy.stop)})


def located(source: str, folder: Path) -> str:
    """A folder alongside the file as an absolute path; an absolute path or a name on the hub as it is."""
    place = folder / source
    return str(place.absolute()) if place.exists() else source


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that have a value."""
    return {key: value for key, value in values.items() if value is not None}


def _samples(section: Section) -> SamplesSpec:
    estimator = cast(Estimator, section.one_of("estimator", get_args(Estimator)))
    num = section.whole("num", at_least=1) if section.has("num") else None
    try:
        return SamplesSpec(estimator, section.optional_number("quantile"), num)
    except ValueError as error:
        raise ConfigError(f"{section.where}: {error}") from error


def _predictor(section: Section, folder: Path) -> PredictorSpec:
    quantile, encoder = section.number("quantile"), section.optional_text("encoder")
    if not 0 < quantile < 1:
        raise section.wrong("quantile", "between 0 and 1")
    file = str((folder / section.text("file")).absolute())
    section.end()
    return PredictorSpec(file, quantile, None if encoder is None else located(encoder, folder))
