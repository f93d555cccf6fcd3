"""A learner whose process may not take the memory of a whole micro-batch: the update is made in halves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.actors import tiny_models
from tests.faults.update_driver import ARM

pytestmark = pytest.mark.slow  # by how much a process grows differs from start to start, and once the halves failed too

# Else glibc keeps free blocks of up to 32 MB in its heap, and reserves 64 MB per thread; the limit counts both.
FREED_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "1000000", "MALLOC_ARENA_MAX": "1"}


def update(policy: str, out: Path, *room: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.faults.update_driver", policy, str(out), *map(str, room)]
    environment = {**os.environ, **FREED_AT_ONCE}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_an_update_without_the_memory_for_it_is_that_of_the_whole_micro_batch_up_to_rounding(tmp_path: Path) -> None:
    policy = tiny_models.save_policy(tmp_path / "policy")
    whole = update(policy, tmp_path / "whole")
    halved = update(policy, tmp_path / "halved", int(0.75 * whole["taken"]))
    assert whole["reasons"] == []
    (reason,) = halved["reasons"]
    assert "ran out of memory" in reason
    assert "can't allocate memory" in reason
    assert halved["gradient_norm"] == pytest.approx(whole["gradient_norm"], rel=1e-4)
    expected, found = load_file(tmp_path / "whole"), load_file(tmp_path / "halved")
    for name, array in expected.items():  # AdamW's first step divides a gradient by its size: rounding may decide it
        np.testing.assert_allclose(found[name], array, atol=0.01 * ARM.optimizer.learning_rate)
