"""Best and worst answers by the run's objective, as TRL reads pairs."""

from __future__ import annotations

import numpy as np
import pytest

from allgood.all_good import AllGood
from allgood.objectives import WeightedSum
from allgood.treatment import Treatment
from pipelines.answers.judged import JudgedAnswers
from pipelines.answers.reading import Answered
from pipelines.best_of_k.pairs import best_and_worst
from pipelines.best_of_k.pool import Pool

PROMPTS = ["\n\nSystem: Be brief.\n\nHuman: What is tea?\n\nAssistant: A drink.\n\nHuman: And mate?\n\nAssistant:"]
PROMPTS += [f"\n\nHuman: {question}\n\nAssistant:" for question in ("Why?", "Who?", "When?")]
REWARDS = [[1.0, 4.0, -2.0, 4.0], [3.0, 3.0], [np.nan, 1.0], [0.5, 0.0, np.nan]]


def pool() -> Pool:
    """u = r - 0.5; the answers of a prompt are called by their place."""
    answers = [
        Answered(prompt, tuple(f"answer {i}" for i in range(len(r))), ({},) * len(r), ("here",) * len(r), "alignment")
        for prompt, r in zip(PROMPTS, REWARDS, strict=True)
    ]
    rewards = {"long": np.array([r for row in REWARDS for r in row], dtype=np.float32)}
    ids = [answered.id for answered in answers for _ in answered.responses]
    all_good = AllGood({"long": Treatment(transform="identity", references=0.5)}, WeightedSum({"long": 1.0}))
    return Pool.of(JudgedAnswers(answers, all_good.of_rewards(rewards, ids)))


def test_a_prompt_gives_its_best_and_its_worst_answer() -> None:
    found = best_and_worst(pool(), first=None, min_utility=None)
    assert [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in found.rows] == [
        ("answer 1", "answer 2"),  # the first of equals
        ("answer 0", "answer 1"),  # what failed is neither
    ]
    assert found.num_tied == 1
    first = found.rows[0]
    assert first["prompt"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is tea?"},
        {"role": "assistant", "content": "A drink."},
        {"role": "user", "content": "And mate?"},
    ]
    assert {message["role"] for row in found.rows for message in row["chosen"] + row["rejected"]} == {"assistant"}
    assert first["split"] == "alignment"
    assert (first["utility.chosen"], first["utility.rejected"], first["utility_difference"]) == (3.5, -2.5, 6.0)
    assert (first["reward.long.chosen"], first["margin.long.chosen"]) == (4.0, 3.5)
    assert first["p_good.long.rejected"] == pytest.approx(1 / (1 + np.exp(2.5)))


def test_only_the_first_answers_count_and_only_good_ones_are_chosen() -> None:
    (first, _) = best_and_worst(pool(), first=3, min_utility=None).rows
    assert first["chosen"][0]["content"] == "answer 1"
    assert len(best_and_worst(pool(), first=1, min_utility=None).rows) == 0
    assert [row["utility.chosen"] for row in best_and_worst(pool(), first=None, min_utility=0.5).rows] == [3.5]
