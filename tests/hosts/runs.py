"""Runs on hosts: tiny ones whose roles have places, and how to follow and compare them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.config.run import RunConfig
from tests.hosts.align_driver import hosts_config
from tests.hosts.network import Host
from tests.hosts.ray_hosts import Driver, RayHosts
from tests.pipelines.tiny_run import logged_rows

LIMIT_S = 900.0  # CI machines may be busy
HEAD = "head"


@dataclass(frozen=True)
class Runs:
    """Runs in a folder. Rollout actor and learner may be at these places, the other roles are at the head."""

    folder: Path
    rollout: tuple[str, ...]
    learner: tuple[str, ...]
    num_steps: int
    storage: str | None = None
    num_learners: int = 1  # with more than one, each holds a shard

    def config(self, name: str) -> RunConfig:
        """A run."""
        return hosts_config(self.folder, self._settings(), name)

    def drive(self, hosts: RayHosts, *names: str, host: Host | None = None) -> Driver:
        """Make the runs, one after another; one that was begun is resumed."""
        settings = json.dumps(self._settings())
        return hosts.drive("tests.hosts.align_driver", str(self.folder), settings, *names, host=host)

    def num_finished(self, name: str) -> int:
        """Steps of a run that are finished."""
        path = self.config(name).folder / "metrics.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def wait_for_step(self, driver: Driver, name: str, step: int) -> None:
        """Wait until a run has finished a step."""
        driver.wait_for(lambda: self.num_finished(name) >= step, LIMIT_S)

    def faults(self, name: str) -> list[dict[str, Any]]:
        """What a run says that it got over."""
        path = self.config(name).folder / "faults.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def num_restarts(self, name: str) -> float:
        """How often a run says that it started an actor anew, by its metrics."""
        return float(sum(row["ops.restarts"] for row in logged_rows(self.config(name))))

    def seconds(self, name: str) -> float:
        """What the last steps of a run took, those without an evaluation."""
        rows = logged_rows(self.config(name))[-5:-1]
        return float(sum(row["seconds.experience"] + row["seconds.update"] + row["seconds.publish"] for row in rows))

    def _settings(self) -> dict[str, Any]:
        reference = {"kind": "quantile", "quantile": 0.85}
        short = {"kind": "function", "function": "tests.pipelines.tiny_rewards:short", "zero_is_a_score": True}
        return {
            "storage": self.storage,
            "properties": {"short": {**short, "reference": reference, "placement": _at(HEAD)}},
            "align": {
                "steps": self.num_steps,
                "prompts_per_step": 4,
                "samples_per_prompt": 3,
                "optimizer": {"learning_rate": 1e-3, "schedule": "constant"},
                "evaluate_every": 4,
                "checkpoint_every": 2,
                "max_evaluation_prompts": 3,
            },
            "placement": {
                "timeout_s": 300.0,
                "rollout": _at(*self.rollout),
                "reference_policy": _at(HEAD),
                "learner": {**_at(*self.learner), "replicas": self.num_learners},
                "learners": "shard" if self.num_learners > 1 else "replicate",
            },
        }


def host_of(hosts: RayHosts, driver: Driver, role: str, places: tuple[str, ...]) -> str:
    """At which of the places the table of a driver says that a role is."""
    [row] = [line for line in driver.said().splitlines() if line.startswith(f"{role} ")]
    [place] = [place for place in places if f" {hosts[place].address} " in row]
    return place


def _at(*places: str) -> dict[str, Any]:
    return {"cpus": 0.1, "labels": {"place": f"in({','.join(places)})"}}
