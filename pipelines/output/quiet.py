"""Loading and saving models without transformers' own bars and warnings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import transformers


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without transformers' bars and its table of new weights: we check those ourselves."""
    logging_of_transformers = transformers.utils.logging
    level, bars = logging_of_transformers.get_verbosity(), logging_of_transformers.is_progress_bar_enabled()
    logging_of_transformers.set_verbosity_error()
    logging_of_transformers.disable_progress_bar()
    try:
        yield
    finally:
        logging_of_transformers.set_verbosity(level)
        if bars:
            logging_of_transformers.enable_progress_bar()
