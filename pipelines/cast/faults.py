"""What is said and kept of failures that a command got over: a line each, `faults.jsonl`, and counts per step."""

from __future__ import annotations

import time
from pathlib import Path

from actors.cluster.recovery import Fault
from actors.messages import Scores
from pipelines.output.metrics_log import MetricsLog
from pipelines.output.progress import say

OPS = "ops."  # columns of metrics.jsonl about how a step went; like seconds, they differ between equal runs
RETRIES, RESTARTS = f"{OPS}retries", f"{OPS}restarts"


def say_fault(fault: Fault) -> None:
    """One line about a failure that was got over."""
    how = "started anew" if fault.restarted else "there again"
    say(f"{fault.reason}; {how} after {fault.seconds:.1f} s, and its work is done again")


def given_up_line(scores: Scores) -> str:
    """One line about the first responses on which a scorer failed also alone."""
    row, reason = next(iter(scores.reasons.items()))
    return (
        f"{scores.num_given_up} of {len(scores.view.rewards)} responses have no reward of property {scores.property} "
        f"(row {row}: {reason}); such responses are left out and counted, which is said once"
    )


class FaultLog:
    """The failures that one run got over. Told of each; `counts` says how many since it was asked last."""

    def __init__(self, path: Path) -> None:
        self._log = MetricsLog(path)
        self._num_retries, self._num_restarts = 0, 0

    def __call__(self, fault: Fault) -> None:
        """Say it, write it down, count it."""
        say_fault(fault)
        self._num_retries += 1
        self._num_restarts += fault.restarted
        self._log.append(
            {
                "time": round(time.time(), 3),
                "role": fault.who.role,
                "replica": fault.who.replica,
                "node": fault.who.node,
                "phase": fault.phase,
                "reason": fault.reason,
                "restarted": fault.restarted,
                "recovery_s": round(fault.seconds, 3),
            }
        )

    def counts(self) -> dict[str, float]:
        """Calls that were made again and actors that were started anew since the last time."""
        counts = {RETRIES: float(self._num_retries), RESTARTS: float(self._num_restarts)}
        self._num_retries, self._num_restarts = 0, 0
        return counts
