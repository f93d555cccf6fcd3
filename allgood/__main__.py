"""The `allgood` command. The pipelines behind it live in a checkout, not in the wheel; imported only when run."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, or say in one line how to get it."""
    try:
        from pipelines.cli import main as run
    except ModuleNotFoundError as error:
        sys.exit(_missing(error))
    run()


def _missing(error: ModuleNotFoundError) -> str:
    if error.name in ("pipelines", "pipelines.cli"):
        return (
            "error: this installation holds allgood's mathematics only; for the pipelines, "
            "check out the source repository and run `make setup` there"
        )
    return f"error: the pipelines need {error.name}, which is not installed; run `make setup` in the checkout"


if __name__ == "__main__":
    main()
