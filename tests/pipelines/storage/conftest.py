"""Stores of several kinds, all empty."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from pipelines.storage.place import Place, open_place


@pytest.fixture
def memory() -> Place:
    """A place in the memory of this process: quick, for what does not depend on the store."""
    return open_place(f"memory://{uuid.uuid4().hex}/project")


@pytest.fixture(params=["memory", "file"])
def place(request: pytest.FixtureRequest, memory: Place, tmp_path: Path) -> Place:
    """A place on each kind of store that needs no server; `test_s3.py` has the other one."""
    return memory if request.param == "memory" else open_place(f"file://{tmp_path}/store")
