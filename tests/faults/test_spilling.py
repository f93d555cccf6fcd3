"""Weights larger than the object store, in a container's 64 MB of /dev/shm: Ray spills, and the bits stay the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.faults.spill_driver import STORE_BYTES, large_config, make_large_base
from tests.pipelines.tiny_run import assert_same_run

pytestmark = pytest.mark.slow

IN_A_CONTAINER = (
    "unshare",
    "--mount",
    "--",
    "sh",
    "-c",
    'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$@"',
    "sh",
)


def run(folder: Path, name: str, before: tuple[str, ...] = (), **environment: str) -> None:
    command = [*before, sys.executable, "-m", "tests.faults.spill_driver", str(folder), name]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=500, env={**os.environ, **environment}
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def test_a_run_whose_weights_exceed_the_object_store_spills_them_and_ends_with_the_same_bits(tmp_path: Path) -> None:
    if subprocess.run([*IN_A_CONTAINER, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting in a namespace of its own needs rights that this process does not have")
    make_large_base(tmp_path)
    run(tmp_path, "roomy")
    with tempfile.TemporaryDirectory(prefix="ray") as ray_folder:  # short: sockets lie in it
        limit = {"RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": str(STORE_BYTES), "RAY_TMPDIR": ray_folder}
        run(tmp_path, "tight", IN_A_CONTAINER, **limit)
        logs = "".join(log.read_text(errors="replace") for log in Path(ray_folder).rglob("raylet.out"))
    spilled = re.findall(r"Spilled (\d+) MiB", logs)
    assert spilled, "nothing was spilled"
    assert int(spilled[-1]) >= 64  # a part of a version
    assert_same_run(large_config(tmp_path, "roomy"), large_config(tmp_path, "tight"))
