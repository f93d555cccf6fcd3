"""What all tests share: one thread per process, and one Ray per process of tests."""

from __future__ import annotations

import os

# Before torch is imported anywhere: tests run side by side, and the thread count decides bits (see the design).
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")  # actors of a cast could not use those processes
os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from collections.abc import Iterator

import pytest
from hypothesis import settings

# A busy machine is no failure.
settings.register_profile("allgood", deadline=None)
settings.load_profile("allgood")


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A private Ray of 8 logical CPUs without dashboard; started once per process of tests: it takes seconds."""
    import ray

    ray.init(
        address="local",
        namespace="allgood",
        num_cpus=8,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=300 * 2**20,
    )
    yield
    ray.shutdown()
