import math

import pytest

from allgood.kl import AdaptiveController, FixedController, KlController, TargetKlController


def controllers() -> list[KlController]:
    return [FixedController(0.1), AdaptiveController(0.1, 4.0, 1000), TargetKlController(0.1, 4.0)]


def test_a_fixed_coefficient_stays():
    controller = FixedController(1)
    controller.update(99.0, num_responses=8)
    assert controller.coefficient == 1.0


def test_adaptive_by_hand():
    controller = AdaptiveController(0.1, target=4.0, horizon=1000)
    controller.update(4.4, num_responses=100)  # error 0.1: times 1 + 0.1 * 100/1000
    assert controller.coefficient == pytest.approx(0.101)
    controller.update(400.0, num_responses=100)  # error cut to 0.2
    assert controller.coefficient == pytest.approx(0.101 * 1.02)
    controller.update(-1.0, num_responses=10**6)  # cut to -0.2, and at most one horizon
    assert controller.coefficient == pytest.approx(0.101 * 1.02 * 0.8)


def test_target_kl_by_hand():
    controller = TargetKlController(0.1, target=2.0, rate=0.5, smoothing=0.5)
    controller.update(4.0, num_responses=8)  # the first is the average: gamma * (4/2)^0.5
    assert controller.coefficient == pytest.approx(0.1 * math.sqrt(2))
    controller.update(0.0, num_responses=8)  # average 2: at the target
    assert controller.average == 2.0
    assert controller.coefficient == pytest.approx(0.1 * math.sqrt(2))
    controller.update(-50.0, num_responses=8)  # below 0 by noise: the largest step down
    assert controller.coefficient == pytest.approx(0.1 * math.sqrt(2) * math.exp(-0.5))
    controller.update(1e6, num_responses=8)  # the largest step up
    assert controller.coefficient == pytest.approx(0.1 * math.sqrt(2))


@pytest.mark.parametrize(
    "controller", [AdaptiveController(0.01, target=2.0, horizon=200), TargetKlController(0.01, target=2.0)]
)
def test_controllers_find_the_coefficient_of_their_target(controller):
    for _ in range(2000):
        # Gaussian utilities with std 1: the optimum's KL is 1 / (2 gamma^2)
        controller.update(0.5 / controller.coefficient**2, num_responses=16)
    assert controller.coefficient == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("index", range(3))
def test_a_restored_controller_continues_bit_for_bit(index):
    kls = [5.0, 1.0, -0.3, 40.0, 3.9, 4.2]
    whole, first, second = controllers()[index], controllers()[index], controllers()[index]
    for value in kls:
        whole.update(value, num_responses=64)
    for value in kls[:3]:
        first.update(value, num_responses=64)
    second.load_state_dict(first.state_dict())
    for value in kls[3:]:
        second.update(value, num_responses=64)
    assert second.state_dict() == whole.state_dict()
    assert second.coefficient == whole.coefficient


@pytest.mark.parametrize("index", range(3))
def test_bad_measurements_and_states_are_refused(index):
    controller = controllers()[index]
    with pytest.raises(ValueError, match="kl must be a finite number of nats, got nan"):
        controller.update(math.nan, num_responses=8)
    with pytest.raises(ValueError, match="num_responses must be at least 1, got 0"):
        controller.update(1.0, num_responses=0)
    with pytest.raises(ValueError, match="state must hold exactly coefficient"):
        controller.load_state_dict({"gamma": 1.0})
    with pytest.raises(ValueError, match="state must hold exactly"):
        controller.load_state_dict({})
    with pytest.raises(ValueError, match="coefficient must be a finite number above 0, got -1"):
        controller.load_state_dict({**controller.state_dict(), "coefficient": -1})


def test_a_running_mean_may_be_absent_but_never_infinite():
    controller = TargetKlController(0.1, 2.0)
    controller.load_state_dict({"coefficient": 0.2, "average": math.nan})  # before the first measurement
    with pytest.raises(ValueError, match="average must be a finite number of nats, or NaN before the first, got inf"):
        controller.load_state_dict({"coefficient": 0.3, "average": math.inf})
    assert controller.coefficient == 0.2


def test_bad_settings_are_refused():
    for make, message in [
        (lambda: FixedController(0), "coefficient must be a finite number above 0, got 0"),
        (lambda: AdaptiveController(math.nan, 1), "coefficient"),
        (lambda: AdaptiveController(0.1, 0), "target must be"),
        (lambda: AdaptiveController(0.1, 1, 0), "horizon must be"),
        (lambda: TargetKlController(-1, 1), "coefficient"),
        (lambda: TargetKlController(0.1, -1), "target must be"),
        (lambda: TargetKlController(0.1, 1, rate=0), r"rate must lie in \(0, 1\]"),
        (lambda: TargetKlController(0.1, 1, smoothing=1), r"smoothing must lie in \[0, 1\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
