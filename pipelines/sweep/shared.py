"""What all trials of a sweep share, made before the first trial starts: data, models, references, frozen actors.

The base run's folder is used as it is; what it lacks is made first, with the stages of the chain. The reference table
is built once for everything that any trial needs (`table.py`). The frozen actors live as long as the sweep's process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actors.cluster.cast import CastRequest, spawn
from actors.cluster.guard import Guard, guarded
from actors.cluster.named_actors import attach, names_of
from actors.cluster.supervision import ActorNames
from allgood.errors import ConfigError, RoleError
from pipelines.cast.actors import Actors, SharedActors
from pipelines.cast.request import EVALUATOR, evaluator_parts, reference_policy_part, reward_parts, rollout_part
from pipelines.comparison.arms import sample_policy
from pipelines.config.loading import load_config, save_config
from pipelines.config.run import RunConfig
from pipelines.data import Prompt, prepare
from pipelines.evaluation.measure import PolicySamples
from pipelines.evaluation.samples import ScoredSamples, key_of, save_samples, sft_key
from pipelines.output.progress import say
from pipelines.references.build import build_references
from pipelines.references.judge_keys import GOLD, judge_keys
from pipelines.run.folder import RunFolder
from pipelines.run.locks import making_base, reading_base
from pipelines.sweep.judge import scored
from pipelines.sweep.plan import trial_folders
from pipelines.sweep.references import lacking, with_all_references
from pipelines.sweep.score import Source
from pipelines.training.parallel import train_rewards
from pipelines.training.reward_model import trained_properties
from pipelines.training.sft import train_sft
from pipelines.world.write import write_world

_MODELS = ("world", "data", "tokenizer", "policy", "sft")  # sections that decide what the base folder holds
_OF_PROPERTY = ("kind", "model", "train")  # the same of a property; `evaluator` too where both runs train one


@dataclass(frozen=True)
class Shared:
    """The frozen actors of a sweep: handles for its own process, names for its trials, and who looks after them."""

    actors: Actors
    names: ActorNames
    guard: Guard


def make_base(config: RunConfig, source: Source) -> None:
    """Make whatever the base folder lacks up to the reward models.

    Raises:
        ConfigError: The folder belongs to a run with another seed, other data or other models, or others make it or
            read from it.
    """
    folder = RunFolder(config.base_folder)
    _refuse_another_base(config, folder)
    is_whole = not any(_lacking(config, folder, source))
    with (reading_base if is_whole else making_base)(folder.path, "sweep"):
        _complete(config, folder, source)


def _lacking(config: RunConfig, folder: RunFolder, source: Source) -> Iterator[str]:
    """Of all that a base holds before its references, what is missing."""
    if config.world is not None and not folder.world.is_dir():
        yield "world"
    if not folder.data.is_dir():
        yield "data"
    if config.base is None and not folder.config.is_file():
        yield "config"
    if config.sft is not None and not (folder.sft / "best").is_dir():
        yield "sft"
    if any(not (folder.reward(name) / "best").is_dir() for name in trained_properties(config)):
        yield "reward"
    held_out = trained_properties(config, held_out=True) if source == "evaluator" else []
    if any(not (folder.evaluator(name) / "best").is_dir() for name in held_out):
        yield "held_out"


def _complete(config: RunConfig, folder: RunFolder, source: Source) -> None:
    lacking = set(_lacking(config, folder, source))
    if "world" in lacking:
        say(f"{folder.path} has no world yet: writing it")
        write_world(config)
    prepare(config)
    if "config" in lacking:
        save_config(config, folder.config)
    if "sft" in lacking:
        say(f"{folder.path} has no SFT policy yet: training it")
        train_sft(config)
    if "reward" in lacking:
        say(f"{folder.path} lacks reward models: training them")
        train_rewards(config)
    if "held_out" in lacking:
        say(f"{folder.path} lacks held-out preference models: training them")
        train_rewards(config, held_out=True)


def _refuse_another_base(config: RunConfig, folder: RunFolder) -> None:
    if not folder.config.is_file():
        return
    key = next(differing(load_config(folder.config), config), None)
    if key is not None:
        raise ConfigError(
            f"{folder.path} was made with another `{key}`; give the sweep a base of its own, such as "
            "name=another_name, or use the run file that made this one"
        )


def differing(made: RunConfig, wanted: RunConfig) -> Iterator[str]:
    """Keys of what the base folder was made with that differ in `wanted`; what trials may vary is not among them."""
    ours = made.model_dump(mode="json")
    theirs = _without_later_revisions(ours, wanted.model_dump(mode="json"))
    # A run that names its `base` takes the split that lies there, whatever its seed.
    names = _MODELS if wanted.base is not None else ("seed", *_MODELS)
    yield from (name for name in names if ours[name] != theirs[name])
    both_train = set(trained_properties(made, held_out=True)) & set(trained_properties(wanted, held_out=True))
    for name, new in theirs["properties"].items():
        old = ours["properties"].get(name)
        if old is None:
            continue
        keys = (*_OF_PROPERTY, "evaluator") if name in both_train else _OF_PROPERTY
        yield from (f"properties.{name}.{key}" for key in keys if old.get(key) != new.get(key))


def _without_later_revisions(made: Any, wanted: Any) -> Any:
    """`wanted` without the commits of names that were not fixed to one when the base was made."""
    if not isinstance(made, dict) or not isinstance(wanted, dict):
        return wanted
    return {
        name: None if name == "revision" and made.get(name) is None else _without_later_revisions(made.get(name), value)
        for name, value in wanted.items()
    }


@contextmanager
def frozen_actors(config: RunConfig, source: Source, *, name: str) -> Iterator[Shared]:
    """Reward and reference-policy actors for all trials, and the held-out models where they judge."""
    request = CastRequest(
        rewards=reward_parts(config) | (evaluator_parts(config) if source == "evaluator" else {}),
        reference_policy=reference_policy_part(config),
        timeout_s=config.placement.timeout_s,
        wait_for_nodes_s=config.placement.wait_for_nodes_s,
    )
    with spawn(request, name=name, tell=say) as cast, guarded(cast) as guard:
        say(cast.where())
        yield Shared(cast, names_of(cast, name), guard)


def forget_trial(names: ActorNames, folder: Path) -> None:
    """Have the frozen actors drop what they keep for a trial, or their memory would grow with every one; nobody waits.

    An actor that cannot be found has nothing left to drop.
    """
    with suppress(RoleError):
        actors = attach(names)
        for name in actors.scorers:
            for actor in actors.handles(f"reward.{name}"):
                actor.forget.remote(str(folder))  # the trial's key: the folder of its run


@contextmanager
def _sampling(config: RunConfig, shared: Shared) -> Iterator[Actors]:
    """The frozen actors with rollout actors that hold the start policy, for as long as the block runs."""
    request = CastRequest(rollout=rollout_part(config), timeout_s=config.placement.timeout_s)
    with spawn(request, tell=say) as rollouts:
        yield SharedActors(own=rollouts, shared=shared.actors)


def make_samples(
    config: RunConfig,
    trials: Sequence[RunConfig],
    prompts: Sequence[Prompt],
    shared: Shared,
    *,
    source: Source,
    sft_samples: Path,
) -> None:
    """The reference table with the cached samples, and the start policy's samples on the test prompts `prompts`.

    A table that serves every trial stays; so do the pi_0 samples, which every test win rate compares with.

    Raises:
        ConfigError: The validation prompts are not among those that get samples, or the pi_0 samples that are there are
            of another start policy or judge.
    """
    if "validation" not in config.references.splits:
        raise ConfigError("a sweep measures on validation prompts: add validation to references.splits")
    judges = judges_of(config, source)
    key = sft_key(config, prompts, judges)
    if not trial_folders(sft_samples.parent):
        sft_samples.unlink(missing_ok=True)  # of a sweep that was refused or ended before its first trial
    if sft_samples.is_file() and key_of(sft_samples) != key:
        raise ConfigError(
            f"{sft_samples}, with which finished trials were compared, is of another start policy or was judged "
            "otherwise: a model, the gold function or the settings of sampling have changed since; choose another "
            "`name`"
        )
    why = lacking(config, trials, judges)
    if why is None and sft_samples.is_file():
        return
    with _sampling(config, shared) as cast:
        if why is not None:
            say(f"building the references of all trials ({why})")
            with making_base(config.base_folder, "sweep"):
                build_references(with_all_references(config, trials), cast)
        if not sft_samples.is_file():
            policy = sample_policy(config, cast, prompts, policy_version=0, is_reference=True)
            save_samples(judged_samples(config, source, cast, prompts, policy), sft_samples, key=key)


def judges_of(config: RunConfig, source: Source) -> dict[str, Any]:
    """Keys of the judges whose scores the sweep uses; others may come and go alongside it."""
    return {name: key for name, key in judge_keys(config).items() if (name == GOLD) == (source == "gold")}


def judged_samples(
    config: RunConfig, source: Source, cast: Actors, prompts: Sequence[Prompt], policy: PolicySamples
) -> ScoredSamples:
    """Samples on test prompts with the scores of whoever judges, else with raw rewards; gold is in them already."""
    asked = [prompt.text for prompt, row in zip(prompts, policy.responses, strict=True) for _ in row]
    responses = [response for row in policy.responses for response in row]
    scores = asyncio.run(scored(config, source, cast, asked, responses)) if source != "gold" else {}
    prefix = EVALUATOR if source == "evaluator" else ""
    grids = {f"{prefix}{name}": np.reshape(values, policy.kl.shape) for name, values in scores.items()}
    return ScoredSamples(tuple(prompt.text for prompt in prompts), policy, grids)
