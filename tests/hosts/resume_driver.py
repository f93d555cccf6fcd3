"""A driver that has nothing but the address of a run: `python -m tests.hosts.resume_driver URL`."""

from __future__ import annotations

import sys

from allgood.errors import AllgoodError
from pipelines.alignment.align import resume
from pipelines.alignment.bring_back import bring_back

if __name__ == "__main__":
    try:
        resume(bring_back(sys.argv[1]))
    except AllgoodError as error:  # as the command line does
        sys.exit(f"Error: {error}")
