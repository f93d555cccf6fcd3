import random
import time
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.data.near_duplicates import group_near_duplicates

words = st.lists(st.sampled_from("abcdef"), max_size=9).map(" ".join)


def slow_groups(texts: list[str], threshold: float) -> list[int]:
    """Compare all pairs, then join until nothing changes."""
    sets = [set(text.split()) | set(zip(text.split(), text.split()[1:], strict=False)) for text in texts]
    group = list(range(len(texts)))
    for _ in texts:
        for i, j in combinations(range(len(texts)), 2):
            union = len(sets[i] | sets[j])
            if union and len(sets[i] & sets[j]) / union >= threshold:
                group[i] = group[j] = min(group[i], group[j])
    return group


@given(st.lists(words, max_size=12, unique=True), st.sampled_from([0.5, 0.8, 1.0]))
def test_groups_are_those_of_comparing_all_pairs(texts: list[str], threshold: float) -> None:
    assert group_near_duplicates(texts, threshold=threshold) == slow_groups(texts, threshold)


def test_one_changed_word_in_a_long_question_is_a_near_duplicate_and_in_a_short_one_is_not() -> None:
    long = "please explain to me in simple words how a plane stays up in the air for so many long and lonely hours"
    texts = [long, long.replace("lonely", "cold"), "what is tea", "what is mate"]
    assert group_near_duplicates(texts) == [0, 0, 2, 3]


def test_nearness_joins_into_chains() -> None:
    words = [str(i) for i in range(40)]
    texts = [" ".join(words[start : start + 36]) for start in range(5)]  # neighbours overlap, the ends do not
    assert group_near_duplicates(texts) == [0] * 5


def test_five_thousand_prompts_take_seconds() -> None:
    generator = random.Random(0)
    vocabulary = [f"w{i}" for i in range(3000)]
    texts = [
        "please tell me all about " + " ".join(generator.choices(vocabulary, k=generator.randint(2, 40)))
        for _ in range(5000)
    ]
    started = time.perf_counter()
    group_near_duplicates(texts)
    assert time.perf_counter() - started < 10
