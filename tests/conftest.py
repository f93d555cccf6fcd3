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

import fcntl
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from actors.cluster.cast import Cast

# A busy machine is no failure.
settings.register_profile("allgood", deadline=None)
settings.load_profile("allgood")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `--dist loadgroup`, tests of faults that share actors run in one process, and the others file by file."""
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("faults"):
            group = "cast" if "tiny_cast" in item.fixturenames else item.path.stem
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test that is marked `alone` runs while no other process runs, sets up or takes down one of faults."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None or item.get_closest_marker("faults") is None:
        return (yield)
    with (Path(tempfile.gettempdir()) / f"allgood-tests-{run}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        return (yield)


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


@pytest.fixture(scope="session")
def tiny_cast(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    """The actors of an alignment of the tiny run: for every test that needs no actors of its own, as they take seconds.

    All bases of `make_base` hold the same policy, so that one cast serves runs on all of them. It scores `short`,
    `vowels`, the reward model `liked` and each property of `FAILING`.
    """
    # Not at the top: pytest may read this file before it installs the checks of shapes in `allgood`.
    from actors.cluster.cast import spawn
    from pipelines.cast.request import align_request
    from tests.pipelines.tiny_run import FAILING, liked, make_base, tiny_config

    folder = tmp_path_factory.mktemp("cast")
    usual = make_base(folder).model_dump(mode="json")["properties"]
    with spawn(align_request(tiny_config(folder, properties=usual | FAILING | {"liked": liked(folder)}))) as cast:
        yield cast
