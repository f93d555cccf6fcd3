"""The grammar of formulas: text -> factors of the top-level conjunction, each with its exponent.

    formula  = or
    or       = and  { "|" and }
    and      = power { "&" power }
    power    = not  [ "^" number ]
    not      = "~" not | name | "(" or ")"

A name is a letter or underscore, then letters, digits, underscores. An exponent tempers a factor and may stand only on
a factor of the top-level conjunction: elsewhere it has no meaning as a probability.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<name>[^\W\d]\w*)|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<operator>[&|~^()])"
)
_MAX_DEPTH = 32  # nested parentheses and negations; deeper ones would exhaust Python's stack


@dataclass(frozen=True)
class Name:
    """A property."""

    name: str


@dataclass(frozen=True)
class Not:
    """Negation."""

    operand: Node


@dataclass(frozen=True)
class And:
    """Conjunction of two or more."""

    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Or:
    """Disjunction of two or more."""

    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Power:
    """A factor with an exponent, which stands at `position` of the text."""

    operand: Node
    exponent: float
    position: int


Node = Name | Not | And | Or | Power


@dataclass(frozen=True)
class Factor:
    """A factor of the top-level conjunction, free of exponents inside."""

    node: Node
    exponent: float = 1.0


def parse_factors(expression: str) -> tuple[Factor, ...]:
    """The factors of the top-level conjunction.

    Raises:
        ValueError: The text is no formula, or an exponent stands where it has no meaning; with the position.
    """
    factors = tuple(_factors(_Parser(expression).formula(), expression))
    for index, factor in enumerate(factors):
        _refuse_shared_names(index, factors, expression)
        _refuse_exponents(factor.node if not isinstance(factor.node, Power) else factor.node.operand, expression)
    return tuple(
        Factor(factor.node.operand, factor.node.exponent) if isinstance(factor.node, Power) else factor
        for factor in factors
    )


def names_in(node: Node) -> tuple[str, ...]:
    """Distinct names in order of first appearance."""
    return tuple(dict.fromkeys(_names(node)))


def error_at(expression: str, position: int, message: str) -> ValueError:
    """A ValueError that shows where in the formula something is wrong."""
    return ValueError(f"formula {expression!r}: {message} at position {position}\n  {expression}\n  {' ' * position}^")


def _factors(node: Node, expression: str) -> Iterator[Factor]:
    if isinstance(node, And):
        for operand in node.operands:
            yield from _factors(operand, expression)
    else:
        yield Factor(node)


def _refuse_shared_names(index: int, factors: tuple[Factor, ...], expression: str) -> None:
    power = factors[index].node
    if not isinstance(power, Power):
        return
    others = {name for other, factor in enumerate(factors) if other != index for name in names_in(factor.node)}
    shared = sorted(others & set(names_in(power)))
    if shared:
        raise error_at(
            expression,
            power.position,
            f"the exponent stands on a factor that shares {', '.join(shared)} with another factor, so the utility "
            "is no sum of the factors' log-probabilities; write each name in one factor only",
        )


def _refuse_exponents(node: Node, expression: str) -> None:
    if isinstance(node, Power):
        raise error_at(
            expression,
            node.position,
            "an exponent may stand only on a factor of the top-level conjunction, but one stands",
        )
    for child in _children(node):
        _refuse_exponents(child, expression)


def _children(node: Node) -> tuple[Node, ...]:
    if isinstance(node, And | Or):
        return node.operands
    return () if isinstance(node, Name) else (node.operand,)


def _names(node: Node) -> Iterator[str]:
    if isinstance(node, Name):
        yield node.name
    for child in _children(node):
        yield from _names(child)


@dataclass(frozen=True)
class _Token:
    kind: str  # "name", "number", "end" or the operator itself
    text: str
    position: int


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens = list(self._tokenise())
        self._next = 0
        self._depth = 0

    def formula(self) -> Node:
        """The whole text as a formula."""
        node = self._or()
        if self._token.kind != "end":
            raise self._unexpected("& or | or the end")
        return node

    def _or(self) -> Node:
        operands = [self._and()]
        while self._accept("|"):
            operands.append(self._and())
        return operands[0] if len(operands) == 1 else Or(tuple(operands))

    def _and(self) -> Node:
        operands = [self._power()]
        while self._accept("&"):
            operands.append(self._power())
        return operands[0] if len(operands) == 1 else And(tuple(operands))

    def _power(self) -> Node:
        operand, position = self._not(), self._token.position
        if not self._accept("^"):
            return operand
        number = self._token
        if number.kind != "number":
            raise self._unexpected("a number above 0 as exponent")
        self._next += 1
        exponent = float(number.text)
        if not (exponent > 0 and math.isfinite(exponent)):
            raise error_at(
                self._expression, number.position, f"an exponent must be above 0 and finite, not {number.text}"
            )
        return Power(operand, exponent, position)

    def _not(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise error_at(self._expression, self._token.position, f"more than {_MAX_DEPTH} nested levels")
        node = self._atom()
        self._depth -= 1
        return node

    def _atom(self) -> Node:
        token = self._token
        if self._accept("~"):
            return Not(self._not())
        if self._accept("("):
            node = self._or()
            if not self._accept(")"):
                raise self._unexpected("')'")
            return node
        if token.kind == "name":
            self._next += 1
            return Name(token.text)
        raise self._unexpected("a property, ~ or (")

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _accept(self, kind: str) -> bool:
        if self._token.kind != kind:
            return False
        self._next += 1
        return True

    def _unexpected(self, wanted: str) -> ValueError:
        found = "the formula ends" if self._token.kind == "end" else f"{self._token.text!r} stands"
        return error_at(self._expression, self._token.position, f"{found} where {wanted} is needed")

    def _tokenise(self) -> Iterator[_Token]:
        position = 0
        while position < len(self._expression):
            match = _TOKEN.match(self._expression, position)
            if match is None:
                raise error_at(
                    self._expression,
                    position,
                    f"character {self._expression[position]!r} is not allowed (names, numbers and & | ~ ^ ( ) are)",
                )
            kind = match.lastgroup or ""
            if kind != "space":
                yield _Token(match.group() if kind == "operator" else kind, match.group(), position)
            position = match.end()
        yield _Token("end", "", position)
