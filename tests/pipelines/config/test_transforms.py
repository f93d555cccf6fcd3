"""Transforms of a run file: what they need and their options come from one table and from the class itself."""

from __future__ import annotations

import inspect
from typing import Literal, get_args

import numpy as np
import pytest
from torch import Tensor

from allgood import transform_facts, transforms
from allgood.named_transforms import named
from allgood.transform_facts import FACTS, TransformFacts
from allgood.treatment import Treatment, treat
from pipelines.config.transforms import CalibratedTransform, CustomTransform, Transform, TransformBase

KINDS: tuple[type[TransformBase], ...] = get_args(get_args(Transform)[0])
IN_THE_TABLE = [kind() for kind in KINDS if kind is not CustomTransform] + [
    CalibratedTransform(then=then) for then in ("identity", "exp")
]


class RaisedTransform(TransformBase):
    """A transform that somebody adds."""

    kind: Literal["raised"] = "raised"
    by: float = 2.0


def raised(reward: Tensor, reference: Tensor, *, by: float = 0.0) -> Tensor:
    """The function of it."""
    return reward - reference + by


def test_an_option_that_is_added_arrives_at_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transform_facts, "FACTS", (*FACTS, TransformFacts("raised", "reference")))
    monkeypatch.setattr(transforms, "raised", raised, raising=False)
    added = RaisedTransform(by=3.0)
    treatment = Treatment("test", added.facts.name, references=1.0, options=added.options)
    found = treat(treatment, np.array([[1.0, 5.0]], dtype=np.float32), ["p"], property_name="helpful")
    assert found.utilities.tolist() == [[3.0, 7.0]]  # 1 - 1 + 3 and 5 - 1 + 3


@pytest.mark.parametrize("transform", IN_THE_TABLE, ids=lambda transform: transform.facts.name)
def test_options_of_a_kind_are_those_of_its_function_with_the_same_defaults(transform: TransformBase) -> None:
    parameters = inspect.signature(named(transform.facts.name).function).parameters.values()
    expected = {item.name: item.default for item in parameters if item.kind is item.KEYWORD_ONLY}
    assert transform.options == expected


def test_every_row_of_the_table_can_be_chosen() -> None:
    assert sorted(transform.facts.name for transform in IN_THE_TABLE) == sorted(facts.name for facts in FACTS)


def test_a_users_own_transform_gives_a_log_probability_only_where_the_user_says_so() -> None:
    for said, expected in ((None, False), (False, False), (True, True)):
        own = CustomTransform(kind="custom", function="m:f", is_log_prob=said)
        assert own.facts == TransformFacts("m:f", "reference", is_log_prob=expected)
        assert own.options == {}
