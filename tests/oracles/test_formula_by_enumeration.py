"""log P(formula) against the sum over all combinations of judgements, on random formulas of up to 8 names."""

from itertools import product

import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from allgood.formula import Formula

NAMES = "abcdefgh"
EXPRESSIONS = st.recursive(
    st.sampled_from(NAMES),
    lambda parts: st.one_of(
        st.tuples(parts, parts).map(lambda p: f"({p[0]} & {p[1]})"),
        st.tuples(parts, parts).map(lambda p: f"({p[0]} | {p[1]})"),
        parts.map(lambda p: f"~{p}"),
    ),
    max_leaves=12,
)
MARGINS = st.lists(st.floats(-30, 30), min_size=8, max_size=8)


def good_rows(expression: str, names: tuple[str, ...]) -> list[tuple[bool, ...]]:
    """The combinations of judgements that Python's own operators call good.

    On the lowest bit of a number ~ & | mean the same as here, and bind in the same order.
    """
    code = compile(expression, "formula", "eval")
    rows = product((True, False), repeat=len(names))
    return [row for row in rows if eval(code, {}, dict(zip(names, map(int, row), strict=True))) & 1]


def by_enumeration(expression: str, names: tuple[str, ...], margins: dict[str, torch.Tensor]) -> torch.Tensor:
    """log of the sum over good combinations of the product of probabilities."""
    signs = 2.0 * torch.tensor(good_rows(expression, names), dtype=torch.float64) - 1.0  # [cases, names]
    z = torch.cat([margins[name] for name in names])
    return torch.logsumexp(torch.nn.functional.logsigmoid(signs * z).sum(-1), 0, keepdim=True)


def formula_of(expression: str) -> Formula:
    """The formula; examples that are constant or nested too deeply are left out."""
    try:
        return Formula(expression)
    except ValueError as error:
        if any(reason in str(error) for reason in ("never true", "always true", "nested")):
            reject()
        raise


@settings(max_examples=100)
@given(EXPRESSIONS, MARGINS)
def test_value_is_exact(expression, values):
    formula = formula_of(expression)
    margins = {n: torch.tensor([z], dtype=torch.float64) for n, z in zip(NAMES, values, strict=True)}
    expected = by_enumeration(expression, formula.names, margins)
    found = formula.log_prob(margins)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    assert found.item() <= 0


@settings(max_examples=50)
@given(EXPRESSIONS, MARGINS)
def test_gradient_is_exact(expression, values):
    formula = formula_of(expression)
    margins = {
        n: torch.tensor([z], dtype=torch.float64, requires_grad=True) for n, z in zip(NAMES, values, strict=True)
    }
    used = [margins[name] for name in formula.names]
    found = torch.autograd.grad(formula.log_prob(margins).sum(), used, allow_unused=True, materialize_grads=True)
    expected = torch.autograd.grad(by_enumeration(expression, formula.names, margins).sum(), used)
    for mine, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-7, atol=1e-10)


@settings(max_examples=50)
@given(EXPRESSIONS)
def test_the_truth_set_is_every_good_combination(expression):
    formula = formula_of(expression)
    good = good_rows(expression, formula.names)
    lines = formula.explain().splitlines()
    assert lines[0] == f"{expression}: good in {len(good)} of {2 ** len(formula.names)} cases"
    assert len(lines) == len(good) + 1


@settings(max_examples=50)
@given(EXPRESSIONS, st.lists(st.sampled_from([-1e4, -300.0, -20.0, 0.0, 20.0, 300.0, 1e4]), min_size=8, max_size=8))
def test_extreme_margins_are_finite_in_float32_and_close_to_float64(expression, values):
    formula = formula_of(expression)
    margins = {n: torch.tensor([z], requires_grad=True) for n, z in zip(NAMES, values, strict=True)}
    found = formula.log_prob(margins)
    exact = formula.log_prob({n: z.detach().double() for n, z in margins.items()})
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-30)
    slopes = torch.autograd.grad(found.sum(), [margins[n] for n in formula.names], materialize_grads=True)
    assert all(torch.isfinite(slope).all() for slope in slopes)


@pytest.mark.parametrize("num_names", [12, 14])
def test_many_names_with_repetition_agree_with_enumeration(num_names):
    names = tuple(f"p{i}" for i in range(num_names))
    clauses = [f"({names[i]} | ~{names[(i + 3) % num_names]} | {names[(i + 5) % num_names]})" for i in range(num_names)]
    generator = torch.Generator().manual_seed(0)
    margins = {name: 2 * torch.randn(3, dtype=torch.float64, generator=generator) for name in names}
    rows = torch.tensor(list(product((1.0, 0.0), repeat=num_names)), dtype=torch.float64)  # [cases, names]
    holds = torch.ones(len(rows), dtype=torch.bool)
    for i in range(num_names):
        holds &= (rows[:, i] == 1) | (rows[:, (i + 3) % num_names] == 0) | (rows[:, (i + 5) % num_names] == 1)
    p = torch.sigmoid(torch.stack(list(margins.values())))  # [names, batch]
    cases = (rows[:, :, None] * p + (1 - rows[:, :, None]) * (1 - p)).prod(1)
    expected = cases[holds].sum(0).log()
    torch.testing.assert_close(Formula(" & ".join(clauses)).log_prob(margins), expected)
