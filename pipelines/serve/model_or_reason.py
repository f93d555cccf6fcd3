"""The model of a replica, or why there is none, which is said to whoever asks in one sentence.

An exception of a constructor would make Ray Serve try it again and again, and hide the sentence in a traceback.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from allgood.errors import AllgoodError

Model = TypeVar("Model")


class ModellessError(Exception):
    """A replica that started later than the others could not load its model."""


class ModelOrReason(Generic[Model]):
    """What `load` gives, or what it raised, if that is an `AllgoodError`."""

    def __init__(self, load: Callable[[], Model]) -> None:
        self._failure: AllgoodError | None = None
        self._was_asked = False
        try:
            self._model = load()
        except AllgoodError as error:
            self._failure = error

    def check(self) -> None:
        """Return where there is a model.

        Raises:
            AllgoodError: Why there is none.
        """
        if self._failure is not None:
            raise self._failure

    def asked(self) -> Model:
        """The model, for a call.

        Raises:
            ModellessError: This replica has none; another may have.
        """
        self._was_asked = True
        if self._failure is not None:
            raise ModellessError(str(self._failure))
        return self._model

    def check_health(self) -> None:
        """For Ray Serve: a replica without its model is replaced, since files may come back. Not before it is asked:
        at the start `check` says what is wrong, and the service does not begin.

        Raises:
            ModellessError: It has none.
        """
        if self._failure is not None and self._was_asked:
            raise ModellessError(str(self._failure))
