"""Formulas: which combination of properties is "good", and log P(formula) as the utility of a response.

`helpful & harmless` is the paper's AND. Properties are judged independently given (x, y), each good with probability
sigma(margin). The probability is exact for any formula, repeated names included: the formula is compiled into a
decision diagram (weighted model counting), whose evaluation in log space only multiplies and adds probabilities, so
that values and gradients stay finite for margins from -1e4 to 1e4.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from allgood.checks import in_float, require_finite, require_samples
from allgood.decision_diagram import FALSE, TRUE, Diagram, build
from allgood.formula_syntax import And, Factor, Name, Node, Not, Or, error_at, names_in, parse_factors
from allgood.log_space import log_probability

# A diagram is evaluated piece by piece, which bounds memory and, on a CPU, stays in the cache. The fewest rows are
# those below which starting operations would take longer than computing.
_FEWEST_ROWS_CPU, _MOST_ROWS_CPU = 256, 8192
_FEWEST_ROWS_GPU, _MOST_ROWS_GPU = 2**14, 2**20
_WORKING_SHARE = 8  # numbers held while a piece is evaluated, at most, as a multiple of all margins together


class Formula:
    """A boolean expression over properties: `&`, `|`, `~`, parentheses, and exponents on top-level factors.

    Args:
        expression: For example "helpful & ~verbose | refusal". An exponent (`helpful^0.5 & harmless`) tempers: the
            utility is the sum of exponent x log P(factor), and only exponent 1 is the AND.
        properties: When given, every name must be one of these.

    Raises:
        ValueError: Syntax error or misplaced exponent (with the position), unknown name, or a formula that is always or
            never true.

    Source:
        The conjunction: Wang et al. 2024, arXiv:2402.00742. Other formulas are ours.
    """

    def __init__(self, expression: str, properties: Collection[str] | None = None) -> None:
        factors = parse_factors(expression)
        self.expression = expression
        self.names = tuple(dict.fromkeys(name for factor in factors for name in names_in(factor.node)))
        self._node = factors[0].node if len(factors) == 1 else And(tuple(factor.node for factor in factors))
        if properties is not None:
            _refuse_unknown(expression, self.names, properties)
        self._parts = _independent_parts(factors)
        _refuse_constant(expression, [part.diagram for part in self._parts])

    def __repr__(self) -> str:
        return f"Formula({self.expression!r})"

    def log_prob(self, margins: Mapping[str, Tensor]) -> Tensor:
        """Utility per response: log P(formula), or with exponents the sum of exponent x log P(factor). Never above 0.

        Args:
            margins: Log-odds of "good" per property, all of one shape; for a Bradley-Terry reward r - r_ref. Names that
                the formula does not use are ignored.

        Returns:
            Natural-log probabilities in the shape of the margins, float32 (float64 if any margin is float64).
            Differentiable once in the margins.

        Raises:
            ValueError: A property of the formula is missing, shapes differ, prompts have no sample, or a margin is not
                finite.

        >>> Formula("a & b").log_prob({"a": torch.tensor([0.0]), "b": torch.tensor([0.0])})
        tensor([-1.3863])
        """
        used = self._used(margins)
        total: Tensor | None = None
        for part in self._parts:
            term = part.log_prob([used[name] for name in part.diagram.names])
            total = term if total is None else total + term
        assert total is not None
        return total

    def grad_share(self, margins: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """How much each property's reward drives the utility: |du/dr_i| / sum_j |du/dr_j|, per response.

        All shares of a response are 0 where no reward moves its utility any more (every slope underflows).

        Raises:
            ValueError: As in `log_prob`.
        """
        used = {name: margin.detach().double().requires_grad_() for name, margin in self._used(margins).items()}
        with torch.enable_grad():
            utility = self.log_prob(used)
        slopes = torch.autograd.grad(utility.sum(), list(used.values()), materialize_grads=True)
        total = torch.stack(slopes).abs().sum(0)
        shares = [slope.abs() / torch.where(total > 0, total, 1.0) for slope in slopes]
        return {name: share.to(in_float(margins[name]).dtype) for name, share in zip(used, shares, strict=True)}

    def explain(self) -> str:
        """The truth set: every combination of judgements that counts as good, one per line."""
        good = [row for row in product((True, False), repeat=len(self.names)) if self._is_good(row)]
        lines = [
            " & ".join(name if is_good else f"~{name}" for name, is_good in zip(self.names, row, strict=True))
            for row in good
        ]
        head = f"{self.expression}: good in {len(good)} of {2 ** len(self.names)} cases"
        return "\n".join([head, *(f"  {line}" for line in lines), *self._tempering()])

    @property
    def is_tempered(self) -> bool:
        """Whether an exponent other than 1 makes the utility something else than log P."""
        return any(part.exponent != 1 for part in self._parts)

    def _is_good(self, row: Sequence[bool]) -> bool:
        return _holds(self._node, dict(zip(self.names, row, strict=True)))

    def _tempering(self) -> Iterator[str]:
        for part in self._parts:
            if part.exponent != 1:
                yield f"  tempered: the factor over {', '.join(part.diagram.names)} counts {part.exponent:g} times"

    def _used(self, margins: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The margins that the formula needs, checked, in one float dtype."""
        missing = [name for name in self.names if name not in margins]
        if missing:
            raise ValueError(
                f"margins lack {', '.join(missing)}, which the formula {self.expression!r} uses; "
                f"given are {', '.join(margins) or 'none'}"
            )
        used = {name: margins[name] for name in self.names}
        shapes = {name: tuple(margin.shape) for name, margin in used.items()}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"margins must all have one shape, got {shapes}")
        for name, margin in used.items():
            require_samples(f"margins[{name!r}]", margin)
            require_finite(f"margins[{name!r}]", margin)
        dtype = torch.float64 if any(margin.dtype == torch.float64 for margin in used.values()) else torch.float32
        return {name: margin.to(dtype) for name, margin in used.items()}


@dataclass(frozen=True)
class _Part:
    """A factor, or several that share names, independent of all other parts."""

    diagram: Diagram
    exponent: float

    def log_prob(self, margins: Sequence[Tensor]) -> Tensor:
        """exponent x log P, in the shape of the margins."""
        if self.diagram.root == TRUE:
            return torch.zeros_like(margins[0])  # a factor such as (a | ~a)^2 in a formula that is not always true
        if len(self.diagram.questions) == 1:
            question = self.diagram.questions[0]  # of one name, perhaps the only one left of several: (b | a) & a
            margin = margins[question.variable]
            log_p = F.logsigmoid(-margin if question.low == TRUE else margin)
        else:
            log_p = _LogProbability.apply(self.diagram, *margins)
        return log_p if self.exponent == 1 else self.exponent * log_p


class _LogProbability(torch.autograd.Function):
    """log P of a diagram. Keeps one slope per margin for the backward pass instead of every step of the evaluation."""

    @staticmethod
    def forward(ctx: Any, diagram: Diagram, *margins: Tensor) -> Tensor:
        flat = [margin.detach().reshape(-1) for margin in margins]
        value = torch.empty_like(flat[0])
        wants_slopes = any(ctx.needs_input_grad[1:])
        slopes = [torch.empty_like(margin) for margin in flat] if wants_slopes else []
        rows_at_once = _rows_at_once(diagram, len(value), on_cpu=value.device.type == "cpu")
        for start in range(0, len(value), rows_at_once):
            piece = slice(start, start + rows_at_once)
            pieces = [margin[piece].requires_grad_(wants_slopes) for margin in flat]
            with torch.set_grad_enabled(wants_slopes):
                log_p = log_probability(diagram, pieces)
                total = log_p.sum()
            value[piece] = log_p.detach()
            if wants_slopes:
                # A name may drop out of the diagram, as b in "a | a & b": its slope is 0.
                found = torch.autograd.grad(total, pieces, materialize_grads=True)
                for slope, part in zip(slopes, found, strict=True):
                    slope[piece] = part
        ctx.save_for_backward(*(slope.reshape(margins[0].shape) for slope in slopes))
        return value.clamp(max=0).reshape(margins[0].shape)  # rounding may end at +1e-7

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(gradient * slope for slope in ctx.saved_tensors)


def _rows_at_once(diagram: Diagram, num_rows: int, *, on_cpu: bool) -> int:
    """Rows per piece, so that a large diagram takes no more memory than a small one, with or without gradient."""
    # For its gradient a question keeps some 4 numbers per row, and a name 6.
    numbers_per_row = 4 * len(diagram.questions) + 6 * len(diagram.names)
    wanted = _WORKING_SHARE * num_rows * len(diagram.names) // numbers_per_row
    fewest, most = (_FEWEST_ROWS_CPU, _MOST_ROWS_CPU) if on_cpu else (_FEWEST_ROWS_GPU, _MOST_ROWS_GPU)
    return min(max(wanted, fewest), most)


def _independent_parts(factors: Sequence[Factor]) -> tuple[_Part, ...]:
    """Factors grouped so that no name stands in two groups; log P of the conjunction is the sum over groups."""
    groups: list[tuple[set[str], list[Factor]]] = []
    for factor in factors:
        names, members = set(names_in(factor.node)), [factor]
        apart = []
        for group in groups:
            if group[0] & names:
                names, members = names | group[0], group[1] + members
            else:
                apart.append(group)
        groups = [*apart, (names, members)]
    return tuple(_part(members) for _, members in groups)


def _part(factors: Sequence[Factor]) -> _Part:
    node: Node = factors[0].node if len(factors) == 1 else And(tuple(factor.node for factor in factors))
    # Questions in order of appearance: neighbours in the text depend on each other, which keeps diagrams small.
    return _Part(build(node, names_in(node)), factors[0].exponent)


def _refuse_unknown(expression: str, names: Sequence[str], properties: Collection[str]) -> None:
    for name in names:
        if name not in properties:
            near = get_close_matches(name, properties, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise error_at(
                expression,
                _position(expression, name),
                f"unknown property {name!r} (known: {', '.join(sorted(properties))}){hint}",
            )


def _position(expression: str, name: str) -> int:
    found = re.search(rf"\b{name}\b", expression)
    return found.start() if found else 0


def _refuse_constant(expression: str, diagrams: Sequence[Diagram]) -> None:
    roots = [diagram.root for diagram in diagrams]
    if FALSE in roots:
        raise ValueError(f"formula {expression!r} is never true, so no response can be good; remove the contradiction")
    if all(root == TRUE for root in roots):
        raise ValueError(f"formula {expression!r} is always true, so every response is good; remove what makes it so")


def _holds(node: Node, judgements: Mapping[str, bool]) -> bool:
    if isinstance(node, Name):
        return judgements[node.name]
    if isinstance(node, Not):
        return not _holds(node.operand, judgements)
    if isinstance(node, And):
        return all(_holds(operand, judgements) for operand in node.operands)
    assert isinstance(node, Or)
    return any(_holds(operand, judgements) for operand in node.operands)
