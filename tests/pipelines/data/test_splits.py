from collections import Counter
from collections.abc import Sequence

import pytest

from allgood.errors import DataError
from pipelines.config.data import SplitConfig
from pipelines.data.splits import SplitPrompt, split_prompts
from tests.pipelines.data.files import question


def prompts(numbers: Sequence[int], source: str = "helpful", *, aligned: bool = True) -> list[SplitPrompt]:
    return [SplitPrompt(question(number), (source,), aligned) for number in numbers]


def counts(of_prompt: dict[str, str]) -> dict[str, int]:
    return dict(Counter(of_prompt.values()))


def test_shares_are_drawn_and_the_rest_is_halved() -> None:
    splits = split_prompts(prompts(range(1000)), SplitConfig(test_min_prompts=1), seed=0)
    assert counts(splits.of_prompt) == {"test": 150, "validation": 100, "sft": 150, "reward": 300, "alignment": 300}


def test_test_gets_its_minimum_but_never_more_than_half() -> None:
    assert counts(split_prompts(prompts(range(1000)), SplitConfig(), seed=0).of_prompt)["test"] == 300
    assert counts(split_prompts(prompts(range(100)), SplitConfig(), seed=0).of_prompt) == {
        "test": 50,
        "validation": 10,
        "sft": 15,
        "reward": 13,
        "alignment": 12,
    }


def test_the_minimum_is_for_prompts_that_are_aligned_on() -> None:
    helpful, harmless = prompts(range(400)), prompts(range(400, 1400), "harmless", aligned=False)
    of_prompt = split_prompts([*helpful, *harmless], SplitConfig(), seed=0).of_prompt
    assert counts({prompt.text: of_prompt[prompt.text] for prompt in helpful})["test"] == 200
    assert counts({prompt.text: of_prompt[prompt.text] for prompt in harmless})["test"] == 150


def test_every_source_gives_its_share_to_every_split() -> None:
    helpful, harmless = prompts(range(600)), prompts(range(600, 800), "harmless")
    of_prompt = split_prompts([*helpful, *harmless], SplitConfig(test_min_prompts=1), seed=0).of_prompt
    expected = {"test": 0.15, "validation": 0.10, "sft": 0.15, "reward": 0.30, "alignment": 0.30}
    for rows in (helpful, harmless):
        found = counts({prompt.text: of_prompt[prompt.text] for prompt in rows})
        assert all(abs(found[split] - share * len(rows)) <= 2 for split, share in expected.items())


def test_the_draw_depends_on_the_seed_alone() -> None:
    rows = prompts(range(200))
    first = split_prompts(rows, SplitConfig(), seed=1)
    assert split_prompts(rows[::-1], SplitConfig(), seed=1).of_prompt == first.of_prompt
    assert split_prompts(rows, SplitConfig(), seed=2).of_prompt != first.of_prompt


def test_prompts_with_the_same_or_nearly_the_same_first_question_stay_together() -> None:
    rows = prompts(range(60))
    follow_ups = [
        SplitPrompt(f"{question(i)} Sure.\n\nHuman: And {i}?\n\nAssistant:", ("harmless",), True) for i in range(60)
    ]
    shouted = [SplitPrompt(question(i).replace("What is", "WHAT, is"), ("helpful",), True) for i in range(60)]
    long = "one two three four five six seven eight nine ten eleven twelve thirteen"
    near = [SplitPrompt(f"\n\nHuman: {long} {end}\n\nAssistant:", ("helpful",), True) for end in ("a", "b", "c")]
    for seed in range(3):
        splits = split_prompts([*rows, *follow_ups, *shouted, *near], SplitConfig(), seed=seed)
        for i in range(60):
            assert len({splits.of_prompt[group[i].text] for group in (rows, follow_ups, shouted)}) == 1
        assert len({splits.of_prompt[prompt.text] for prompt in near}) == 1
        assert splits.num_groups == 61
        assert splits.num_near_duplicates == 2


def test_a_given_split_is_kept_and_draws_its_near_duplicates_along() -> None:
    given = [
        SplitPrompt(question(0), ("helpful",), True, "validation"),
        SplitPrompt(question(1), ("helpful",), True, "sft"),
    ]
    follower = SplitPrompt(question(0).replace("What", "what"), ("harmless",), True)
    splits = split_prompts([*given, follower, *prompts(range(2, 40))], SplitConfig(), seed=0)
    assert splits.of_prompt[question(0)] == splits.of_prompt[follower.text] == "validation"
    assert splits.of_prompt[question(1)] == "sft"


def test_a_question_that_the_data_put_into_two_splits_is_refused() -> None:
    rows = [
        SplitPrompt(question(0), ("helpful",), True, "validation"),
        SplitPrompt(question(0).replace("What", "what"), ("harmless",), True, "test"),
    ]
    with pytest.raises(
        DataError, match="helpful and harmless|harmless: the question 'what is w0 x0 y0' stands in the splits"
    ):
        split_prompts(rows, SplitConfig(), seed=0)


def test_a_group_too_large_for_a_split_goes_to_training() -> None:
    same = [SplitPrompt(f"{question(0)} Yes.\n\nHuman: {i}\n\nAssistant:", ("helpful",), True) for i in range(80)]
    for seed in range(5):
        of_prompt = split_prompts([*same, *prompts(range(1, 21))], SplitConfig(), seed=seed).of_prompt
        assert of_prompt[same[0].text] in ("reward", "alignment")
        assert set(of_prompt.values()) == {"test", "validation", "sft", "reward", "alignment"}
        assert counts(of_prompt)["test"] == 12


def test_a_list_of_prompts_is_split_into_test_validation_and_alignment() -> None:
    rows = prompts(range(1000), "prompts")
    assert counts(split_prompts(rows, SplitConfig(), seed=0).of_prompt) == {
        "test": 150,
        "validation": 100,
        "alignment": 750,
    }
    small_share = SplitConfig(test=0.01, test_min_prompts=120)
    assert counts(split_prompts(rows, small_share, seed=0).of_prompt)["test"] == 120


def test_demonstrations_alongside_prompts_alone_train_sft_and_nobody_gets_the_reward_split() -> None:
    alone = prompts(range(200), "prompts")
    both = [SplitPrompt(question(i), ("prompts", "demonstrations"), True) for i in range(200, 300)]
    imitated = prompts(range(300, 400), "demonstrations", aligned=False)
    of_prompt = split_prompts([*alone, *both, *imitated], SplitConfig(), seed=0).of_prompt
    drawn = [counts({row.text: of_prompt[row.text] for row in rows}) for rows in (alone, both, imitated)]
    assert drawn == [
        {"test": 30, "validation": 20, "alignment": 150},
        {"test": 15, "validation": 10, "sft": 15, "alignment": 60},
        {"validation": 10, "sft": 90},
    ]


def test_prompts_alongside_pairs_leave_the_pairs_their_reward_split() -> None:
    alone, both = (
        prompts(range(200), "prompts"),
        [SplitPrompt(question(i), ("prompts", "helpful"), True) for i in range(200, 300)],
    )
    compared = prompts(range(300, 400), "helpful", aligned=False)
    of_prompt = split_prompts([*alone, *both, *compared], SplitConfig(), seed=0).of_prompt
    drawn = [counts({row.text: of_prompt[row.text] for row in rows}) for rows in (alone, both, compared)]
    assert drawn[0] == {"test": 30, "validation": 20, "alignment": 150}
    assert drawn[1] == drawn[2] == {"test": 15, "validation": 10, "sft": 15, "reward": 30, "alignment": 30}
