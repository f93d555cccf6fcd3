"""Gold: the true quality of a response where it is known, from the embedded world or from the user's own function."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allgood.errors import ConfigError
from pipelines.config.open_world import OpenWorldConfig, World
from pipelines.config.run import RunConfig

GoldScores = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Gold:
    """Gold scores per property, and the bar from which each counts as good."""

    score: Callable[[Sequence[str], Sequence[str]], GoldScores]
    bars: Mapping[str, float]

    def all_good(self, scores: GoldScores) -> NDArray[np.bool_]:
        """Whether each response is over every bar, [rows]."""
        return over_every_bar(scores, self.bars)


def over_every_bar(scores: GoldScores, bars: Mapping[str, float]) -> NDArray[np.bool_]:
    """Whether a response is good in every property, in the shape of the scores."""
    good: NDArray[np.bool_] = np.all([scores[name] >= bar for name, bar in bars.items()], axis=0)
    return good


def gold_of(config: RunConfig) -> Gold | None:
    """The gold of a run, or None where there is none.

    Raises:
        ConfigError: `evaluate.gold` names no function.
    """
    if config.evaluate.gold is not None:
        return Gold(_checked(config.evaluate.gold, config.evaluate.bars), config.evaluate.bars)
    if config.world is None:
        return None
    return Gold(_of_world(config.world), config.world.bars)


def _of_world(world: World) -> Callable[[Sequence[str], Sequence[str]], GoldScores]:
    if isinstance(world, OpenWorldConfig):
        from pipelines.world.open_world import gold as open_gold  # only runs on a world pay for it

        return lambda prompts, responses: open_gold.score(prompts, responses, world)
    from pipelines.world import gold

    return lambda prompts, responses: gold.score(prompts, responses, world_seed=world.seed)


def try_gold(config: RunConfig, prompt: str) -> None:
    """Ask gold about two responses, an empty one too, before hours of sampling depend on it.

    Raises:
        ConfigError: It is no function, or does not know them.
    """
    gold = gold_of(config)
    if gold is not None:
        gold.score([prompt, prompt], ["", "yes."])


def _checked(name: str, bars: Mapping[str, float]) -> Callable[[Sequence[str], Sequence[str]], GoldScores]:
    """The user's function, with its answer as arrays; ConfigError unless each response has a finite number."""
    function = _load(name)

    def score(prompts: Sequence[str], responses: Sequence[str]) -> GoldScores:
        try:
            answer = function(prompts, responses)
        except Exception as error:
            raise ConfigError(
                f"evaluate.gold: {name} failed on {len(responses)} responses: {type(error).__name__}: {error}"
            ) from error
        scores = {key: np.asarray(values, dtype=np.float64) for key, values in answer.items()}
        without_bar = [key for key in scores if key not in bars]
        if without_bar:
            raise ConfigError(
                f"evaluate.gold: {name} returned {', '.join(map(repr, without_bar))} too, for which evaluate.bars says "
                "from where it is good; give a bar, or leave it out of what the function returns"
            )
        for key in bars:
            if key not in scores or scores[key].shape != (len(responses),):
                raise ConfigError(f"evaluate.gold: {name} must return one {key!r} score per response")
            unknown = int((~np.isfinite(scores[key])).sum())
            if unknown:
                raise ConfigError(
                    f"evaluate.gold: {name} returned {unknown} {key!r} scores of {len(responses)} that are no finite "
                    "numbers; gold is the truth, and must know every response, an empty one too"
                )
        return scores

    return score


def _load(name: str) -> Callable[[Sequence[str], Sequence[str]], GoldScores]:
    module, _, function = name.partition(":")
    try:
        found: Callable[[Sequence[str], Sequence[str]], GoldScores] = vars(importlib.import_module(module))[function]
    except (ImportError, KeyError) as error:
        raise ConfigError(f"evaluate.gold: there is no function {name!r} ({error}); give 'module:function'") from error
    return found
