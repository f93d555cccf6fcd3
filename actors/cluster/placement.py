"""Admission: does the cluster hold what the roles ask for, and what goes where? A pure function of plain values.

Ray lets a request that no node can meet wait for ever; here it is refused at once, with one table that says, per role,
what it wants, what the cluster has, and why that is not enough. GPUs are counted as Ray does: more than one must be a
whole number, and a fraction never spans two GPUs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import AfterValidator, ConfigDict, Field

from actors.tables import BARS, text_table
from allgood.errors import PlacementError

ACCELERATOR_LABEL = "ray.io/accelerator-type"
ACCELERATOR_RESOURCE = "accelerator_type:"  # prefix of the older custom resource

_EPSILON = 1e-6  # sums of fractions such as 0.1 + 0.2 must still fit
_MAX_TRIALS = 20_000  # bounds the search on clusters where first choices do not work out


def _readable(expression: str) -> str:
    try:
        accelerator_matcher(expression)
    except PlacementError as error:
        raise ValueError(str(error)) from error
    return expression


def _whole_above_one(gpus: float) -> float:
    if gpus > 1 and gpus != round(gpus):
        raise ValueError(f"{gpus:g} GPUs cannot be given; a fraction shares one GPU, above 1 only whole numbers")
    return gpus


Accelerator = Annotated[str, AfterValidator(_readable)]
Gpus = Annotated[float, Field(ge=0), AfterValidator(_whole_above_one)]


@dataclass(frozen=True)
class Resources:
    """Resources of one role. Each replica is one Ray actor with these resources."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)  # as `placement`

    replicas: Annotated[int, Field(ge=1)] = 1
    cpus: Annotated[float, Field(ge=0, description="CPUs reserved per replica (accounting, as in Ray)")] = 1.0
    gpus: Annotated[
        Gpus, Field(description="GPUs per replica; fractions share one GPU, above 1 only whole numbers")
    ] = 0.0
    memory_gb: Annotated[float | None, Field(gt=0, description="memory reserved per replica, in GB")] = None
    accelerator: Annotated[
        Accelerator | None,
        Field(description="accelerator type: 'H100', '!T4', 'in(T4,L4)' or '!in(T4,L4)'; absent means any node"),
    ] = None


@dataclass(frozen=True)
class Request:
    """What a role asks for."""

    role: str
    resources: Resources = Resources()


@dataclass(frozen=True)
class Node:
    """A node and what is free on it. `gpus` is the free share of each of its GPUs, 1.0 where nobody uses it."""

    node_id: str
    name: str
    cpus: float
    gpus: tuple[float, ...] = ()
    memory_gb: float = 0.0
    accelerators: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Assignment:
    """One replica on one node."""

    role: str
    replica: int
    node_id: str
    node: str
    accelerators: frozenset[str]
    cpus: float
    gpus: float
    memory_gb: float | None


def admit(requests: Sequence[Request], nodes: Sequence[Node]) -> list[Assignment]:
    """Place every replica of every request, in the order of the requests.

    Raises:
        PlacementError: A request is malformed, or the cluster cannot hold all of them. The message is a table.
    """
    for request in requests:
        _check(request)
    chosen = _search([request.resources for request in requests], nodes)
    if chosen is None:
        raise PlacementError(_refusal(requests, nodes))
    return [
        Assignment(
            role=request.role,
            replica=replica,
            node_id=node.node_id,
            node=node.name,
            accelerators=node.accelerators,
            cpus=request.resources.cpus,
            gpus=request.resources.gpus,
            memory_gb=request.resources.memory_gb,
        )
        for request, hosts in zip(requests, chosen, strict=True)
        for replica, node in enumerate(hosts)
    ]


def accelerator_matcher(expression: str | None) -> Callable[[frozenset[str]], bool]:
    """Compile "H100", "!T4", "in(T4,L4)" or "!in(T4,L4)" to a test of a node's accelerator types.

    As with Ray's label selectors, a node without any accelerator passes a negative expression.
    """
    if expression is None:
        return lambda accelerators: True
    listed = re.fullmatch(r"(!?)in\(([^()!]+)\)", expression.strip())
    single = re.fullmatch(r"(!?)([\w./+-]+)", expression.strip())
    if listed:
        negative, names = listed[1] == "!", frozenset(name.strip() for name in listed[2].split(","))
    elif single:
        negative, names = single[1] == "!", frozenset([single[2]])
    else:
        raise PlacementError(
            f"accelerator {expression!r} cannot be read; write 'H100', '!T4', 'in(T4,L4)' or '!in(T4,L4)'"
        )
    return lambda accelerators: bool(accelerators & names) != negative


class _Ledger:
    """What is left on each node while replicas are tried out."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self._cpus = [node.cpus for node in nodes]
        self._memory = [node.memory_gb for node in nodes]
        self._gpus = [list(node.gpus) for node in nodes]

    def take(self, needs: Resources, index: int) -> Callable[[], None] | None:
        """Book one replica on node `index`; returns what undoes it, or None when it does not fit."""
        memory = needs.memory_gb or 0.0
        slots = self._slots(needs.gpus, index)
        if slots is None or needs.cpus > self._cpus[index] + _EPSILON or memory > self._memory[index] + _EPSILON:
            return None
        share = needs.gpus / max(1, len(slots))
        self._book(index, needs.cpus, memory, slots, share)
        return lambda: self._book(index, -needs.cpus, -memory, slots, -share)

    def _book(self, index: int, cpus: float, memory: float, slots: Sequence[int], share: float) -> None:
        self._cpus[index] -= cpus
        self._memory[index] -= memory
        for slot in slots:
            self._gpus[index][slot] -= share

    def _slots(self, gpus: float, index: int) -> list[int] | None:
        """The GPUs that a replica gets: whole free ones, or the fullest one that still holds the fraction."""
        free = self._gpus[index]
        if gpus == 0:
            return []
        if gpus < 1:
            fitting = [slot for slot in range(len(free)) if free[slot] + _EPSILON >= gpus]
            return [min(fitting, key=lambda slot: (free[slot], slot))] if fitting else None
        whole = [slot for slot in range(len(free)) if free[slot] >= 1 - _EPSILON]
        return whole[: round(gpus)] if len(whole) >= round(gpus) else None


def _search(all_needs: Sequence[Resources], nodes: Sequence[Node]) -> list[list[Node]] | None:
    """Hosts of every role's replicas, by backtracking over the hardest roles first; None when there are none."""
    ledger = _Ledger(nodes)
    order = sorted(range(len(all_needs)), key=lambda index: _difficulty(all_needs[index], nodes))
    queue = [index for index in order for _ in range(all_needs[index].replicas)]
    hosts: list[int] = []
    trials = 0

    def place(position: int) -> bool:
        nonlocal trials
        if position == len(queue):
            return True
        needs = all_needs[queue[position]]
        # Replicas of one role are alike, so only placements in ascending order are looked at.
        first = hosts[-1] if position and queue[position - 1] == queue[position] else 0
        for index in _candidates(needs, nodes, first):
            trials += 1
            undo = ledger.take(needs, index) if trials <= _MAX_TRIALS else None
            if undo is None:
                continue
            hosts.append(index)
            if place(position + 1):
                return True
            hosts.pop()
            undo()
        return False

    if not place(0):
        return None
    return [
        [nodes[host] for host, owner in zip(hosts, queue, strict=True) if owner == index]
        for index in range(len(all_needs))
    ]


def _candidates(needs: Resources, nodes: Sequence[Node], first: int) -> Iterator[int]:
    matches = accelerator_matcher(needs.accelerator)
    fitting = [index for index in range(first, len(nodes)) if matches(nodes[index].accelerators)]
    # A role without GPUs leaves the nodes that have them to the others, as long as it can.
    yield from sorted(fitting, key=lambda index: (index, 0) if needs.gpus else (bool(nodes[index].gpus), index))


def _difficulty(needs: Resources, nodes: Sequence[Node]) -> tuple[float, ...]:
    matches = accelerator_matcher(needs.accelerator)
    hosts = sum(1 for node in nodes if matches(node.accelerators) and _Ledger([node]).take(needs, 0) is not None)
    return (hosts, -needs.gpus, -needs.cpus, -(needs.memory_gb or 0.0))


def _check(request: Request) -> None:
    role, needs = request.role, request.resources
    accelerator_matcher(needs.accelerator)
    if needs.replicas < 1:
        raise PlacementError(f"role {role!r} asks for {needs.replicas} replicas; it needs at least 1")
    if min(needs.cpus, needs.gpus, needs.memory_gb or 0.0) < 0:
        raise PlacementError(f"role {role!r} asks for a negative amount: {_wants(needs)}")
    if needs.gpus > 1 and needs.gpus != round(needs.gpus):
        raise PlacementError(f"role {role!r} asks for {needs.gpus:g} GPUs; above 1 only whole numbers are possible")


def _refusal(requests: Sequence[Request], nodes: Sequence[Node]) -> str:
    all_needs = [request.resources for request in requests]
    rows = [
        (request.role, _wants(needs), _has(needs, nodes), _why_not(needs, nodes))
        for request, needs in zip(requests, all_needs, strict=True)
    ]
    if all(row[3] == "" for row in rows):
        stuck = _first_that_fails(all_needs, nodes)
        rows = [
            (*row[:3], "fits alone, not alongside the roles above" if index == stuck else "")
            for index, row in enumerate(rows)
        ]
    header = ("role", "wants", "cluster has free", "why not")
    table = text_table(header, [(*row[:3], row[3] or "fits") for row in rows], between=BARS)
    problem = "the cluster cannot place this run; change `placement` (of a training: its workers) or add nodes:"
    return "\n".join([problem, *table])


def _first_that_fails(all_needs: Sequence[Resources], nodes: Sequence[Node]) -> int:
    return next(index for index in range(len(all_needs)) if _search(all_needs[: index + 1], nodes) is None)


def _why_not(needs: Resources, nodes: Sequence[Node]) -> str:
    """Why this role alone cannot be placed; "" when it can."""
    if _search([needs], nodes) is not None:
        return ""
    matches = accelerator_matcher(needs.accelerator)
    matching = [node for node in nodes if matches(node.accelerators)]
    if not matching:
        return f"no node matches accelerator {needs.accelerator}"
    if _search([replace(needs, replicas=1)], matching) is not None:
        return f"only {_most_replicas(needs, matching)} of {needs.replicas} replicas fit"
    if (
        needs.gpus
        and max(sum(share >= min(needs.gpus, 1) - _EPSILON for share in node.gpus) for node in matching) < needs.gpus
    ):
        return "no matching node has that many free GPUs"
    if needs.cpus > max(node.cpus for node in matching) + _EPSILON:
        return "no matching node has that many free CPUs"
    if (needs.memory_gb or 0.0) > max(node.memory_gb for node in matching) + _EPSILON:
        return "no matching node has that much free memory"
    return "no matching node has all of it at once"


def _most_replicas(needs: Resources, nodes: Sequence[Node]) -> int:
    count = 1
    while _search([replace(needs, replicas=count + 1)], nodes) is not None:
        count += 1
    return count


def _wants(needs: Resources) -> str:
    parts = [f"{needs.replicas} x {needs.cpus:g} CPU"]
    if needs.gpus:
        parts.append(f"{needs.gpus:g} GPU")
    if needs.memory_gb:
        parts.append(f"{needs.memory_gb:g} GB")
    return " + ".join(parts) + (f" on {needs.accelerator}" if needs.accelerator else "")


def _has(needs: Resources, nodes: Sequence[Node]) -> str:
    """The kinds of nodes, free resources per node; memory only where the role asks for it."""
    kinds: dict[str, int] = {}
    for node in nodes:
        parts = [f"{node.cpus:g} CPU"]
        if node.gpus or node.accelerators:
            parts.append(f"{sum(node.gpus):g} {'/'.join(sorted(node.accelerators)) or 'GPU'}")
        if needs.memory_gb:
            parts.append(f"{node.memory_gb:.1f} GB")
        kinds[" + ".join(parts)] = kinds.get(" + ".join(parts), 0) + 1
    return ", ".join(f"{count} x ({kind})" for kind, count in kinds.items()) or "no nodes"
