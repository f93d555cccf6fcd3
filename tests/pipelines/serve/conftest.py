"""One service for all tests of this room: real deployments of a tiny reward model and of a rule, asked over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from actors.cluster.placement import Resources
from allgood.conversations import prompt_id
from allgood.scorers.reference_files import References, save_references
from pipelines.serve.run import serving
from pipelines.serve.settings import Limits, ScorerSettings, ServeSettings
from tests.actors.tiny_models import save_scorer

TEA = "\n\nHuman: What is tea?\n\nAssistant:"
LIMITS = Limits(body_bytes=100_000, rows=50, characters=5_000, waiting_rows=60, deadline_s=30.0, drain_s=5.0)


@dataclass(frozen=True)
class Served:
    """A client of the running service, and the file of its first objective."""

    client: httpx.Client
    rewards: Path


@pytest.fixture(scope="session")
def rewards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an objective: a reward model with a table, and a rule that fails where there is a b."""
    folder = tmp_path_factory.mktemp("served")
    save_scorer(folder / "scorer")
    save_references(References({prompt_id(TEA): 0.25}), folder / "table.safetensors")
    file = folder / "rewards.yaml"
    file.write_text(
        """
properties:
  liked:
    model: scorer
    device: cpu
    reference: {kind: table, file: table.safetensors, fallback: 0.0}
  free_of_b:
    kind: function
    function: tests.pipelines.tiny_rewards:broken_on_b
    reference: {kind: canned, replies: [no, never]}
objective: {kind: formula, expression: liked & free_of_b}
""",
        encoding="utf-8",
    )
    return file


@pytest.fixture(scope="session")
def penalised(rewards: Path) -> Path:
    """A second objective with the same reward model, no probability, and a penalty for cut answers."""
    file = rewards.with_name("penalised.yaml")
    file.write_text(
        """
properties:
  liked:
    model: scorer
    device: cpu
    transform: {kind: identity}
    reference: {kind: constant, value: 0.0}
objective: {kind: weighted_sum}
missing_eos_penalty: 0.5
""",
        encoding="utf-8",
    )
    return file


@pytest.fixture(scope="package")
def served(rewards: Path, penalised: Path, ray_cluster: None) -> Iterator[Served]:
    """The service with two objectives that share a reward model; two replicas of it, one of the rule.

    They reserve no CPUs, which the tests of other rooms count on.
    """
    settings = ServeSettings(
        port=0,
        objectives={"penalised": str(penalised)},
        limits=LIMITS,
        scorer=ScorerSettings(resources=Resources(replicas=2, cpus=0.0)),
        scorers={"free_of_b": ScorerSettings(resources=Resources(cpus=0.0))},
    )
    with serving(rewards, settings) as url, httpx.Client(base_url=url, timeout=60.0) as client:
        yield Served(client, rewards)
