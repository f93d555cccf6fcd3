"""Errors that a user can act on. Each takes one sentence (what, where, what to do), so that it survives pickling.

The command line prints the sentence and exits with a non-zero status; a traceback means a defect of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class AllgoodError(Exception):
    """Base class of every error whose message is meant for the user."""


class ConfigError(AllgoodError):
    """A configuration file or override is wrong."""


class InUseError(ConfigError):
    """Another process works in the same place; the same command may succeed once that has ended."""


class DataError(AllgoodError):
    """A data file or row is wrong."""


class ModelError(AllgoodError):
    """A model or tokenizer folder cannot be used."""


class PlacementError(AllgoodError):
    """The cluster cannot place what the run asks for."""


class ReferenceTableError(AllgoodError):
    """A reference table does not belong to this run, or lacks a prompt."""


class CheckpointError(AllgoodError):
    """A checkpoint is missing, incomplete or damaged."""


class StorageError(AllgoodError):
    """The store that keeps a copy of the run cannot be used, or belongs to another driver."""


class TrainingError(AllgoodError):
    """A training cannot go on: non-finite weights or gradients, or too many failed scores."""


class RoleError(AllgoodError):
    """An actor died, hung or answered for the wrong weight version."""


class ScoringError(RoleError):
    """A scorer raised, or gave another number of rewards than responses; it may still score others."""


@contextmanager
def naming(key: str) -> Iterator[None]:
    """Put `key` before the message of a `ModelError`: whoever loads a model does not know what it is for."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{key}: {error}") from None  # one sentence: the cause says no more


def first_line(error: BaseException) -> str:
    r"""The first line of what an exception of a library says, or its type where it says nothing; for our sentences.

    >>> first_line(ValueError("no such key\nfurther lines"))
    'no such key'
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]
