"""Where a process runs, in plain words, without Ray: for the table of what landed where."""

from __future__ import annotations

import os
import socket

import torch


def location() -> dict[str, str | int]:
    """Host, process id and the GPU that this process sees ("" without one)."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "visible_gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
    }
