"""Reduced ordered binary decision diagrams: a boolean function as a chain of questions, each asked at most once.

On such a diagram the probability of the function under independent judgements is a sum of products of probabilities,
without cancellation and without double counting, however often a name is repeated in the formula.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce

from allgood.formula_syntax import And, Name, Node, Not, Or

FALSE, TRUE = 0, 1
MAX_NODES = 20_000  # more than any formula over 16 names needs


@dataclass(frozen=True)
class Question:
    """If `names[variable]` is good go to node `high`, else to `low`."""

    variable: int
    low: int
    high: int


@dataclass(frozen=True)
class Diagram:
    """Questions in an order in which each comes after those it points to. Node 0 is false, 1 true, i + 2
    `questions[i]`.
    """

    names: tuple[str, ...]
    questions: tuple[Question, ...]
    root: int


def build(node: Node, names: Sequence[str]) -> Diagram:
    """The diagram of a formula without exponents, asking in the order of `names`.

    Raises:
        ValueError: The diagram would have more than MAX_NODES questions.
    """
    builder = _Builder(names)
    root = builder.node(node)
    return _reachable(tuple(names), builder.questions, root)


class _Builder:
    def __init__(self, names: Sequence[str]) -> None:
        self._variables = {name: index for index, name in enumerate(names)}
        self._nodes: dict[Question, int] = {}
        self._results: dict[tuple[str, int, int], int] = {}
        self.questions: list[Question] = []

    def node(self, node: Node) -> int:
        """The diagram node of a formula."""
        if isinstance(node, Name):
            return self._question(self._variables[node.name], FALSE, TRUE)
        if isinstance(node, Not):
            return self._combine("not", self.node(node.operand), TRUE)
        assert isinstance(node, And | Or), "exponents are taken off before"
        operation = "and" if isinstance(node, And) else "or"
        return reduce(partial(self._combine, operation), (self.node(operand) for operand in node.operands))

    def _combine(self, operation: str, left: int, right: int) -> int:
        """The node of `left operation right`; "not" is exclusive or with true."""
        known = _SHORT_CUTS[operation](left, right)
        if known is not None:
            return known
        key = (operation, left, right)
        if key not in self._results:
            variable = min(self._variable(left), self._variable(right))
            low = self._combine(
                operation, self._follow(left, variable, high=False), self._follow(right, variable, high=False)
            )
            high = self._combine(
                operation, self._follow(left, variable, high=True), self._follow(right, variable, high=True)
            )
            self._results[key] = self._question(variable, low, high)
        return self._results[key]

    def _question(self, variable: int, low: int, high: int) -> int:
        if low == high:
            return low
        question = Question(variable, low, high)
        if question not in self._nodes:
            if len(self.questions) >= MAX_NODES:
                raise ValueError(f"the formula needs more than {MAX_NODES} cases; use fewer names or split it")
            self.questions.append(question)
            self._nodes[question] = len(self.questions) + 1
        return self._nodes[question]

    def _variable(self, node: int) -> int:
        return len(self._variables) if node in (FALSE, TRUE) else self.questions[node - 2].variable

    def _follow(self, node: int, variable: int, *, high: bool) -> int:
        if self._variable(node) != variable:
            return node
        question = self.questions[node - 2]
        return question.high if high else question.low


def _known_and(left: int, right: int) -> int | None:
    if FALSE in (left, right):
        return FALSE
    if left in (TRUE, right):
        return right
    return left if right == TRUE else None


def _known_or(left: int, right: int) -> int | None:
    if TRUE in (left, right):
        return TRUE
    if left in (FALSE, right):
        return right
    return left if right == FALSE else None


def _known_not(left: int, _true: int) -> int | None:
    return {FALSE: TRUE, TRUE: FALSE}.get(left)


_SHORT_CUTS: dict[str, Callable[[int, int], int | None]] = {"and": _known_and, "or": _known_or, "not": _known_not}


def _reachable(names: tuple[str, ...], questions: Sequence[Question], root: int) -> Diagram:
    """Only the questions that the root leads to, renumbered; children still come first."""
    wanted, stack = set(), [root]
    while stack:
        node = stack.pop()
        if node > TRUE and node not in wanted:
            wanted.add(node)
            stack += [questions[node - 2].low, questions[node - 2].high]
    numbers = {FALSE: FALSE, TRUE: TRUE} | {old: new for new, old in enumerate(sorted(wanted), start=2)}
    kept = (questions[old - 2] for old in sorted(wanted))
    renumbered = tuple(Question(q.variable, numbers[q.low], numbers[q.high]) for q in kept)
    return Diagram(names, renumbered, numbers[root])
