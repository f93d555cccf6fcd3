"""Groups of prompts that ask nearly the same, so that a split can keep them together.

Two prompts are near-duplicates when their first human turns, normalised, have the same words, or when the sets of their
words and neighbouring word pairs overlap with Jaccard index >= 0.8. Groups are the connected components. The search is
exact: an inverted index over each prompt's rarest shingles (a pair with Jaccard >= t shares one of the
n - ceil(t n) + 1 rarest of n) yields the candidates.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

THRESHOLD = 0.8


def group_near_duplicates(texts: Sequence[str], *, threshold: float = THRESHOLD) -> list[int]:
    """The group of each of the distinct normalised texts: the index of the group's first member. [texts]"""
    leader = list(range(len(texts)))
    for first, second in _similar_pairs([_shingles(text) for text in texts], threshold):
        a, b = _find(leader, first), _find(leader, second)
        leader[max(a, b)] = min(a, b)
    return [_find(leader, index) for index in range(len(texts))]


def _shingles(text: str) -> frozenset[str]:
    words = text.split()
    return frozenset(words) | {f"{a} {b}" for a, b in pairwise(words)}


def _similar_pairs(sets: Sequence[frozenset[str]], threshold: float) -> Iterator[tuple[int, int]]:
    counts = Counter(shingle for members in sets for shingle in members)
    index: dict[str, list[int]] = defaultdict(list)
    for number in sorted(range(len(sets)), key=lambda i: len(sets[i])):
        members = sets[number]
        num_rarest = len(members) - math.ceil(threshold * len(members)) + 1
        rarest = sorted(members, key=lambda shingle: (counts[shingle], shingle))[:num_rarest]
        candidates = {other for shingle in rarest for other in index[shingle]}
        for other in candidates:
            if len(sets[other]) >= threshold * len(members) and _jaccard(sets[other], members) >= threshold:
                yield other, number
        for shingle in rarest:
            index[shingle].append(number)


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared) if a or b else 1.0


def _find(leader: list[int], index: int) -> int:
    while leader[index] != index:
        leader[index] = leader[leader[index]]
        index = leader[index]
    return index
