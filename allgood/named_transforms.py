"""Transforms by the name that a configuration gives: one of `transforms`, or a user's own as `module:function`.

A transform differs from the others in what it needs besides the rewards; `Anchors` holds all of it, so that whoever
applies one need not know which.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial, wraps
from typing import Literal

from torch import Tensor

from allgood import transforms
from allgood.checks import Number, require_finite, require_same_shape

Needs = Literal["reference", "draws", "mean_and_std", "nothing"]
Expects = Literal["logits", "log_probs", "anything"]


@dataclass(frozen=True)
class Anchors:
    """What rewards [prompts, samples] are measured against, from the same model.

    Attributes:
        reference: r_ref per prompt, [prompts] (or a number), in logits.
        draws: Rewards of SFT responses, [prompts, draws]; absent where the transform needs none.
        moments: Mean and std of the property over all SFT samples; absent where the transform needs none.
    """

    reference: Tensor | Number
    draws: Tensor | None = None
    moments: tuple[float, float] | None = None


@dataclass(frozen=True)
class NamedTransform:
    """A transform and what its function needs besides the rewards.

    Attributes:
        name: As in the configuration.
        function: (reward, reference), (reward, draws), (reward, mean, std) or (log-probability), with utilities out.
        needs: Which of these.
        is_log_prob: Whether the utility is the logarithm of a probability, so that a sum over properties is an AND.
        scale_matters: Whether its differences say how far a prompt is from good, so that dividing them by the standard
            deviation of the prompt's group would erase what it is for.
        expects: What the rewards must be: anything where only their order or their scaled differences count.
    """

    name: str
    function: Callable[..., Tensor]
    needs: Needs
    is_log_prob: bool = False
    scale_matters: bool = False
    expects: Expects = "anything"

    def utilities(self, rewards: Tensor, anchors: Anchors) -> Tensor:
        """Utilities in the shape of `rewards` [prompts, samples].

        Raises:
            ValueError: What the transform needs is absent, or it refuses the values.
        """
        if self.needs == "nothing":
            return self.function(rewards)
        if self.needs == "reference":
            return self.function(rewards, anchors.reference)
        if self.needs == "draws":
            if anchors.draws is None:
                raise ValueError(f"transform {self.name!r} needs draws of SFT responses, and there are none")
            return self.function(rewards, anchors.draws)
        if anchors.moments is None:
            raise ValueError(f"transform {self.name!r} needs mean and std over all SFT samples, and there are none")
        return self.function(rewards, *anchors.moments)

    def with_options(self, options: Mapping[str, Number]) -> NamedTransform:
        """The same transform with its keyword arguments set, such as `scale` of tanh.

        Raises:
            ValueError: An option that the transform does not have.
        """
        known = inspect.signature(self.function).parameters
        unknown = [name for name in options if name not in known or known[name].kind is not known[name].KEYWORD_ONLY]
        if unknown:
            raise ValueError(f"transform {self.name!r} has no option {unknown[0]!r}")
        return replace(self, function=partial(self.function, **options)) if options else self


_log = partial(NamedTransform, is_log_prob=True, scale_matters=True)

TRANSFORMS = (
    NamedTransform("identity", transforms.identity, "reference"),
    _log("log_sigmoid", transforms.log_sigmoid, "reference", expects="logits"),
    _log("log_prob", transforms.log_prob, "nothing", expects="log_probs"),
    NamedTransform("sigmoid", transforms.sigmoid, "reference", expects="logits"),
    NamedTransform("mean_sigmoid", transforms.mean_sigmoid, "draws", expects="logits"),
    _log("log_mean_sigmoid", transforms.log_mean_sigmoid, "draws", expects="logits"),
    NamedTransform("calibrated", transforms.calibrated, "draws"),
    _log("log_calibrated", transforms.log_calibrated, "draws"),
    NamedTransform("exp_calibrated", transforms.exp_calibrated, "draws"),
    NamedTransform("clip", transforms.clip, "reference", expects="logits"),
    NamedTransform("tanh", transforms.tanh, "reference", expects="logits"),
    NamedTransform("z_score", transforms.z_score, "mean_and_std"),
    NamedTransform("power", transforms.power, "reference", scale_matters=True, expects="logits"),
)


def named(name: str) -> NamedTransform:
    """The transform called `name`, or the user's own at `module:function`, called as function(reward, reference).

    Raises:
        ValueError: The name is unknown, or nothing callable is there.

    >>> named("log_sigmoid").needs
    'reference'
    """
    if ":" in name:
        return NamedTransform(name, _checked(name, _imported(name)), "reference")
    for transform in TRANSFORMS:
        if transform.name == name:
            return transform
    known = [transform.name for transform in TRANSFORMS]
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(
        f"unknown transform {name!r}: {hint}known are {', '.join(known)}, or your own as 'module:function'"
    )


def _imported(path: str) -> Callable[..., Tensor]:
    module_name, _, function_name = path.partition(":")
    try:
        found = vars(importlib.import_module(module_name)).get(function_name)
    except ImportError as error:
        raise ValueError(f"transform {path!r}: module {module_name!r} cannot be imported ({error})") from error
    if not callable(found):
        raise ValueError(f"transform {path!r}: module {module_name!r} has no function {function_name!r}")
    function: Callable[..., Tensor] = found
    return function


def _checked(path: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The user's function with its result held to what every transform promises."""

    @wraps(function)
    def checked(reward: Tensor, reference: Tensor | Number) -> Tensor:
        utilities = function(reward, reference)
        require_same_shape(f"the result of transform {path!r}", utilities, "reward", reward)
        require_finite(f"the result of transform {path!r}", utilities)
        return utilities

    return checked
