"""Actors that misbehave in one way each. In a module of their own, because workers import classes by name."""

from __future__ import annotations

import os
import signal
import time

from allgood.errors import ModelError, RoleError


class Odd:
    """Answers, refuses, fails, sleeps or dies, as asked."""

    def echo(self, value: int) -> int:
        return value

    def location(self) -> dict[str, int]:
        return {"pid": os.getpid()}

    def refuse(self) -> None:
        raise RoleError("chunk 3 needs policy version 7, but this worker holds version 6")

    def fail(self) -> None:
        raise KeyError("a defect")

    def exhaust(self) -> None:
        raise MemoryError("cannot allocate 3 GB")

    def exhaust_tensors(self) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 3 GB")

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Unborn:
    """Its constructor refuses, as a role's does when a model folder has no weights."""

    def __init__(self) -> None:
        raise ModelError("the model folder '/nowhere' has no weights; write it with save_pretrained")

    def echo(self, value: int) -> int:
        return value


class Stillborn:
    """Its constructor has a defect."""

    def __init__(self) -> None:
        raise ZeroDivisionError("a defect in a constructor")

    def echo(self, value: int) -> int:
        return value
