"""The Slurm script, run here with recorders in place of what only a Slurm cluster has."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY

SCRIPT = DEPLOY / "slurm" / "align.sbatch"

# What stands in: srun runs its command once, as task 0; Ray and the driver live until they are ended.
STAND_INS = {
    "scontrol": 'echo "scontrol $*" >> log; [[ $1 != show ]] || echo node1',
    "srun": """while [[ $1 == --* ]]; do shift; done
if [[ $1 == hostname ]]; then echo 10.0.0.1 10.0.0.2; exit; fi
export SLURM_PROCID=0; exec "$@" """,
    "ray": 'echo "ray $*" >> log; stat -c "token %a %s" "$RAY_AUTH_TOKEN_PATH" >> log; exec sleep 60',
    "python": 'echo "python $RAY_AUTH_MODE $RAY_ADDRESS" >> log; echo 2',
    "start": """echo "driver $*" >> log; trap 'echo saved >> log; exit 1' TERM
for n in {1..200}; do sleep 0.1; done""",
}


@pytest.fixture
def job(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The script as a job of two nodes; it lies in `tmp_path` with a checkout that holds the stand-ins."""
    commands = tmp_path / ".venv" / "bin"
    commands.mkdir(parents=True)
    (tmp_path / "deploy").mkdir()
    for name, body in STAND_INS.items():
        file = tmp_path / "deploy" / "start_or_resume.sh" if name == "start" else commands / name
        file.write_text(f"#!/bin/bash\n{body}\n")
        file.chmod(0o755)
    (commands / "activate").write_text(f"export PATH={commands}:$PATH\n")
    environment = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": "41", "SLURM_JOB_NODELIST": "node[1-2]"}
    environment |= {"SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "4"}
    command = ["bash", str(SCRIPT), "run.yaml", "/shared/runs/x"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as process:
        yield process
        process.terminate()


def wait_for(log: Path, words: str) -> str:
    deadline = time.monotonic() + 20
    while words not in (text := log.read_text() if log.exists() else ""):
        assert time.monotonic() < deadline, text
        time.sleep(0.02)
    return text


def test_a_job_has_a_token_of_its_own_and_before_its_end_the_run_is_saved_and_the_job_queued_again(
    tmp_path: Path, job: subprocess.Popen[bytes]
) -> None:
    log = tmp_path / "log"
    wait_for(log, "driver")
    said = wait_for(log, "token 600 64")  # Ray, which starts alongside, may be later
    assert "driver run.yaml /shared/runs/x" in said
    assert "ray start --head --node-ip-address=10.0.0.1 --port=20041 --dashboard-host=127.0.0.1 --num-cpus=4" in said
    assert "python token 10.0.0.1:20041" in said
    job.send_signal(signal.SIGTERM)
    job.wait(timeout=20)
    said = log.read_text()
    assert said.index("saved") < said.index("scontrol requeue 41")
    assert not list(tmp_path.glob(".ray-token*"))


def test_the_directives_ask_for_a_signal_before_the_end_and_a_second_try() -> None:
    directives = dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", SCRIPT.read_text(encoding="utf-8"), re.MULTILINE))
    assert directives["signal"].startswith("B:TERM@")
    assert "requeue" in directives
    assert directives["open-mode"] == "append"  # the log of the first try stays
