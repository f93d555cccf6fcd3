"""What an inspection finds, as values: `inspect_run` makes one, `terminal` and `page` show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.inspection.ending import Ending
from pipelines.inspection.reading import Cuts, Reading
from pipelines.inspection.rewards import AloneAndTogether, RewardRange
from pipelines.inspection.roles import Role

POLICY = "policy"
"""What readings of the policy are called; those of a scorer bear its name."""


@dataclass(frozen=True)
class Conversation:
    """One conversation of a source, and what each model reads of it.

    Attributes:
        source: "prompts", "pairs.helpful" or "demonstrations".
        prompt: Canonical text.
        response: Text behind it.
        said_by: Whose response it is, in words.
        readings: By reader.
        cuts: By reader, over the first rows of the source.
    """

    source: str
    prompt: str
    response: str
    said_by: str
    readings: Mapping[str, Reading]
    cuts: Mapping[str, Cuts]


@dataclass(frozen=True)
class Rewarded:
    """What a scorer gives samples of pi_0. `suspicions` say what looks wrong about it."""

    range: RewardRange
    shown: AloneAndTogether
    suspicions: Sequence[str]


@dataclass(frozen=True)
class Inspection:
    """Everything found.

    Attributes:
        name: Of the run.
        conversations: One per source; the first is a prompt with the sample of pi_0 that is shown, where there is one.
        ending: Where responses end.
        num_prompts, samples_per_prompt: What the rewards were measured on; 0 where there is no policy yet.
        rewards: By scorer; none where a model is missing.
        roles: Memory per role.
        missing: What cannot be shown yet, and which command makes it; a sentence each.
    """

    name: str
    conversations: Sequence[Conversation]
    ending: Ending
    num_prompts: int
    samples_per_prompt: int
    rewards: Mapping[str, Rewarded]
    roles: Sequence[Role]
    missing: Sequence[str]
