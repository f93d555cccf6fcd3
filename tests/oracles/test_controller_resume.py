"""A KL controller that is saved as JSON and restored, inside an optimisation, ends at the same bits."""

import json

import pytest
import torch

from allgood.kl import AdaptiveController, FixedController, KlController, TargetKlController
from tests.oracles.enumerable_policy import Problem, probabilities, problem, token_logprobs

MAKE = {
    "fixed": lambda: FixedController(0.3),
    "adaptive": lambda: AdaptiveController(0.3, target=0.5, horizon=500),
    "target": lambda: TargetKlController(0.3, target=0.5),
}


def kl_of(task: Problem, logits: torch.Tensor) -> torch.Tensor:
    k1 = (token_logprobs(logits) - token_logprobs(task.reference_logits)).sum(-1)
    return (probabilities(logits) * k1).sum()


def train(logits: torch.Tensor, controller: KlController, num_steps: int) -> torch.Tensor:
    """Gradient ascent with gamma from the controller."""
    task = problem()
    for _ in range(num_steps):
        now = Problem(task.reference_logits, task.utilities, controller.coefficient)
        logits = logits + 2.0 * now.gradient(logits)
        controller.update(float(kl_of(task, logits)), num_responses=32)
    return logits


@pytest.mark.parametrize("kind", MAKE)
def test_resumed_equals_uninterrupted(kind):
    start = problem().reference_logits
    whole = MAKE[kind]()
    expected = train(start, whole, 40)
    first = MAKE[kind]()
    half_way = train(start, first, 17)
    second = MAKE[kind]()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert torch.equal(train(half_way, second, 23), expected)
    assert second.state_dict() == whole.state_dict()


@pytest.mark.parametrize("kind", ["adaptive", "target"])
def test_a_controlled_run_ends_at_its_target(kind):
    controller = MAKE[kind]()
    logits = train(problem().reference_logits, controller, 1500)
    assert float(kl_of(problem(), logits)) == pytest.approx(0.5, rel=0.02)
