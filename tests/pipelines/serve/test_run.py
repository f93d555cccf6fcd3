"""The command itself: it answers, ends what it has begun when told to stop, and says in one line what is wrong."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from pipelines.cli import app

ROOT = Path(__file__).parents[3]
SLOW = """
properties:
  brief: {kind: function, function: "tests.pipelines.tiny_rewards:slow_short", reference: {kind: constant, value: 0.0}}
"""
START_S = 900.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["absent.yaml"], "there is no file absent.yaml"),
        (["{file}", "host=0.0.0.0"], "ALLGOOD_SERVE_TOKEN must hold a bearer token"),
        (["{file}", "scorers.tasty.max_replicas=3"], "scorers.tasty: there is no such property; there are: brief"),
        (["{file}", "objectives.default=other.yaml"], "the first objective has that name"),
        (["{file}", "prt=8000"], "`prt`"),
    ],
)
def test_a_mistake_is_one_line_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.delenv("ALLGOOD_SERVE_TOKEN", raising=False)
    file = tmp_path / "rewards.yaml"
    file.write_text(SLOW, encoding="utf-8")
    result = CliRunner().invoke(app, ["serve", *(argument.format(file=file) for argument in arguments)])
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.startswith("error: ")


@pytest.mark.faults
def test_sigterm_lets_requests_in_work_end(tmp_path: Path) -> None:
    file = tmp_path / "rewards.yaml"
    file.write_text(SLOW, encoding="utf-8")
    command = [sys.executable, "-m", "allgood", "serve", str(file), "port=0", "scorer.resources.replicas=1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+(?=/readyz)", process.stdout.readline())
            assert found is not None
            wait_until_ready(found[0], process)
            with ThreadPoolExecutor(1) as pool:
                body = {"rows": [{"prompt": "What is tea?", "response": "A drink."}]}
                asked = pool.submit(httpx.post, f"{found[0]}/v1/score", json=body, timeout=240.0)
                time.sleep(0.25)  # the rule takes half a second
                process.send_signal(signal.SIGTERM)
                answer = asked.result()
            assert answer.json()["rows"][0]["ok"]
            assert process.wait(240) == 0
        finally:
            process.kill()


def wait_until_ready(url: str, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        if httpx.get(f"{url}/readyz", timeout=30.0).status_code == 200:
            return
        time.sleep(0.2)
    pytest.fail("the service did not become ready")
