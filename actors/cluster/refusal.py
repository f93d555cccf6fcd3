"""Why a cluster cannot hold what the roles ask for: a table with a row per role, and what would help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from actors.cluster.nearest import nearest_change
from actors.cluster.placement import Node, Request, Resources, amounts_of
from actors.cluster.search import EPSILON, search
from actors.tables import BARS, text_table

_HEADER = ("role", "wants", "cluster has free", "why not")


def refusal(requests: Sequence[Request], nodes: Sequence[Node]) -> str:
    """A sentence, the table, and a line per role that does not fit."""
    reasons = [_why_not(request, nodes) for request in requests]
    if not any(reasons):
        stuck = _first_that_fails(requests, nodes)
        reasons[stuck] = "fits alone, not alongside the roles above"
    fitting = [request for request, reason in zip(requests, reasons, strict=True) if not reason]
    rows = [
        (request.role, wants(request.resources), _has(request.resources, nodes), reason or "fits")
        for request, reason in zip(requests, reasons, strict=True)
    ]
    changes = [
        f"{request.role} would fit with {nearest_change(request, fitting, nodes)}"
        for request, reason in zip(requests, reasons, strict=True)
        if reason
    ]
    problem = "the cluster cannot place this run; change `placement` (of a training: its workers) or add nodes:"
    return "\n".join([problem, *text_table(_HEADER, rows, between=BARS), *changes])


def wants(needs: Resources) -> str:
    """A role's resources in words."""
    on = [needs.accelerator] if needs.accelerator else []
    on += [f"{key} {expression}" for key, expression in needs.labels.items()]
    with_whom = f", sharing a GPU of {needs.shares_gpu_with}" if needs.shares_gpu_with else ""
    return f"{needs.replicas} x {amounts_of(needs)}" + (f" on {' and '.join(on)}" if on else "") + with_whom


def _first_that_fails(requests: Sequence[Request], nodes: Sequence[Node]) -> int:
    return next(index for index in range(len(requests)) if search(requests[: index + 1], nodes) is None)


def _why_not(request: Request, nodes: Sequence[Node]) -> str:
    """Why this role alone cannot be placed; "" when it can."""
    needs = request.resources
    if search([request], nodes) is not None:
        return ""
    matching = [node for node in nodes if node.matches(needs)]
    if not matching:
        return f"no node {_unmatched(needs, nodes)}"
    if search([_with(request, replicas=1)], matching) is not None:
        return f"only {_most_replicas(request, matching)} of {needs.replicas} replicas fit"
    if (
        needs.gpus
        and max(sum(share >= min(needs.gpus, 1) - EPSILON for share in node.gpus) for node in matching) < needs.gpus
    ):
        return "no matching node has that many free GPUs"
    if needs.cpus > max(node.cpus for node in matching) + EPSILON:
        return "no matching node has that many free CPUs"
    if (needs.memory_gb or 0.0) > max(node.memory_gb for node in matching) + EPSILON:
        return "no matching node has that much free memory"
    for name, amount in needs.resources.items():
        if amount > max(node.resources.get(name, 0.0) for node in matching) + EPSILON:
            return f"no matching node has that much of {name}"
    return "no matching node has all of it at once"


def _unmatched(needs: Resources, nodes: Sequence[Node]) -> str:
    """Which condition no node meets."""
    if not any(node.matches(Resources(accelerator=needs.accelerator)) for node in nodes):
        return f"matches accelerator {needs.accelerator}" if needs.accelerator else "is there"
    for key, expression in needs.labels.items():
        if not any(node.matches(Resources(labels={key: expression})) for node in nodes):
            return f"matches label {key} {expression}"
    return "matches accelerator and labels at once"


def _most_replicas(request: Request, nodes: Sequence[Node]) -> int:
    """How many of its replicas fit: at least 1, and not all."""
    low, high = 1, request.resources.replicas - 1
    while low < high:
        middle = (low + high + 1) // 2
        if search([_with(request, replicas=middle)], nodes) is not None:
            low = middle
        else:
            high = middle - 1
    return low


def _with(request: Request, *, replicas: int) -> Request:
    return replace(request, resources=replace(request.resources, replicas=replicas))


def _has(needs: Resources, nodes: Sequence[Node]) -> str:
    """The kinds of nodes, free resources per node; what few roles ask for only where the role asks for it."""
    kinds: dict[str, int] = {}
    for node in nodes:
        parts = [f"{node.cpus:g} CPU"]
        if node.gpus or node.accelerators:
            parts.append(f"{sum(node.gpus):g} {'/'.join(sorted(node.accelerators)) or 'GPU'}")
        if needs.memory_gb:
            parts.append(f"{node.memory_gb:.1f} GB")
        parts += [f"{node.resources.get(name, 0):g} {name}" for name in needs.resources]
        parts += [f"{key} {node.labels[key]}" for key in needs.labels if key in node.labels]
        kinds[" + ".join(parts)] = kinds.get(" + ".join(parts), 0) + 1
    return ", ".join(f"{count} x ({kind})" for kind, count in kinds.items()) or "no nodes"
