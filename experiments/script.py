"""What the experiments' `python -m` commands share; `allgood` has its own in cli.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from allgood.errors import AllgoodError


@contextmanager
def experiment() -> Iterator[None]:
    """One torch thread, because runs go side by side; what a user can fix ends in one line (status 2, Ctrl-C: 130)."""
    torch.set_num_threads(1)
    try:
        yield
    except AllgoodError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted: what is finished is kept, and the same command goes on with the rest", file=sys.stderr)
        raise SystemExit(130) from None
