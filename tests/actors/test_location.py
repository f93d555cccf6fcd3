"""What a process says about where it runs, and when that decides bits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from actors import location as module
from actors.location import computes_otherwise, location, processor, usable_cores


def test_a_process_knows_itself() -> None:
    here = location()
    assert here["pid"] == os.getpid()
    assert here["threads"] == torch.get_num_threads()
    assert torch.backends.cpu.get_cpu_capability() in processor() == here["cpu"]


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("9000000 100000", 8)]
)
def test_a_container_has_the_cores_of_its_quota(
    quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(module, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8))
    assert usable_cores() == cores


def test_without_a_quota_the_cores_are_those_that_the_process_is_bound_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_QUOTA", tmp_path / "absent")
    assert usable_cores() == len(os.sched_getaffinity(0))


def test_other_threads_another_gpu_or_processor_make_other_bits() -> None:
    here = {"threads": 1, "gpu": "", "cpu": "A (AVX2)", "pid": 1}
    assert computes_otherwise(here, {**here, "pid": 2}) is None
    assert computes_otherwise(here, {**here, "threads": 2}) == "threads 1 before, 2 now"
    assert computes_otherwise(here, {**here, "gpu": "H100"}) == "GPU none before, H100 now"
    assert computes_otherwise(here, {**here, "cpu": "A (AVX512)"}) == "processor A (AVX2) before, A (AVX512) now"


def test_beside_a_gpu_the_processor_decides_nothing() -> None:
    here = {"threads": 1, "gpu": "H100", "cpu": "A"}
    assert computes_otherwise(here, {**here, "cpu": "B"}) is None
    assert computes_otherwise({"cpu": "B"}, {"cpu": "B", "threads": 2}) is None  # stored before threads were
