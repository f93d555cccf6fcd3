"""How the experiments' `python -m` commands end where a user is to mend something; `allgood` has its own in cli.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from allgood.errors import AllgoodError


@contextmanager
def ends_in_one_line() -> Iterator[None]:
    """Turn a mistake of the user and Ctrl-C into one line on standard error, with status 2 and 130."""
    try:
        yield
    except AllgoodError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted: what is finished is kept, and the same command goes on with the rest", file=sys.stderr)
        raise SystemExit(130) from None
