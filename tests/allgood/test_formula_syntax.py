import pytest

from allgood.formula_syntax import And, Factor, Name, Not, Or, names_in, parse_factors


def test_precedence_is_not_power_and_or():
    (factor,) = parse_factors("~a & b | c")
    assert factor == Factor(Or((And((Not(Name("a")), Name("b"))), Name("c"))))
    first, second = parse_factors("~a^2 & (b | c)^0.5")
    assert first == Factor(Not(Name("a")), 2.0)
    assert second == Factor(Or((Name("b"), Name("c"))), 0.5)


def test_nested_conjunctions_are_one_conjunction():
    assert [names_in(factor.node) for factor in parse_factors("a & (b & (c & d))")] == [("a",), ("b",), ("c",), ("d",)]


@pytest.mark.parametrize(
    ("expression", "position", "message"),
    [
        ("", 0, "the formula ends where a property"),
        ("a &", 3, "the formula ends"),
        ("a b", 2, "'b' stands where & or"),
        ("(a | b", 6, r"the formula ends where '\)'"),
        ("a)", 1, r"'\)' stands where"),
        ("a $ b", 2, r"character '\$' is not allowed"),
        ("a && b", 3, "'&' stands where a property"),
        ("a^b", 2, "'b' stands where a number"),
        ("a^", 2, "the formula ends where a number"),
        ("a^-1", 2, "character '-' is not allowed"),
        ("a^0", 2, "an exponent must be above 0"),
        ("a^1e999", 2, "an exponent must be above 0 and finite"),
        ("a^2^2", 3, r"'\^' stands where"),
        ("a^2 | b", 1, "only on a factor of the top-level conjunction"),
        ("~(a^2)", 3, "only on a factor of the top-level conjunction"),
        ("(a^2)^3", 2, "only on a factor of the top-level conjunction"),
        ("(a & b^2 | c) & d", 6, "only on a factor of the top-level conjunction"),
        ("a^2 & (a | b)", 1, "shares a with another factor"),
        ("a^2 & a", 1, "shares a with another factor"),
        ("2 & a", 0, "'2' stands where a property"),
    ],
)
def test_errors_show_the_position(expression, position, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse_factors(expression)
    lines = str(caught.value).splitlines()
    assert f"at position {position}" in lines[0]
    assert lines[2] == "  " + " " * position + "^"


def test_deep_nesting_is_refused_before_the_stack_ends():
    assert parse_factors("(" * 30 + "a" + ")" * 30)
    for expression in ("(" * 5000 + "a" + ")" * 5000, "~" * 5000 + "a"):
        with pytest.raises(ValueError, match="more than 32 nested levels"):
            parse_factors(expression)
