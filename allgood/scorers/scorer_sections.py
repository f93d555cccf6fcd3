"""Who scores a property, as keys of a section of `rewards.yaml`, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, cast, get_args

from allgood.errors import ConfigError
from allgood.scorers.combination import Combination, LowerBound, Mean, Median, Min
from allgood.scorers.sections import Section
from allgood.scorers.spec import (
    ClassifierSpec,
    Dialect,
    EnsembleSpec,
    FunctionSpec,
    HttpSpec,
    ModelSpec,
    Reading,
    ScorerSpec,
    Server,
    Templating,
)

_COMBINATIONS = {"mean": Mean, "median": Median, "min": Min}


def scorer_of(section: Section, locate: Callable[[str], str]) -> ScorerSpec:
    """The scorer that the section's keys describe; `locate` says where a model lies.

    Raises:
        ConfigError: A key is missing or wrong.
    """
    kind = section.one_of("kind", ("model", "classifier", "ensemble", "function", "http"), "model")
    if kind == "function":
        return FunctionSpec(section.text("function"))
    if kind == "http":
        return _served(section, locate)
    reading: dict[str, Any] = {
        "max_tokens": section.whole("max_tokens", Reading.max_tokens, at_least=8),
        "micro_batch_tokens": section.whole("micro_batch_tokens", Reading.micro_batch_tokens, at_least=1),
        "device": section.text("device", Reading.device),
    }
    if kind == "ensemble":
        members = tuple(locate(member) for member in section.texts("members"))
        return EnsembleSpec(members, _combination(section.section("combine")), **reading)
    source = locate(section.text("model"))
    if kind == "classifier":
        return ClassifierSpec(source, section.whole("label", ClassifierSpec.label, at_least=0), **reading)
    return ModelSpec(source, **reading)


def scorer_keys(spec: ScorerSpec) -> dict[str, Any]:
    """The keys from which `scorer_of` makes an equal spec."""
    raw: dict[str, Any] = {"kind": spec.kind}
    if isinstance(spec, FunctionSpec):
        return raw | {"function": spec.source}
    if isinstance(spec, HttpSpec):
        keys = {key: value for key, value in asdict(spec).items() if value is not None and key != "source"}
        server = {key: value for key, value in keys.pop("server").items() if value is not None}
        return raw | {"model": spec.source, **keys, "server": server}
    match spec:
        case EnsembleSpec():
            raw |= {"members": list(spec.members), "combine": asdict(spec.combination)}
        case ClassifierSpec():
            raw |= {"model": spec.source, "label": spec.label}
        case ModelSpec():
            raw |= {"model": spec.source}
    return raw | {"max_tokens": spec.max_tokens, "micro_batch_tokens": spec.micro_batch_tokens, "device": spec.device}


def _served(section: Section, locate: Callable[[str], str]) -> HttpSpec:
    server = section.section("server")
    tokenizer = section.optional_text("tokenizer")
    dialect = cast(Dialect, section.one_of("dialect", get_args(Dialect)))
    template = cast(Templating, section.one_of("template", get_args(Templating), HttpSpec.template))
    try:
        spec = HttpSpec(
            section.text("model"),
            Server(
                server.text("url"),
                server.optional_text("token_env"),
                server.number("deadline_s", Server.deadline_s),
                server.whole("batch_size", Server.batch_size, at_least=1),
                server.whole("connections", Server.connections, at_least=1),
            ),
            dialect,
            template=template,
            revision=section.optional_text("revision"),
            tokenizer=None if tokenizer is None else locate(tokenizer),
            served_property=section.optional_text("served_property"),
        )
    except ValueError as error:
        raise ConfigError(f"{section.where}: {error}") from error
    server.end()
    if not spec.server.deadline_s > 0:
        raise server.wrong("deadline_s", "above 0")
    return spec


def _combination(section: Section) -> Combination:
    kind = section.one_of("kind", (*_COMBINATIONS, "lower_bound"), "mean")
    combination: Combination = (
        LowerBound(section.number("penalty", LowerBound.penalty)) if kind == "lower_bound" else _COMBINATIONS[kind]()
    )
    section.end()
    return combination
