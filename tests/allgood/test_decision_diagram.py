from itertools import product

import pytest

from allgood import decision_diagram
from allgood.decision_diagram import FALSE, TRUE, build
from allgood.formula_syntax import names_in, parse_factors


def diagram_of(expression: str):
    (factor,) = parse_factors(expression)
    return build(factor.node, names_in(factor.node))


def holds(diagram, judgements: dict[str, bool]) -> bool:
    node = diagram.root
    while node not in (FALSE, TRUE):
        question = diagram.questions[node - 2]
        node = question.high if judgements[diagram.names[question.variable]] else question.low
    return node == TRUE


def test_a_diagram_answers_as_the_formula():
    diagram = diagram_of("(a & ~b) | (b & c) | ~(a | c)")
    for a, b, c in product((True, False), repeat=3):
        assert holds(diagram, {"a": a, "b": b, "c": c}) == ((a and not b) or (b and c) or not (a or c))


def test_equal_functions_have_equal_diagrams():
    assert diagram_of("a & b | a & c") == diagram_of("a & (b | c) | a & c & b")
    assert diagram_of("a | ~a & b") == diagram_of("a | b")


def test_constants_have_no_question():
    assert diagram_of("a | ~a").root == TRUE
    assert diagram_of("~(a | ~a)").root == FALSE
    assert diagram_of("a | ~a").questions == ()


def test_read_once_formulas_ask_each_name_once():
    assert len(diagram_of("(a | b) | (c & d) | e").questions) == 5


def test_children_come_before_parents():
    diagram = diagram_of("(a & b) | (~a & c) | (b & ~c)")
    for node, question in enumerate(diagram.questions, start=2):
        assert max(question.low, question.high) < node


def test_a_formula_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(decision_diagram, "MAX_NODES", 3)
    with pytest.raises(ValueError, match="more than 3 cases"):
        diagram_of("a | b & c | d")
