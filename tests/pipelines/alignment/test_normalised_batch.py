"""GDPO's rule on a step worked by hand: the KL is inside what is divided."""

from __future__ import annotations

import numpy as np

from actors.messages import Chunk, Experience, LogProbs, Rollout, Scores
from allgood.all_good import AllGood
from allgood.objectives import NormaliseThenSum
from allgood.treatment import Treatment
from allgood.views import PropertyView
from pipelines.alignment.loop import State
from pipelines.alignment.normalised_batch import assemble_normalised


def scores(values: list[float]) -> Scores:
    return Scores("p", PropertyView(*(np.float32(values) for _ in range(4))), 0, 0.0)


def test_each_propertys_return_is_normalised_within_its_prompt() -> None:
    chunk = Chunk(0, 0, 0, 0, ("x", "y"), ("x", "y"), 3)
    tokens = tuple(np.int32([1]) for _ in range(6))
    kl = np.float32([1.0, 0.0, 0.5, 0.0, 0.0, 2.0])
    rows = tuple(np.float32([value]) for value in kl)
    rollout = Rollout(chunk, tokens[:2], tokens, rows, rows, ("",) * 6, ("eos",) * 6, 0, 0.0)
    a, b = [1.0, 2.0, 6.0, 0.0, 1.0, 5.0], [30.0, 10.0, 20.0, 2.0, float("nan"), 1.0]
    zeros = tuple(np.float32([0.0]) for _ in range(6))
    experience = [Experience(rollout, {"a": scores(a), "b": scores(b)}, LogProbs(zeros, 0.0))]
    all_good = AllGood(dict.fromkeys("ab", Treatment(transform="identity")), NormaliseThenSum(("a", "b")))
    assembled = assemble_normalised(experience, State(0, 0, 0.8, {}), all_good=all_good, max_nan_share=0.5)

    kept = [0, 1, 2, 3, 5]  # row 4 has no score of b
    expected = np.zeros(5)
    for values in (a, b):
        returns = np.array(values)[kept] - 0.4 * kl[kept]  # gamma / 2 properties
        for rows_of in (slice(0, 3), slice(3, 5)):
            group = returns[rows_of]
            expected[rows_of] += (group - group.mean()) / (group.std(ddof=1) + 1e-4)
    np.testing.assert_allclose(assembled.batch.utilities, expected, rtol=1e-4)
    assert assembled.batch.kl_coefficient == 0.0
    assert assembled.metrics["gamma"] == 0.8
    np.testing.assert_allclose(assembled.metrics["utility.mean"], np.mean([31.0, 12.0, 26.0, 2.0, 6.0]), rtol=1e-6)
