"""What is kept of failures that a run got over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from actors.cluster.recovery import Fault
from actors.cluster.supervision import Who
from pipelines.cast.faults import FaultLog

DEATH = Fault(Who("rollout", 1, "10.0.0.7"), "generate", "rollout 1 on 10.0.0.7 died in generate", 8.25, True)
SAME_DEATH = Fault(Who("rollout", 1, "10.0.0.7"), "generate", "rollout 1 on 10.0.0.7 died in generate", 8.0, False)


def test_faults_are_said_written_and_counted_until_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = FaultLog(tmp_path / "faults.jsonl")
    log(DEATH)
    log(SAME_DEATH)
    assert log.counts() == {"ops.retries": 2, "ops.restarts": 1}
    assert log.counts() == {"ops.retries": 0, "ops.restarts": 0}
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "rollout 1 on 10.0.0.7 died in generate; started anew after 8.2 s, and its work is done again"
    assert "there again after 8.0 s" in said[1]
    first, _ = [json.loads(line) for line in (tmp_path / "faults.jsonl").read_text().splitlines()]
    assert first.pop("time") > 0
    assert first == {
        "role": "rollout",
        "replica": 1,
        "node": "10.0.0.7",
        "phase": "generate",
        "reason": "rollout 1 on 10.0.0.7 died in generate",
        "restarted": True,
        "recovery_s": 8.25,
    }
