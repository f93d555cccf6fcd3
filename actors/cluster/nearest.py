"""The nearest change with which a role would fit: of its own settings, and of the cluster.

Changes are tried one at a time, from those that cost nothing but bookkeeping to those that change what a role is given:
CPUs, memory, another accelerator or no label, fewer replicas, a smaller share of GPUs. What is offered was searched for
with the other roles in their places, so that it really fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from actors.cluster.placement import Node, Request, Resources
from actors.cluster.search import search

_FRACTIONS = (0.5, 0.25, 0.1)  # of one GPU
_TRIALS = 1_000  # per change that is tried, besides one per replica: a refusal is to come within seconds


def nearest_change(request: Request, others: Sequence[Request], nodes: Sequence[Node]) -> str:
    """Words such as "cpus: 4, or 1 more node (8 CPU)"; `others` keep what they ask for."""
    found = [words for words in (_of_role(request, others, nodes), _of_cluster(request, others, nodes)) if words]
    return ", or ".join(found) or "several changes at once, or another cluster"


def _of_role(request: Request, others: Sequence[Request], nodes: Sequence[Node]) -> str:
    for changed, words in _changes(request.resources, nodes):
        if _fits([*others, replace(request, resources=changed)], nodes):
            return words
    return ""


def _of_cluster(request: Request, others: Sequence[Request], nodes: Sequence[Node]) -> str:
    """The fewest nodes, each made for one replica, that would have to come."""
    needs = request.resources
    if needs.shares_gpu_with in {other.role for other in others}:
        return ""  # a node of its own is not where its host is
    new = _made_for(needs, nodes)
    if new is None:
        return ""
    low, high = 1, needs.replicas
    if not _fits([*others, request], [*nodes, *[new] * high]):
        return ""
    while low < high:
        middle = (low + high) // 2
        if _fits([*others, request], [*nodes, *[new] * middle]):
            high = middle
        else:
            low = middle + 1
    return f"{low} more node{'s' * (low > 1)} ({_in_words(new)})"


def _fits(requests: Sequence[Request], nodes: Sequence[Node]) -> bool:
    return search(requests, nodes, max_trials=_TRIALS) is not None


def _changes(needs: Resources, nodes: Sequence[Node]) -> Iterator[tuple[Resources, str]]:
    """Changes of one setting, nearest first, with what to write in the run file."""
    matching = [node for node in nodes if node.matches(needs)]
    for cpus in _below(needs.cpus, [node.cpus for node in matching]):
        yield replace(needs, cpus=cpus), f"cpus: {cpus:g}"
    if needs.memory_gb:
        for memory in _below(needs.memory_gb, [float(int(node.memory_gb)) for node in matching]):
            yield replace(needs, memory_gb=memory), f"memory_gb: {memory:g}"
    if needs.accelerator:
        for accelerator in sorted({name for node in nodes for name in node.accelerators}):
            if not any(accelerator in node.accelerators for node in matching):
                yield replace(needs, accelerator=accelerator), f"accelerator: {accelerator}"
    for key in needs.labels:
        rest = {other: value for other, value in needs.labels.items() if other != key}
        yield replace(needs, labels=rest), f"no label {key}"
    for replicas in range(needs.replicas - 1, 0, -1) if needs.replicas <= 16 else _fewer(needs.replicas):
        yield replace(needs, replicas=replicas), f"replicas: {replicas}"
    for gpus in _fewer_gpus(needs.gpus):
        yield replace(needs, gpus=gpus), f"gpus: {gpus:g}"


def _below(wanted: float, free: Sequence[float]) -> list[float]:
    """Smaller amounts worth a try, largest first: what nodes have free, and what several replicas could have of it."""
    amounts = {amount / parts for amount in free for parts in (1, 2, 4)} | {wanted / 2, wanted / 4}
    return sorted({round(amount, 2) for amount in amounts if 0 < round(amount, 2) < wanted}, reverse=True)[:12]


def _fewer(number: int) -> Iterator[int]:
    while number > 1:
        number = number * 19 // 20
        yield number


def _fewer_gpus(gpus: float) -> Iterator[float]:
    yield from (float(count) for count in range(round(gpus) - 1, 0, -1) if gpus > 1)
    yield from (fraction for fraction in _FRACTIONS if fraction < gpus)


def _made_for(needs: Resources, nodes: Sequence[Node]) -> Node | None:
    """A node that holds one replica and nothing else; None where no node can be described that does."""
    kinds = sorted({name for node in nodes for name in node.accelerators})
    accelerator = next((name for name in _named(needs.accelerator) or kinds if _has_type(needs, name)), None)
    node = Node(
        node_id="new",
        name="new",
        cpus=needs.cpus,
        gpus=(1.0,) * (round(needs.gpus) if needs.gpus >= 1 else bool(needs.gpus)),
        memory_gb=needs.memory_gb or 0.0,
        accelerators=frozenset([accelerator] if accelerator and (needs.gpus or needs.accelerator) else []),
        labels={
            key: _named(expression)[0] for key, expression in needs.labels.items() if not expression.startswith("!")
        },
        resources=dict(needs.resources),
    )
    return node if node.matches(needs) else None


def _named(expression: str | None) -> list[str]:
    """The values that an expression names; none where it excludes them."""
    if expression is None or expression.startswith("!"):
        return []
    return [name.strip() for name in expression.removeprefix("in(").removesuffix(")").split(",")]


def _has_type(needs: Resources, accelerator: str) -> bool:
    node = Node("", "", 0, accelerators=frozenset([accelerator]))
    return node.matches(Resources(accelerator=needs.accelerator))


def _in_words(node: Node) -> str:
    parts = [f"{node.cpus:g} CPU"]
    if node.gpus:
        parts.append(f"{len(node.gpus)} {'/'.join(node.accelerators) or 'GPU'}")
    if node.memory_gb:
        parts.append(f"{node.memory_gb:g} GB")
    parts += [f"{amount:g} {name}" for name, amount in node.resources.items()]
    parts += [f"{key} {value}" for key, value in node.labels.items()]
    return " + ".join(parts)
