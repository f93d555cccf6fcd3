"""The service with rules that run in this process: the real routes, server and page, and no Ray to start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from allgood.formula import Formula
from allgood.objectives import FormulaUtility
from allgood.scorers.loading import load_scorer
from allgood.scorers.rewards_spec import PropertySpec, ReferenceSpec, RewardsSpec
from allgood.scorers.scorer import Scored
from allgood.scorers.spec import FunctionSpec
from pipelines.serve.app import application
from pipelines.serve.gate import Gate, GateSettings
from pipelines.serve.metrics import Metrics
from pipelines.serve.objective import ServedObjective
from pipelines.serve.server import HttpServer, bind
from pipelines.serve.service import Service
from pipelines.serve.settings import Limits


class InThisProcess:
    """A rule of `tests.pipelines.tiny_rewards`, asked as the service asks a scorer."""

    def __init__(self, function: str) -> None:
        self.spec = FunctionSpec(f"tests.pipelines.tiny_rewards:{function}")
        self._scorer = load_scorer(self.spec)

    async def score_async(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        return self.score(prompts, responses)

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        return self._scorer.score(prompts, responses)

    def features(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        raise AssertionError("a rule has no features")


@contextmanager
def served_in_process(limits: Limits, *, token: str | None = None) -> Iterator[str]:
    """The URL of a service of one objective: brief, and free of the letter b (where the rule fails)."""
    scorers = {"brief": InThisProcess("short"), "free_of_b": InThisProcess("broken_on_b")}
    properties = {name: PropertySpec(scorer.spec, ReferenceSpec(constant=0.5)) for name, scorer in scorers.items()}
    spec = RewardsSpec(properties, FormulaUtility(Formula("brief & free_of_b")))
    metrics = Metrics()
    service = Service(limits, metrics)
    gate = Gate(application(service), GateSettings(limits, token, is_loopback=True), metrics)
    with bind("127.0.0.1", 0) as listener, HttpServer(gate, listener, drain_s=2.0):
        service.open({"default": ServedObjective(spec, scorers)})
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
