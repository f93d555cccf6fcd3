"""Which split each prompt belongs to: drawn by groups of near-duplicate prompts, deterministic from the seed.

Test, validation and SFT are drawn first, the rest is halved between reward-model training and alignment. Every source
(property) gives its share to every split. A split that the data give is kept, and so is the whole group's.

Of prompts that come from a file of their own (`data.prompts`), those that are in no pairs and no demonstrations have
nothing to train on: the shares of SFT and reward model go to alignment.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from allgood.conversations import first_human_turn, normalise
from allgood.errors import DataError
from pipelines.config.data import SplitConfig
from pipelines.data.near_duplicates import group_near_duplicates
from pipelines.data.prepared import Split
from pipelines.data.proportion import in_proportion

PROMPTS, DEMONSTRATIONS = "prompts", "demonstrations"
"""Names of sources that are no pairs."""

MAX_TEST_SHARE_OF_PROMPTS = 0.15


@dataclass(frozen=True)
class SplitPrompt:
    """A distinct prompt: the sources that it stands in, whether it may be aligned on, the split that the data give."""

    text: str
    sources: tuple[str, ...]
    aligned: bool
    given: Split | None = None


@dataclass(frozen=True)
class Group:
    """Prompts that must stay together."""

    name: str  # normalised first human turn of its first member
    sources: tuple[str, ...]
    size: int  # prompts; in a group with prompts to align on, those alone
    aligned: bool


@dataclass(frozen=True)
class Splits:
    """The split of each prompt text, and how many groups and near-duplicates were found.

    `largest_group` is the number of different first human turns in the largest group.
    """

    of_prompt: dict[str, Split]
    num_groups: int
    num_near_duplicates: int
    largest_group: int


@dataclass(frozen=True)
class Pool:
    """Groups that splits are drawn from, apart from others. What the targets leave goes to `rest` in equal parts."""

    name: str  # part of the seed
    groups: Sequence[Group]
    targets: Mapping[Split, int]
    rest: tuple[Split, ...]


def split_prompts(prompts: Sequence[SplitPrompt], config: SplitConfig, *, seed: int) -> Splits:
    """Give every prompt a split.

    Raises:
        DataError: The data give prompts with the same first human turn different splits.
    """
    questions = {prompt.text: normalise(first_human_turn(prompt.text)) for prompt in prompts}
    given = _given_splits(prompts, questions)
    distinct = sorted(set(questions.values()))
    if len(given) == len(distinct):  # nothing is left to draw
        return Splits({text: given[question] for text, question in questions.items()}, len(distinct), 0, 1)
    group_of = dict(zip(distinct, (distinct[leader] for leader in group_near_duplicates(distinct)), strict=True))
    members: dict[str, list[SplitPrompt]] = defaultdict(list)
    for prompt in prompts:
        members[group_of[questions[prompt.text]]].append(prompt)
    split_of = _splits_of_groups(members, given, group_of)
    drawn = [_group(name, members[name]) for name in sorted(members) if name not in split_of]
    split_of |= _draw(drawn, config, seed)
    of_prompt = {text: given.get(question, split_of[group_of[question]]) for text, question in questions.items()}
    largest = max(Counter(group_of.values()).values())
    return Splits(of_prompt, len(members), len(distinct) - len(members), largest)


def _given_splits(prompts: Iterable[SplitPrompt], questions: Mapping[str, str]) -> dict[str, Split]:
    given: dict[str, Split] = {}
    for prompt in prompts:
        if prompt.given is not None and given.setdefault(questions[prompt.text], prompt.given) != prompt.given:
            raise DataError(
                f"{' and '.join(prompt.sources)}: the question {questions[prompt.text][:80]!r} stands in the splits "
                f"{given[questions[prompt.text]]!r} and {prompt.given!r}; a prompt belongs to one split"
            )
    return given


def _splits_of_groups(
    members: Mapping[str, Sequence[SplitPrompt]], given: Mapping[str, Split], group_of: Mapping[str, str]
) -> dict[str, Split]:
    """The split that most of a group's given ones name, for the members that have none."""
    votes: dict[str, Counter[Split]] = defaultdict(Counter)
    for question, split in given.items():
        votes[group_of[question]][split] += 1
    return {
        name: max(sorted(counts), key=lambda split: counts[split]) for name, counts in votes.items() if name in members
    }


def _group(name: str, members: Sequence[SplitPrompt]) -> Group:
    sources = tuple(sorted({source for prompt in members for source in prompt.sources}))
    num_aligned = sum(prompt.aligned for prompt in members)
    return Group(name, sources, num_aligned or len(members), num_aligned > 0)


def _draw(groups: Sequence[Group], config: SplitConfig, seed: int) -> dict[str, Split]:
    of_prompts = any(PROMPTS in group.sources for group in groups)
    drawn: dict[str, Split] = {}
    for pool in _pools_with_prompts(groups, config) if of_prompts else _pools(groups, config):
        order = _stratified_order(pool.groups, random.Random(f"splits-{seed}-{pool.name}"))
        drawn |= _fill(order, pool.targets, pool.rest)
    return drawn


def _pools(groups: Sequence[Group], config: SplitConfig) -> list[Pool]:
    """Prompts that are aligned on and the others apart: only the first need `test_min_prompts`."""
    aligned, others = ([group for group in groups if group.aligned == wanted] for wanted in (True, False))
    least = min(config.test_min_prompts, _num_prompts_to_share(aligned) // 2)
    rest: tuple[Split, ...] = ("reward", "alignment")
    return [
        Pool("True", aligned, _targets(aligned, config, ("test", "validation", "sft"), least=least), rest),
        Pool("False", others, _targets(others, config, ("test", "validation", "sft"), least=0), rest),
    ]


def _pools_with_prompts(groups: Sequence[Group], config: SplitConfig) -> list[Pool]:
    """As `_pools`, and apart from both the prompts with nothing to train on. Without pairs nobody needs `reward`."""
    has_pairs = any(set(group.sources) - {PROMPTS, DEMONSTRATIONS} for group in groups)
    alone = [group for group in groups if group.sources == (PROMPTS,)]
    trained_on = [group for group in groups if group.aligned and group.sources != (PROMPTS,)]
    others = [group for group in groups if not group.aligned]
    after_alignment: tuple[Split, ...] = ("reward", "alignment") if has_pairs else ("alignment",)
    return [
        Pool(
            "prompts",
            alone,
            _targets(alone, config, ("test", "validation"), least=_least(alone, config)),
            ("alignment",),
        ),
        Pool(
            "True",
            trained_on,
            _targets(trained_on, config, ("test", "validation", "sft"), least=_least(trained_on, config)),
            after_alignment,
        ),
        Pool("False", others, _targets(others, config, ("test", "validation", "sft"), least=0), ("reward", "alignment"))
        if has_pairs
        else Pool("False", others, _targets(others, config, ("validation",), least=0), ("sft",)),
    ]


def _least(groups: Sequence[Group], config: SplitConfig) -> int:
    """`test_min_prompts`, of which a list of prompts gives at most 15 %."""
    return min(config.test_min_prompts, round(MAX_TEST_SHARE_OF_PROMPTS * _num_prompts_to_share(groups)))


def _targets(groups: Sequence[Group], config: SplitConfig, splits: Sequence[Split], *, least: int) -> dict[Split, int]:
    """How many prompts each of `splits` asks for; test at least `least`."""
    num_prompts = _num_prompts_to_share(groups)
    shares: dict[Split, float] = {"test": config.test, "validation": config.validation, "sft": config.sft}
    return {split: max(round(shares[split] * num_prompts), least if split == "test" else 0) for split in splits}


def _num_prompts_to_share(groups: Sequence[Group]) -> int:
    """Prompts that shares are taken of. A huge group cannot be divided, so it counts as a twentieth of all at most."""
    limit = max(1, sum(group.size for group in groups) // 20)
    return sum(min(group.size, limit) for group in groups)


def _stratified_order(groups: Sequence[Group], generator: random.Random) -> list[Group]:
    """A random order in which every stretch holds every combination of sources in proportion."""
    strata: dict[tuple[str, ...], list[Group]] = defaultdict(list)
    for group in groups:
        strata[group.sources].append(group)
    for _, members in sorted(strata.items()):
        generator.shuffle(members)
    return in_proportion(strata)


def _fill(order: Sequence[Group], targets: Mapping[Split, int], rest: Sequence[Split]) -> dict[str, Split]:
    """Fill each target in turn, then divide what is left among `rest`, a group going where its middle lies."""
    result: dict[str, Split] = {}
    waiting = list(order)
    for split, target in targets.items():
        result |= dict.fromkeys(_take(waiting, target), split)
        waiting = [group for group in waiting if group.name not in result]
    part = sum(group.size for group in waiting) / len(rest)
    count = 0.0
    for group in waiting:
        middle = count + group.size / 2
        result[group.name] = next((split for number, split in enumerate(rest, 1) if middle <= number * part), rest[-1])
        count += group.size
    return result


def _take(waiting: Sequence[Group], target: int) -> list[str]:
    """Names of groups that hold `target` prompts. One small group may overshoot; a large one never does."""
    taken, room = [], target
    for group in waiting:
        if group.size <= room or 0 < room < group.size <= target / 20:
            taken.append(group.name)
            room -= group.size
    return taken
