"""Transforms by the name that a configuration gives: one of `transforms`, or a user's own as `module:function`.

A transform differs from the others in what it needs besides the rewards; `Anchors` holds all of it, so that whoever
applies one need not know which.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial, wraps

from torch import Tensor

from allgood import transforms
from allgood.checks import require_finite, require_same_shape
from allgood.number_checks import Number
from allgood.transform_facts import TransformFacts, facts_of


@dataclass(frozen=True)
class Anchors:
    """What rewards [prompts, samples] are measured against, from the same model.

    Attributes:
        reference: r_ref per prompt, [prompts] (or a number), in logits.
        draws: Rewards of pi_0 responses, [prompts, draws]; absent where the transform needs none.
        moments: Mean and std of the property over all pi_0 samples; absent where the transform needs none.
    """

    reference: Tensor | Number
    draws: Tensor | None = None
    moments: tuple[float, float] | None = None


@dataclass(frozen=True)
class NamedTransform:
    """A transform as a function, with what is known of it.

    Attributes:
        facts: Its row of the table.
        function: (reward, reference), (reward, draws), (reward, mean, std) or (log-probability), with utilities out, as
            `facts.needs` says.
    """

    facts: TransformFacts
    function: Callable[..., Tensor]

    def utilities(self, rewards: Tensor, anchors: Anchors) -> Tensor:
        """Utilities in the shape of `rewards` [prompts, samples].

        Raises:
            ValueError: What the transform needs is absent, or it refuses the values.
        """
        if self.facts.needs == "nothing":
            return self.function(rewards)
        if self.facts.needs == "reference":
            return self.function(rewards, anchors.reference)
        if self.facts.needs == "draws":
            if anchors.draws is None:
                raise ValueError(f"transform {self.facts.name!r} needs draws from pi_0, and there are none")
            return self.function(rewards, anchors.draws)
        if anchors.moments is None:
            raise ValueError(
                f"transform {self.facts.name!r} needs mean and std over all pi_0 samples, and there are none"
            )
        return self.function(rewards, *anchors.moments)

    def with_options(self, options: Mapping[str, Number]) -> NamedTransform:
        """The same transform with its keyword arguments set, such as `scale` of tanh.

        Raises:
            ValueError: An option that the transform does not have.
        """
        known = inspect.signature(self.function).parameters
        unknown = [name for name in options if name not in known or known[name].kind is not known[name].KEYWORD_ONLY]
        if unknown:
            raise ValueError(f"transform {self.facts.name!r} has no option {unknown[0]!r}")
        return replace(self, function=partial(self.function, **options)) if options else self


def named(name: str) -> NamedTransform:
    """The transform called `name`, or the user's own at `module:function`, called as function(reward, reference).

    Raises:
        ValueError: The name is unknown, or nothing callable is there.

    >>> named("log_sigmoid").facts.needs
    'reference'
    """
    facts = facts_of(name)
    return NamedTransform(facts, _checked(name, _imported(name)) if ":" in name else vars(transforms)[name])


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
