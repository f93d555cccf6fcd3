"""A cluster of its own with Ray's token on: who has the token may submit a run, who has none is refused everywhere."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.config.loading import save_config
from pipelines.output.metrics_log import MetricsLog
from tests.pipelines.tiny_run import CONSTANT, make_base, tiny_config

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]
COMMANDS = Path(sys.executable).parent
LIMIT_S = 900.0
CLIENT = "import ray; ray.init(address='auto', log_to_driver=False); print(len(ray.nodes()), 'node')"


@dataclass(frozen=True)
class Head:
    """A running head: its addresses, the environment of somebody with the token, and of somebody without."""

    gcs: str
    dashboard: str
    log: Path
    member: dict[str, str]
    stranger: dict[str, str]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    folder = tmp_path_factory.mktemp("head")
    token = folder / "token"
    token.write_text(secrets.token_hex(32), encoding="utf-8")
    token.chmod(0o600)
    (folder / "home").mkdir()
    bare = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    bare |= {"HOME": str(folder / "home"), "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    bare["PATH"] = f"{COMMANDS}:{bare['PATH']}"  # jobs call `python`
    member = bare | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    command = [COMMANDS / "ray", "start", "--head", "--block", "--port=0", "--dashboard-port=0", "--num-cpus=8"]
    command += ["--dashboard-agent-listen-port=0"]  # its own is taken where another Ray runs on the machine
    session = Path(tempfile.mkdtemp(prefix="r"))  # pytest's own are too long for the sockets of Ray's dashboard
    command += [f"--temp-dir={session}", "--object-store-memory=200000000"]
    log = folder / "head.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=member, cwd=folder, start_new_session=True
        )
    try:
        said = _wait_for(log, r"job submit", process)
        gcs = re.search(r"--address='([\d.:]+)'", said)
        dashboard = re.search(r"'(http://[\d.:]+)' ray job submit", said)
        assert gcs
        assert dashboard
        yield Head(gcs[1], dashboard[1], log, member, bare)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=240)
        shutil.rmtree(session, ignore_errors=True)


def _wait_for(log: Path, pattern: str, process: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + LIMIT_S
    while not re.search(pattern, text := log.read_text(encoding="utf-8")):
        assert process.poll() is None, text
        assert time.monotonic() < end, text
        time.sleep(0.1)
    return text


def _run(command: list[str | Path], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )


def _submit(head: Head, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Submit a job, again while the head's agent has not registered yet: a head is up some seconds before it."""
    command: list[str | Path] = [COMMANDS / "ray", "job", "submit", "--working-dir", ".", "--", *words]
    end = time.monotonic() + LIMIT_S
    while True:
        answer = _run(command, environment | {"RAY_ADDRESS": head.dashboard})
        if "No available agent" not in answer.stderr or time.monotonic() > end:
            return answer
        time.sleep(1.0)


def test_a_client_without_the_token_is_refused(head: Head) -> None:
    client = [sys.executable, "-c", CLIENT]
    known = _run(client, head.member | {"RAY_ADDRESS": head.gcs})
    assert "1 node" in known.stdout, known.stderr
    for mode in ("disabled", "token"):
        wrong = {"RAY_AUTH_MODE": mode, "RAY_ADDRESS": head.gcs, "RAY_AUTH_TOKEN": "0" * 64}
        unknown = _run(client, head.stranger | wrong)
        assert unknown.returncode != 0
        assert "node" not in unknown.stdout
        assert re.search("(?i)authenticat|token", unknown.stderr), unknown.stderr[-2000:]


def test_a_job_of_a_stranger_is_refused_and_that_of_a_member_aligns(head: Head, tmp_path: Path) -> None:
    make_base(tmp_path)
    config = tiny_config(tmp_path, "job", properties=CONSTANT)
    run_file = tmp_path / "job.yaml"
    save_config(config, run_file)
    refused = _submit(head, head.stranger | {"RAY_AUTH_MODE": "disabled"}, "true")
    assert refused.returncode != 0
    done = _submit(head, head.member, "python", "-m", "pipelines.cli", "align", str(run_file))
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert f"joining the Ray cluster at {head.gcs}" in done.stdout + done.stderr
    assert [row["step"] for row in MetricsLog(config.folder / "metrics.jsonl").read()] == [1, 2, 3, 4, 5, 6]
    assert json.loads((config.folder / "summary.json").read_text())["steps"] == 6
    secret = Path(head.member["RAY_AUTH_TOKEN_PATH"]).read_text(encoding="utf-8")
    for file in [path for path in config.folder.rglob("*") if path.is_file()]:
        assert secret.encode() not in file.read_bytes(), file
    assert secret not in done.stdout + done.stderr + head.log.read_text(encoding="utf-8")
