"""A plan in sentences and tables, line by line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from actors.cluster.placement import Assignment, amounts_of
from actors.tables import BARS, text_table
from pipelines.planning.loads import Load
from pipelines.planning.plan import Plan, Speed

_PLACES = ("role", "replica", "node", "accelerator", "resources of each", "threads")
_MEMORY = ("where", "who", "needs about", "of")
_SPEED = ("role", "seconds per chunk", "replicas", "busy", "recommended", "busy then")


def plan_lines(plan: Plan) -> Iterator[str]:
    """The whole plan."""
    yield f"{plan.name}: what goes where"
    yield from text_table(_PLACES, list(_place_rows(plan.assignments)), between=BARS)
    yield ""
    yield "memory, estimated per GPU and per node"
    yield from text_table(_MEMORY, [_load_row(load) for load in plan.loads], between=BARS)
    yield from plan.remedies
    yield ""
    if plan.speed is None:
        yield "no speed is predicted: nothing was measured yet; give --measured RUN, or --seconds for each role"
    else:
        yield from _speed_lines(plan.speed)


def _place_rows(assignments: Sequence[Assignment]) -> Iterator[list[str]]:
    for (role, node), group in groupby(assignments, key=lambda assignment: (assignment.role, assignment.node)):
        replicas = list(group)
        first = replicas[0]
        yield [
            role,
            ", ".join(str(each.replica) for each in replicas[:3])
            + (f" to {replicas[-1].replica}" if replicas[3:] else ""),
            node,
            ("/".join(sorted(first.accelerators)) or "GPU") if first.needs.gpus else "none",
            amounts_of(first.needs),
            str(first.threads),
        ]


def _load_row(load: Load) -> list[str]:
    who = [
        f"{count} x {role}" if count > 1 else role
        for role in dict.fromkeys(load.roles)
        for count in [load.roles.count(role)]
    ]
    where = f"{load.node}, GPU {load.gpu}" if load.gpu is not None else f"{load.node}, main memory"
    has = "unknown" if load.has_gb is None else f"{load.has_gb:.1f} GB"
    return [where, ", ".join(who), f"{load.needed_gb:.1f} GB", f"{has}{' (too little)' if load.is_too_much else ''}"]


def _speed_lines(speed: Speed) -> Iterator[str]:
    yield f"speed, from {speed.measured.source}"
    yield from text_table(_SPEED, list(_speed_rows(speed)), between=BARS)
    seconds = speed.now.seconds
    measured = speed.measured.step_seconds
    compared = "" if measured is None else f" ({measured:.3g} s were measured)"
    yield f"as it is: {seconds:.3g} s per step{compared}, {speed.now.steps_per_hour:.4g} steps per hour"
    if speed.then is None or speed.recommended is None:
        chunks = speed.measured.seconds.num_chunks
        yield (
            f"no other replicas that this cluster has room for would be faster; a step has {chunks} "
            f"chunk{'s' * (chunks > 1)}, and more replicas than that have nothing to do"
        )
    else:
        yield (
            f"recommended: {speed.then.seconds:.3g} s per step, {speed.then.steps_per_hour:.4g} steps per hour, with "
            + " ".join(
                f"{_key(role)}={count}" for role, count in speed.recommended.items() if count != speed.replicas[role]
            )
        )


def _speed_rows(speed: Speed) -> Iterator[list[str]]:
    for role, busy in speed.now.busy.items():
        each = speed.measured.seconds.per_chunk.get(role)
        count = speed.replicas.get(role)
        then = None if speed.recommended is None else speed.recommended.get(role)
        yield [
            role,
            f"{each:.3g}" if each is not None else f"{speed.measured.seconds.update:.3g} per step",
            str(count) if count is not None else "as given",
            f"{busy:.0%}",
            str(then) if then is not None else "–",
            f"{speed.then.busy[role]:.0%}" if speed.then is not None else "–",
        ]


def _key(role: str) -> str:
    """The key of a run file with a role's replicas."""
    if role.startswith("reward."):
        return f"properties.{role.removeprefix('reward.')}.placement.replicas"
    return f"placement.{role}.replicas"
