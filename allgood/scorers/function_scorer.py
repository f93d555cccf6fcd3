"""A Python function as a scorer: rules, or the rewards of other people's code."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence

import numpy as np

from allgood.errors import ConfigError, ScoringError
from allgood.scorers.scorer import Scored, nan_if_infinite

RewardFunction = Callable[[Sequence[str], Sequence[str]], Sequence[float]]
"""(prompts, responses) -> one number per response."""


class FunctionScorer:
    """A Python function as a scorer. It may return NaN for a response that it cannot judge."""

    def __init__(self, function: RewardFunction, *, name: str) -> None:
        self._function = function
        self._name = name

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """See `scorer.Scorer.score`.

        Raises:
            ScoringError: The function raised, or did not return one number per response.
        """
        try:
            rewards = np.asarray(self._function(list(prompts), list(responses)), dtype=np.float32)
        except Exception as error:  # whatever a user's function raises becomes one sentence with its name
            raise ScoringError(
                f"reward function {self._name!r} failed on {len(responses)} responses: {error!r}"
            ) from error
        if rewards.shape != (len(responses),):
            raise ScoringError(
                f"reward function {self._name!r} returned shape {rewards.shape} for {len(responses)} responses; "
                "it must return one number per response"
            )
        return Scored(nan_if_infinite(rewards))


def load_function(path: str) -> RewardFunction:
    """The function called `module:function`.

    Raises:
        ConfigError: The path has another form, the module cannot be imported, or has no such function.
    """
    module_name, separator, name = path.partition(":")
    if not separator or not module_name or not name:
        raise ConfigError(f"reward function {path!r} must have the form 'module:function'")
    try:
        target: object = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"reward function {path!r}: module {module_name!r} cannot be imported ({error})") from error
    for part in name.split("."):
        if part not in dir(target):
            raise ConfigError(f"reward function {path!r}: {module_name!r} has no {name!r}")
        target = getattr(target, part)
    if not callable(target):
        raise ConfigError(f"reward function {path!r} is not callable")
    return target
