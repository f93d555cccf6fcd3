import math
from itertools import accumulate

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from allgood.formula import Formula

MARGINS = {
    name: torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(index))
    for index, name in enumerate("abcdef")
}
P = {name: torch.sigmoid(margin) for name, margin in MARGINS.items()}


def test_one_property_is_its_log_sigmoid_and_its_negation_the_other_side():
    z = MARGINS["a"]
    torch.testing.assert_close(Formula("a").log_prob(MARGINS), torch.nn.functional.logsigmoid(z))
    torch.testing.assert_close(Formula("~a").log_prob(MARGINS), torch.nn.functional.logsigmoid(-z))
    torch.testing.assert_close(Formula("~~a").log_prob(MARGINS), torch.nn.functional.logsigmoid(z))


def test_and_is_the_sum_of_log_sigmoids():
    expected = sum(torch.nn.functional.logsigmoid(MARGINS[name]) for name in "abc")
    torch.testing.assert_close(Formula("a & b & c").log_prob(MARGINS), expected)


def test_formulas_by_their_probabilities():
    a, b, c = P["a"], P["b"], P["c"]
    for expression, expected in [
        ("a | b", a + b - a * b),
        ("a & ~b", a * (1 - b)),
        ("a & b | c", 1 - (1 - a * b) * (1 - c)),
        ("a & (b | c)", a * (b + c - b * c)),
        ("~(a & b)", 1 - a * b),
        ("~a | b", 1 - a + a * b),
        ("(a & b) | (~a & c)", a * b + (1 - a) * c),  # a repeated: no product of parts
        ("(a | b) & (a | c)", a + (1 - a) * b * c),
        ("a & a", a),
        ("a & (a | b)", a),
        ("(b | a) & a", a),
        ("~a & (b | ~a)", 1 - a),
        ("(a | ~a) & b", b),
    ]:
        torch.testing.assert_close(Formula(expression).log_prob(MARGINS), expected.log(), msg=expression)


def test_exponents_temper_factors():
    a, b, c = (P[name].log() for name in "abc")
    torch.testing.assert_close(Formula("a^0.5 & b & ~c ^ 2").log_prob(MARGINS), 0.5 * a + b + 2 * (1 - P["c"]).log())
    torch.testing.assert_close(Formula("(a & b)^3 & c").log_prob(MARGINS), 3 * (a + b) + c)
    torch.testing.assert_close(Formula("a^1").log_prob(MARGINS), a)
    torch.testing.assert_close(Formula("(b & a^1e-1) & c").log_prob(MARGINS), b + 0.1 * a + c)
    torch.testing.assert_close(Formula("(a | ~a)^2 & b").log_prob(MARGINS), b)


def test_names_come_in_order_of_appearance_and_other_margins_are_ignored():
    formula = Formula("c & (a | c)")
    assert formula.names == ("c", "a")
    assert repr(formula) == "Formula('c & (a | c)')"
    assert formula.log_prob(MARGINS).shape == (2, 3)


@pytest.mark.parametrize(
    "expression",
    [
        "a",
        "a & ~b",
        "a | b",
        "(a & b) | (~a & c)",
        "(a|b|c)&(~a|d|e)",
        "a^0.5 & (b | c)",
        "(a|~a)^2 & b",
        "a | a & b & c",
        "(b | a) & a",
    ],
)
def test_gradients_are_right(expression):
    formula = Formula(expression)
    margins = [MARGINS[name].clone().requires_grad_() for name in formula.names]
    assert torch.autograd.gradcheck(
        lambda *values: formula.log_prob(dict(zip(formula.names, values, strict=True))), margins
    )


def test_long_batches_are_evaluated_in_pieces_with_the_same_result():
    formula = Formula("(a & b) | (~a & c)")
    margins = {name: torch.linspace(-9, 9, 20_001).roll(index) for index, name in enumerate("abc")}
    whole = formula.log_prob(margins)
    assert torch.equal(whole[9000:9010], formula.log_prob({n: m[9000:9010] for n, m in margins.items()}))


def test_a_large_diagram_takes_no_more_than_the_promised_memory():
    names, num_rows = "abcdefghijkl", 4096
    formula = Formula(" | ".join(f"({a} & {b})" for a, b in zip(names, names[4:] + names[:4], strict=True)))
    margins = {name: torch.randn(num_rows, requires_grad=True) for name in names}
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        formula.log_prob(margins).sum().backward()
    changes = [event.nbytes() for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    assert 0 < max(accumulate(changes)) < 8 * 4 * len(names) * num_rows


def test_values_and_slopes_near_certainty_keep_their_relative_accuracy_in_float32():
    margins = {"a": torch.tensor([20.0], requires_grad=True), "b": torch.tensor([20.0], requires_grad=True)}
    found = Formula("a | b").log_prob(margins)
    assert found.item() == pytest.approx(-math.exp(-40), rel=1e-5)
    found.sum().backward()
    assert margins["a"].grad.item() == pytest.approx(math.exp(-40), rel=1e-4)


def test_the_result_is_never_above_0():
    generator = torch.Generator().manual_seed(0)
    margins = {name: 30 * torch.randn(10_000, generator=generator) for name in "abcdef"}
    for expression in ("(a & b) | (~a & c)", "a | b | c | d | e | f", "(a|b|c)&(~a|d|e)&(f|~b|c)"):
        assert (Formula(expression).log_prob(margins) <= 0).all()


def test_half_precision_margins_are_computed_in_float32():
    margins = {"a": torch.tensor([6.0]).bfloat16(), "b": torch.tensor([7.0]).half()}
    found = Formula("a & b").log_prob(margins)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(-math.log1p(math.exp(-6)) - math.log1p(math.exp(-7)), rel=1e-5)


def test_twelve_repeated_names_are_exact():
    names = [f"p{i}" for i in range(12)]
    expression = " | ".join(f"({x} & ~{y})" for x, y in zip(names, names[1:] + names[:1], strict=True))
    margins = {name: torch.full((4,), 0.3 * i - 1, dtype=torch.float64) for i, name in enumerate(names)}
    p = {name: torch.sigmoid(margin) for name, margin in margins.items()}
    # No good-to-bad step round the circle: all good or all bad.
    all_good = torch.stack([p[name] for name in names]).prod(0)
    all_bad = torch.stack([1 - p[name] for name in names]).prod(0)
    torch.testing.assert_close(Formula(expression).log_prob(margins), (1 - all_good - all_bad).log())


def test_explain_prints_the_truth_set():
    assert Formula("a & ~b").explain() == "a & ~b: good in 1 of 4 cases\n  a & ~b"
    explained = Formula("(a | b)^2 & c").explain()
    assert explained.splitlines() == [
        "(a | b)^2 & c: good in 3 of 8 cases",
        "  a & b & c",
        "  a & ~b & c",
        "  ~a & b & c",
        "  tempered: the factor over a, b counts 2 times",
    ]


def test_grad_share_goes_to_the_property_that_fails():
    margins = {"a": torch.tensor([0.0, 9.0, 0.0]), "b": torch.tensor([0.0, -9.0, 800.0])}
    shares = Formula("a & b").grad_share(margins)
    assert shares["a"].tolist() == [0.5, pytest.approx(1.234e-4, rel=1e-3), 1.0]
    torch.testing.assert_close(shares["a"] + shares["b"], torch.ones(3))
    assert shares["a"].dtype == torch.float32


def test_grad_share_is_0_where_nothing_moves_the_utility_and_counts_negated_properties():
    assert Formula("a").grad_share({"a": torch.tensor([800.0])})["a"].tolist() == [0.0]
    shares = Formula("a & ~b").grad_share({"a": torch.tensor([0.0]), "b": torch.tensor([0.0])})
    assert shares["b"].tolist() == [0.5]
    shares = Formula("(b | a) & a").grad_share({"a": torch.zeros(1), "b": torch.zeros(1)})
    assert (shares["a"].item(), shares["b"].item()) == (1.0, 0.0)
    shares = Formula("(a|~a)^2 & b").grad_share({"a": torch.zeros(1), "b": torch.zeros(1)})
    assert (shares["a"].item(), shares["b"].item()) == (0.0, 1.0)


def test_unknown_names_are_refused_with_position_and_nearest_name():
    with pytest.raises(
        ValueError, match=r"unknown property 'harmles' .*did you mean 'harmless'\? at position 10\n.*\n {12}\^"
    ):
        Formula("helpful & harmles", ["helpful", "harmless"])
    with pytest.raises(ValueError, match=r"unknown property 'b' \(known: a, ab\).* at position 5"):
        Formula("ab & b", {"a", "ab"})
    assert Formula("a", ["a", "b"]).names == ("a",)


def test_missing_margins_unlike_shapes_and_values_that_are_not_finite_are_refused():
    formula = Formula("a & b")
    with pytest.raises(ValueError, match="margins lack b, which the formula 'a & b' uses; given are a, c"):
        formula.log_prob({"a": torch.zeros(2), "c": torch.zeros(2)})
    with pytest.raises(ValueError, match="given are none"):
        formula.log_prob({})
    with pytest.raises(ValueError, match="margins must all have one shape"):
        formula.log_prob({"a": torch.zeros(2), "b": torch.zeros(3)})
    with pytest.raises(ValueError, match=r"margins\['a'\] must hold at least one sample per prompt"):
        formula.log_prob({"a": torch.zeros(2, 0), "b": torch.zeros(2, 0)})
    assert formula.log_prob({"a": torch.zeros(0), "b": torch.zeros(0)}).shape == (0,)
    with pytest.raises(ValueError, match=r"margins\['b'\] must be finite"):
        formula.log_prob({"a": torch.zeros(2), "b": torch.tensor([0.0, math.nan])})


def test_constant_formulas_are_refused():
    for expression in ("a & ~a", "a & (b & ~b)", "(a | b) & ~a & ~b"):
        with pytest.raises(ValueError, match="is never true"):
            Formula(expression)
    for expression in ("a | ~a", "(a | ~a) & (b | ~b)", "~(a & ~a)"):
        with pytest.raises(ValueError, match="is always true"):
            Formula(expression)
