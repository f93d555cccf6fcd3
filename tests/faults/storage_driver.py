"""A driver whose run is kept on a store, to be killed: `python -m tests.faults.storage_driver FOLDER NAME STORAGE`."""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines.alignment.align import run_align
from pipelines.config.run import RunConfig
from tests.faults.align_driver import long_config


def kept_config(folder: Path, name: str, storage: str) -> RunConfig:
    """The tiny run that is long enough to be killed in, with a copy in `storage`."""
    return long_config(folder, name).model_copy(update={"storage": storage})


if __name__ == "__main__":
    run_align(kept_config(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
