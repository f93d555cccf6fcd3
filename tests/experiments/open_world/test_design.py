"""Which arms are trained, and in which order."""

from __future__ import annotations

import json

from experiments.open_world.design import (
    CAPPED,
    LABELS,
    LSC,
    PAR,
    RAW,
    PlannedArm,
    design,
    planned_arms,
    predicted_arms,
)


def test_the_primary_contrast_comes_first_and_no_arm_twice() -> None:
    arms = planned_arms("strong", best_other=PAR)
    assert arms[:3] == [PlannedArm(LSC, 4.0), PlannedArm(RAW, 4.0), PlannedArm(CAPPED, 4.0)]
    assert {arm.target_kl for arm in arms[:6]} == {4.0, 2.0}
    assert len(arms) == len(set(arms)) == 7 * 3 + 2 * 2


def test_weak_has_raw_lsc_and_the_best_other_at_two_targets() -> None:
    arms = planned_arms("weak", best_other=PAR)
    assert [(arm.objective, arm.target_kl) for arm in arms] == [
        (name, kl) for kl in (4.0, 2.0) for name in (LSC, RAW, PAR)
    ]


def test_everything_that_is_trained_is_predicted() -> None:
    predicted = set(predicted_arms())
    for name in LABELS:
        assert set(planned_arms("strong", best_other=name)) <= predicted
        assert name in (LSC, RAW) or set(planned_arms("weak", best_other=name)) <= predicted


def test_the_design_is_the_same_when_it_is_read_back() -> None:
    assert json.loads(json.dumps(design())) == design()
