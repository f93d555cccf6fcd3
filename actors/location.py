"""Where a process runs, in plain words, without Ray: for the table of what landed where."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

_PROCESSORS = Path("/proc/cpuinfo")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of processor time per period, or "max"


def location() -> dict[str, str | int]:
    """Host, process id, processor, threads, and the GPU that this process sees ("" without one)."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "visible_gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "cpu": processor(),
        "threads": torch.get_num_threads(),
    }


def processor() -> str:
    """The kind of processor, as far as it decides bits: its model, and the instructions that torch uses there."""
    names = [line.partition(":")[2].strip() for line in _lines(_PROCESSORS) if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()} ({torch.backends.cpu.get_cpu_capability()})"


def usable_cores() -> int:
    """Cores that this process may use: those it is bound to, and not more than its container's share of time."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = next(iter(_lines(_QUOTA)), "max").partition(" ")
    return bound if not quota.isdigit() else max(1, min(bound, int(quota) // int(period)))


def computes_otherwise(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """What makes a process compute other bits than one before it did, in words; None where nothing is known to.

    Both are what `location` says. A GPU decides where there is one, else the processor.
    """
    for key, what in (("threads", "threads"), ("gpu", "GPU"), *([] if now.get("gpu") else [("cpu", "processor")])):
        if key in before and before[key] != now[key]:
            return f"{what} {before[key] or 'none'} before, {now[key] or 'none'} now"
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:  # no such file on this system
        return []
