"""The one place that waits for actors: every death, hang and refusal comes back as one sentence with a name in it.

`ask` is for coroutines (the driver's loop), `ask_blocking` for code without an event loop. Both raise

* the actor's own `AllgoodError`, unwrapped from Ray's task error, when the actor refused;
* a `RoleError` naming role, replica, node and phase: one of `actors.faults` when the actor died, did not answer in
  time or was given something that is lost, so that another try may help.

Any other exception inside an actor is a defect of ours and propagates as it is, with the same names in a note.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import (
    GetTimeoutError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    TaskCancelledError,
)

from actors.faults import ActorHungError, ActorLostError, LearnerLostError, LostObjectError
from allgood import errors
from allgood.errors import AllgoodError, RoleError

LEARNER = "learner"  # the role whose actors hold progress


@dataclass(frozen=True)
class Who:
    """Whom a question is put to; `node` is empty while unknown."""

    role: str
    replica: int = 0
    node: str = ""

    def __str__(self) -> str:
        return f"{self.role} {self.replica}" + (f" on {self.node}" if self.node else "")


@dataclass(frozen=True)
class ActorNames:
    """What another process needs in order to find a cast: its name and who is in it. Travels.

    `wait_s` is how long an actor that was lost may take to come back.
    """

    name: str
    namespace: str
    members: tuple[Who, ...]
    wait_s: float = 120.0


async def ask(
    method: Any,
    *arguments: Any,
    who: Who,
    phase: str,
    deadline_s: float,
    after: asyncio.Future[None] | None = None,
) -> Any:
    """Call an actor method and await its answer for at most `deadline_s` seconds.

    Args:
        method: A method handle of an actor, such as `worker.generate`.
        arguments: Positional arguments; object references are resolved by Ray on the actor's side.
        who: Names for the error message.
        phase: What is being done, for the error message: "generate", "score", "update".
        deadline_s: The wait ends after this many seconds. The actor itself is not killed.
        after: The end of the call that the actor is busy with; the seconds count from there.

    Raises:
        AllgoodError: what the actor raised, or `RoleError` when it died or did not answer.
    """
    answer = asyncio.wrap_future(method.remote(*arguments).future())
    try:
        if after is not None and not after.done():
            await asyncio.wait([answer, after], return_when=asyncio.FIRST_COMPLETED)
        return await asyncio.wait_for(answer, deadline_s)
    except (TimeoutError, RayError) as error:
        raise explain(error, who=who, phase=phase, deadline_s=deadline_s) from error
    finally:
        answer.cancel()  # where this was cancelled; an answer that is there stays


def ask_blocking(method: Any, *arguments: Any, who: Who, phase: str, deadline_s: float) -> Any:
    """`ask` for code without an event loop."""
    return wait_for(method.remote(*arguments), who=who, phase=phase, deadline_s=deadline_s)


def wait_for(reference: ray.ObjectRef[Any], *, who: Who, phase: str, deadline_s: float) -> Any:
    """Wait for an answer that was asked for earlier, with the errors of `ask`."""
    try:
        return ray.get(reference, timeout=deadline_s)
    except (TimeoutError, RayError) as error:
        raise explain(error, who=who, phase=phase, deadline_s=deadline_s) from error


def explain(error: BaseException, *, who: Who, phase: str, deadline_s: float) -> BaseException:
    """The error to raise in place of Ray's."""
    if isinstance(error, RayTaskError):
        return _own_error(error, who, phase)
    if isinstance(error, GetTimeoutError | TimeoutError):
        kind = LearnerLostError if who.role == LEARNER else ActorHungError
        return kind(
            f"{who} hung in {phase}: no answer within {deadline_s:g} s; see its log, or raise placement.deadline_s"
        )
    if isinstance(error, RayActorError):
        return _actor_error(error, who, phase)
    if isinstance(error, OutOfMemoryError):
        return _lost(who)(
            f"{who} was killed in {phase} because its node ran out of memory; use smaller batches or more memory"
        )
    if isinstance(error, ObjectLostError):
        return _lost(who)(f"{who} answered in {phase}, but the answer was lost with its node before it was read")
    if isinstance(error, TaskCancelledError):
        return RoleError(f"{who} was cancelled in {phase}")
    return error


def _own_error(error: RayTaskError, who: Who, phase: str) -> BaseException:
    cause = error.cause
    if isinstance(cause, AllgoodError):
        return cause
    if isinstance(cause, RayActorError | OutOfMemoryError | ObjectLostError):  # it waited for another actor, which died
        return LostObjectError(f"{who} could not {phase}: {reason_of(str(cause))}")
    if _is_out_of_memory(cause):
        return RoleError(f"{who} ran out of memory in {phase}: {_first_line(str(cause))}; use smaller batches")
    error.add_note(f"raised by {who} in {phase}")
    return error


def _is_out_of_memory(cause: BaseException) -> bool:
    """By name and by text: torch, whose errors these are, is not imported here."""
    if isinstance(cause, MemoryError) or type(cause).__name__ == "OutOfMemoryError":
        return True
    return isinstance(cause, RuntimeError) and "can't allocate memory" in str(cause)


def _actor_error(error: RayActorError, who: Who, phase: str) -> AllgoodError:
    own = _constructor_error(str(error))
    if own is not None:
        return own
    if error.actor_init_failed:
        return RoleError(f"{who} could not start: {last_line(str(error))}")
    kind = "was unreachable" if type(error).__name__ == "ActorUnavailableError" else "died"
    return _lost(who)(f"{who} {kind} in {phase}: {reason_of(str(error))}; see its log")


def _lost(who: Who) -> type[ActorLostError]:
    return LearnerLostError if who.role == LEARNER else ActorLostError


def _constructor_error(message: str) -> AllgoodError | None:
    """An AllgoodError raised by an actor's constructor: Ray keeps only its text, at the end of a traceback."""
    found = re.search(r"^allgood\.errors\.(\w+): (.+)\Z", message, flags=re.MULTILINE | re.DOTALL)
    if found is None:
        return None
    kind: type[AllgoodError] = vars(errors).get(found[1], RoleError)
    return kind(found[2].strip())


def reason_of(message: str) -> str:
    """The sentence of Ray's message that says why, without its full stop, table of ids and list of possible causes."""
    has_table = "\n\t" in message  # what comes before it says that something happened, what comes after it why
    lines = [line for line in message.splitlines()[1:] if line and not line.startswith("\t")] if has_table else []
    return re.split(r"\.\s+(?=[A-Z])", _first_line(lines[0] if lines else message))[0].rstrip(".")


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason given"


def last_line(text: str) -> str:
    """The last line of a message, which says why in a traceback."""
    return text.strip().splitlines()[-1] if text.strip() else "no reason given"
