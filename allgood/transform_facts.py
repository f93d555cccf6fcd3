"""The table of transforms: what each needs besides the rewards, and what its utility is. Nothing here imports torch.

The functions themselves are in `transforms`, under the same names; `named_transforms` puts both together.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Literal

from allgood.views import GoodFrom

Needs = Literal["reference", "draws", "mean_and_std", "nothing"]
Expects = Literal["logits", "log_probs", "anything"]


@dataclass(frozen=True)
class TransformFacts:
    """What is known of a transform without computing anything.

    Attributes:
        name: As in the configuration: a function of `transforms`, or a user's own as `module:function`.
        needs: What its function takes besides the rewards: one r_ref per prompt, rewards of pi_0 responses, mean and
            std over all pi_0 samples, or nothing.
        is_log_prob: Whether the utility is the logarithm of a probability, so that a sum over properties is an AND.
        scale_matters: Whether its differences say how far a prompt is from good, so that dividing them by the standard
            deviation of the prompt's group would erase what it is for.
        expects: What the rewards must be: anything where only their order or their scaled differences count.
    """

    name: str
    needs: Needs
    is_log_prob: bool = False
    scale_matters: bool = False
    expects: Expects = "anything"

    @property
    def good_from(self) -> GoodFrom:
        """Where P(good) is read: of a log-probability itself, but for one of the margin alone, whose odds it is.

        A log-probability that is given, by a scorer or a user's own function, may be the logarithm of a rounded one.
        """
        is_given = self.needs == "nothing" or ":" in self.name
        if not self.is_log_prob or (self.needs == "reference" and not is_given):
            return "margin"
        return "rounded_log_prob" if is_given else "log_prob"


_log = partial(TransformFacts, is_log_prob=True, scale_matters=True)

FACTS = (
    TransformFacts("identity", "reference"),
    _log("log_sigmoid", "reference", expects="logits"),
    _log("log_prob", "nothing", expects="log_probs"),
    TransformFacts("sigmoid", "reference", expects="logits"),
    TransformFacts("mean_sigmoid", "draws", expects="logits"),
    _log("log_mean_sigmoid", "draws", expects="logits"),
    TransformFacts("calibrated", "draws"),
    _log("log_calibrated", "draws"),
    TransformFacts("exp_calibrated", "draws"),
    TransformFacts("prompt_z_score", "draws"),
    TransformFacts("capped", "reference", scale_matters=True),
    TransformFacts("clip", "reference", expects="logits"),
    TransformFacts("tanh", "reference", expects="logits"),
    TransformFacts("z_score", "mean_and_std"),
    TransformFacts("power", "reference", scale_matters=True, expects="logits"),
)


def facts_of(name: str) -> TransformFacts:
    """What is known of the transform called `name`; of a user's own, that it takes one r_ref per prompt.

    Raises:
        ValueError: The name is unknown.

    >>> facts_of("log_mean_sigmoid").needs
    'draws'
    """
    if ":" in name:
        return TransformFacts(name, "reference")
    for facts in FACTS:
        if facts.name == name:
            return facts
    known = [facts.name for facts in FACTS]
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(
        f"unknown transform {name!r}: {hint}known are {', '.join(known)}, or your own as 'module:function'"
    )
