"""The search space as values: axes, points, and each point as a checked run configuration.

An axis is a dotted key of the run file, or `arm`, whose choices set several keys at once. A *choice* says, per axis,
which value (its position) or, on a range, which number; it is what Ray Tune and Optuna see. A *point* is a choice with
its words and its changes of the run file. The same point always has the same name, and so the same folder.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import random
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from allgood.errors import ConfigError
from pipelines.config.earlier import first_names
from pipelines.config.loading import changed_config
from pipelines.config.run import RunConfig
from pipelines.config.sweep import Axis, GridSearch, LogUniformAxis, RandomSearch, SweepConfig, ValuesAxis
from pipelines.config.sweep_loading import override_text

Choice = Mapping[str, int | float]

ARM, SEED, GAMMA = "arm", "seed", "kl.coefficient"
_SEARCHABLE = re.compile(
    r"seed|(kl|align|objective)(\..+)?|missing_eos_penalty|properties\.[^.]+\.(reference|transform)(\..+)?"
)
_MAX_CORNERS = 512
_MAX_NAME = 60


@dataclass(frozen=True)
class Point:
    """One setting with its seed. `labels` are words per axis; `changes` are dotted keys of the run file."""

    choice: dict[str, int | float]
    labels: dict[str, str]
    changes: dict[str, Any]

    @property
    def name(self) -> str:
        """Of its run folder: readable, and different for every point."""
        words = "_".join(f"s{label}" if axis == SEED else label for axis, label in self.labels.items())
        words = re.sub(r"(?<=\de)\+(?=\d)", "", words)  # 1e+30 must not read 1e-30
        digest = hashlib.sha256(json.dumps(first_names(self.changes), sort_keys=True).encode()).hexdigest()[:6]
        return f"{re.sub(r'[^A-Za-z0-9._]+', '-', words).strip('-._')[:_MAX_NAME] or 'trial'}-{digest}"

    @property
    def setting(self) -> str:
        """The point without its seed, in words: what is averaged over seeds."""
        return in_words({axis: label for axis, label in self.labels.items() if axis != SEED})


@dataclass(frozen=True)
class Space:
    """Every axis with its choices. `arms` and value lists are label -> changes; the rest are ranges."""

    values: Mapping[str, Mapping[str, Mapping[str, Any]]]  # axis -> label -> changes
    ranges: Mapping[str, Axis]
    order: tuple[str, ...]  # axes as they stand in the file
    keys: Mapping[str, tuple[str, ...]]  # range axis -> the keys that it sets

    @property
    def num_seeds(self) -> int:
        """How many trials a setting has."""
        return len(self.values[SEED]) if SEED in self.values else 1

    def point(self, choice: Choice) -> Point:
        """The point of a choice."""
        labels: dict[str, str] = {}
        changes: dict[str, Any] = {}
        for axis in self.order:
            if axis in self.ranges:
                number = self._rounded(axis, float(choice[axis]))
                labels[axis] = f"{number:.4g}"
                changes |= dict.fromkeys(self.keys[axis], number)
            else:
                label, change = list(self.values[axis].items())[int(choice[axis])]
                labels[axis] = label
                changes |= change
        return Point({axis: choice[axis] for axis in self.order}, labels, changes)

    def _rounded(self, axis: str, number: float) -> float:
        """To what the label shows, within the range: settings that read the same are the same."""
        found = self.ranges[axis]
        assert not isinstance(found, ValuesAxis)
        return min(max(float(f"{number:.4g}"), found.low), found.high)

    def grid(self) -> Iterator[Choice]:
        """Every combination of the values."""
        sizes = [range(len(self.values[axis])) for axis in self.order]
        return (dict(zip(self.order, chosen, strict=True)) for chosen in itertools.product(*sizes))

    def draws(self, trials: int, seed: int) -> Iterator[Choice]:
        """Independent settings, each with every seed."""
        generator = random.Random(seed)
        repeats = range(len(self.values[SEED])) if SEED in self.values else [None]
        for _ in range(trials):
            drawn = {axis: self._draw(axis, generator) for axis in self.order if axis != SEED}
            for repeat in repeats:
                yield drawn if repeat is None else {**drawn, SEED: repeat}

    def corners(self) -> Iterator[Choice]:
        """Every value, and of every range its ends and a number between: all combinations, or one axis at a time."""
        probes: dict[str, list[int | float]] = {axis: self._probes(axis) for axis in self.order}
        if math.prod(map(len, probes.values())) <= _MAX_CORNERS:
            yield from (dict(zip(probes, chosen, strict=True)) for chosen in itertools.product(*probes.values()))
            return
        first = {axis: values[0] for axis, values in probes.items()}
        for axis, values in probes.items():
            yield from ({**first, axis: value} for value in values)

    def _probes(self, axis: str) -> list[int | float]:
        if axis in self.ranges:
            found = self.ranges[axis]
            assert not isinstance(found, ValuesAxis)
            between = found.low + (found.high - found.low) / math.e  # no whole number: a key that wants one refuses it
            return [found.low, between, found.high]
        return list(range(len(self.values[axis])))

    def _draw(self, axis: str, generator: random.Random) -> int | float:
        if axis not in self.ranges:
            return generator.randrange(len(self.values[axis]))
        found = self.ranges[axis]
        assert not isinstance(found, ValuesAxis)
        share = generator.random()
        if isinstance(found, LogUniformAxis):
            return float(found.low * (found.high / found.low) ** share)
        return found.low + (found.high - found.low) * share


def space_of(sweep: SweepConfig, run: RunConfig) -> Space:
    """The axes of a sweep over `run`.

    Raises:
        ConfigError: A key belongs to what all trials share, two axes set the same key, or two values of an axis look
            the same.
    """
    values: dict[str, dict[str, dict[str, Any]]] = {}
    keys: dict[str, tuple[str, ...]] = {}
    if sweep.arms:
        values[ARM] = {
            name: {key: value for pattern, value in changes.items() for key in _expanded(pattern, run)}
            for name, changes in sweep.arms.items()
        }
    for pattern, axis in sweep.space.items():
        expanded = _expanded(pattern, run)
        if isinstance(axis, ValuesAxis):
            values[pattern] = {
                label: dict.fromkeys(expanded, value) for label, value in _labelled(pattern, axis).items()
            }
        else:
            keys[pattern] = expanded
    set_by = {axis: tuple({key for changes in choices.values() for key in changes}) for axis, choices in values.items()}
    _refuse_overlap(set_by | keys)
    order = ((ARM,) if sweep.arms else ()) + tuple(sweep.space)
    return Space(values, {key: sweep.space[key] for key in keys}, order, keys)


def _refuse_overlap(keys: Mapping[str, Collection[str]]) -> None:
    """ConfigError where one axis would overwrite another: its trials would not be what their names say."""
    for (one, mine), (other, theirs) in itertools.combinations(keys.items(), 2):
        for first, second in itertools.product(mine, theirs):
            if f"{first}.".startswith(f"{second}.") or f"{second}.".startswith(f"{first}."):
                raise ConfigError(
                    f"`{one}` and `{other}` both set `{max(first, second, key=len)}`; leave one out, or list the "
                    "combinations as `arms`"
                )


def planned(space: Space, sweep: SweepConfig) -> list[Point] | None:
    """All points of a grid or of random draws; None where Optuna chooses as it goes.

    Raises:
        ConfigError: Two points are the same run.
    """
    if isinstance(sweep.search, GridSearch):
        points = [space.point(choice) for choice in space.grid()]
    elif isinstance(sweep.search, RandomSearch):
        points = [space.point(choice) for choice in space.draws(sweep.search.trials, sweep.search.seed)]
        points = list({point.name: point for point in points}.values())  # a draw may come twice
    else:
        return None
    known: dict[str, Point] = {}
    for point in points:
        other = known.setdefault(json.dumps(point.changes, sort_keys=True), point)
        if other is not point:
            raise ConfigError(f"two points of the space are the same run: {other.labels} and {point.labels}")
    return points


def point_config(point: Point, run: RunConfig, *, source: str) -> RunConfig:
    """The run file's configuration with the changes of a point; name and folders are still the base run's.

    Raises:
        ConfigError: Names the point and what is wrong with it; an unknown key with the nearest known one.
    """
    try:
        return changed_config(run, [override_text(key, value) for key, value in point.changes.items()])
    except ConfigError as error:
        raise ConfigError(f"{source}: at {point.labels}: {error}") from error


def in_words(labels: Mapping[str, str]) -> str:
    """Labels per axis as one phrase: `reference mean, gamma 0.1`. Arms speak for themselves."""
    keys = short_keys(labels)
    return ", ".join(label if axis == ARM else f"{keys[axis]} {label}" for axis, label in labels.items())


def short_keys(axes: Collection[str]) -> dict[str, str]:
    """The last words of each key, or all of them where two would read the same: a property's name tells them apart."""
    short = {axis: _last_words(axis, 2) for axis in axes}
    times = Counter(short.values())
    return {axis: words if times[words] == 1 else _last_words(axis, None) for axis, words in short.items()}


def _last_words(axis: str, number: int | None) -> str:
    parts = [part for part in axis.split(".") if part not in ("properties", "*")]
    return "gamma" if axis == GAMMA else " ".join(parts[-number:] if number else parts)


def _expanded(pattern: str, run: RunConfig) -> tuple[str, ...]:
    """The keys behind a key with `*`, one per property. ConfigError: it is nothing that a trial has for itself."""
    keys = (
        tuple(pattern.replace("properties.*", f"properties.{name}", 1) for name in run.properties)
        if pattern.startswith("properties.*")
        else (pattern,)
    )
    for key in keys:
        if not _SEARCHABLE.fullmatch(key):
            _refuse(key, run)
    return keys


def _refuse(key: str, run: RunConfig) -> None:
    from pipelines.config import explain, schema

    known = set(schema.dotted_keys())
    plain = re.sub(r"^properties\.[^.]+", "properties.*", key)
    if plain in known and key.split(".")[0] in RunConfig.model_fields:
        raise ConfigError(
            f"`{key}` cannot be searched: all trials share data, models, sampling and placement. Put it under "
            "`overrides` for all of them; a trial may differ in seed, kl, align, objective and "
            "missing_eos_penalty, and in the reference and transform of a property"
        )
    if key.rsplit(".", 1)[-1] == "gamma":
        raise ConfigError(f"`{key}` in the search space: gamma, the KL coefficient, is `{GAMMA}`")
    section = ".".join(key.split(".")[:-1])
    nearest = explain.nearest_key(key, [], section=section)
    raise ConfigError(f"unknown key `{key}` in the search space" + (f"; did you mean `{nearest}`?" if nearest else ""))


def _labelled(key: str, axis: ValuesAxis) -> dict[str, Any]:
    if isinstance(axis.values, dict):
        return dict(axis.values)
    labels: dict[str, Any] = {}
    for value in axis.values:
        label = _label(value)
        if label in labels:
            raise ConfigError(f"space.{key}: two values read {label!r}; name them, as `values: {{name: value}}`")
        labels[label] = value
    return labels


def _label(value: Any) -> str:
    if isinstance(value, Mapping):
        shown = [_label(entry) for entry in value.values() if isinstance(entry, str | int | float)]
        return " ".join(shown)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
