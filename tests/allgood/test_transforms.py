import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from allgood import transforms

REFERENCE_TRANSFORMS = [
    transforms.identity,
    transforms.log_sigmoid,
    transforms.sigmoid,
    transforms.tanh,
    transforms.clip,
    transforms.capped,
    transforms.power,
]
DRAW_TRANSFORMS = [
    transforms.mean_sigmoid,
    transforms.log_mean_sigmoid,
    transforms.calibrated,
    transforms.log_calibrated,
    transforms.exp_calibrated,
]


def test_log_sigmoid_by_hand():
    # log(1/(1+1)) = -0.693147; log(1/(1+e^-2)) = -0.126928
    found = transforms.log_sigmoid(torch.tensor([[1.0, 3.0]]), torch.tensor([1.0]))
    assert found.tolist() == [[pytest.approx(-0.6931472), pytest.approx(-0.1269280)]]


def test_other_transforms_by_hand():
    reward, reference = torch.tensor([3.0]), torch.tensor([1.0])
    assert transforms.identity(reward, reference).item() == 2.0
    assert transforms.sigmoid(reward, reference).item() == pytest.approx(0.8807971)
    assert transforms.tanh(reward, reference, scale=2).item() == pytest.approx(2 * math.tanh(1))
    assert transforms.clip(reward, reference, low=-1, high=1.5).item() == 1.5
    assert transforms.capped(torch.tensor([3.0, -1.0]), 1.0).tolist() == [0.0, -2.0]
    assert transforms.z_score(reward, 1, 4).item() == 0.5
    # p = 0.8807971, a = 1/2: (sqrt(p) - 1) / (1/2)
    assert transforms.power(reward, reference).item() == pytest.approx(2 * (math.sqrt(0.8807971) - 1))


def test_power_goes_from_sigmoid_minus_one_to_log_sigmoid():
    reward, reference = torch.linspace(-5, 5, 7), torch.zeros(7)
    torch.testing.assert_close(
        transforms.power(reward, reference, risk_aversion=0), transforms.sigmoid(reward, reference) - 1
    )
    assert torch.equal(transforms.power(reward, reference, risk_aversion=1), transforms.log_sigmoid(reward, reference))


def test_draws_by_hand():
    reward, draws = torch.tensor([[0.0, 2.0]]), torch.tensor([[0.0, 1.0, 2.0]])
    # 0: none less, one equal: (0 + 1/2 + 1/2)/4; 2: two less, one equal: (2 + 1/2 + 1/2)/4
    assert transforms.calibrated(reward, draws).tolist() == [[0.25, 0.75]]
    expected = sum(1 / (1 + math.exp(-z)) for z in (2.0, 1.0, 0.0)) / 3
    assert transforms.mean_sigmoid(reward, draws)[0, 1].item() == pytest.approx(expected)
    assert transforms.log_mean_sigmoid(reward, draws)[0, 1].item() == pytest.approx(math.log(expected))
    assert transforms.log_calibrated(reward, draws)[0, 1].item() == pytest.approx(math.log(0.75))
    assert transforms.exp_calibrated(reward, draws, t=2)[0, 1].item() == pytest.approx(math.exp(1.5))
    assert transforms.exp_calibrated(reward, draws, t=-2)[0, 1].item() == pytest.approx(-math.exp(-1.5))


def test_prompt_z_score_by_hand():
    reward, draws = torch.tensor([[3.0, 1.0], [3.0, 1.0]]), torch.tensor([[0.0, 1.0, 2.0], [-3.0, 1.0, 5.0]])
    # means 1 and 1, standard deviations 1 and 4
    assert transforms.prompt_z_score(reward, draws).tolist() == [[2.0, 0.0], [0.5, 0.0]]
    assert transforms.prompt_z_score(reward[:, 0], draws).tolist() == [2.0, 0.5]


def test_log_sigmoid_is_capped_with_a_rounded_corner():
    z = torch.linspace(-9, 9, 181, dtype=torch.float64)
    below = transforms.capped(z, 0) - transforms.log_sigmoid(z, 0)
    assert below.min() > 0
    assert below.max().item() == pytest.approx(math.log(2))  # at the reference


def test_prompt_z_score_refuses_draws_without_spread():
    with pytest.raises(ValueError, match=r"draws must be at least 2 per prompt.*got 1; raise reference\.num"):
        transforms.prompt_z_score(torch.zeros(3), torch.zeros(3, 1))
    with pytest.raises(ValueError, match="draws of 1 of 2 prompts are all equal"):
        transforms.prompt_z_score(torch.zeros(2), torch.tensor([[1.0, 1.0], [1.0, 2.0]]))


@settings(max_examples=50)
@given(
    st.lists(st.floats(-100, 100), min_size=2, max_size=5, unique_by=lambda value: round(value, 2)),
    st.floats(-100, 100),
    st.floats(0.01, 100),
    st.floats(-100, 100),
)
def test_prompt_z_score_is_blind_to_scale_and_shift_of_each_prompt(draws, reward, scale, shift):
    draws, reward = torch.tensor([draws], dtype=torch.float64), torch.tensor([reward], dtype=torch.float64)
    found = transforms.prompt_z_score(scale * reward + shift, scale * draws + shift)
    torch.testing.assert_close(found, transforms.prompt_z_score(reward, draws), rtol=1e-6, atol=1e-6)


def test_log_mean_sigmoid_keeps_its_digits_and_slope_near_certainty():
    reward = torch.tensor([17.5, 40.0, 1e4, -64.0], requires_grad=True)
    found = transforms.log_mean_sigmoid(reward, torch.zeros(4, 7))
    assert found[:2].tolist() == pytest.approx([-math.exp(-17.5), -math.exp(-40.0)], rel=1e-5)
    assert found[2:].tolist() == [0.0, -64.0]
    (slope,) = torch.autograd.grad(found.sum(), reward)
    assert slope.tolist() == pytest.approx([math.exp(-17.5), math.exp(-40.0), 0.0, 1.0], rel=1e-5)


def test_rows_with_draws_agree_with_prompts_with_draws():
    reward, draws = torch.randn(5, generator=_generator()), torch.randn(5, 3, generator=_generator())
    for transform in DRAW_TRANSFORMS:
        torch.testing.assert_close(transform(reward, draws), transform(reward[:, None], draws)[:, 0])


def test_calibrated_is_blind_to_increasing_distortions():
    reward, draws = torch.randn(4, 3, generator=_generator()), torch.randn(4, 7, generator=_generator())
    assert torch.equal(transforms.calibrated(reward, draws), transforms.calibrated(reward.exp() * 9, draws.exp() * 9))


@pytest.mark.parametrize("transform", REFERENCE_TRANSFORMS)
def test_a_reference_is_per_prompt_also_when_samples_are_as_many_as_prompts(transform):
    reward, reference = torch.randn(3, 3, generator=_generator()), torch.tensor([-1.0, 0.0, 2.0])
    rows = torch.stack([transform(row, bar.item()) for row, bar in zip(reward, reference, strict=True)])
    torch.testing.assert_close(transform(reward, reference), rows)
    torch.testing.assert_close(transform(reward, reference[:, None]), rows)


@pytest.mark.parametrize("transform", REFERENCE_TRANSFORMS)
@pytest.mark.parametrize(
    ("reward", "reference"),
    [
        ((2, 3), (3,)),
        ((2, 3), (2, 3)),
        ((2, 3), (1,)),
        ((2, 3), (1, 3)),
        ((2,), (3,)),
        ((2,), (2, 1)),
        ((2,), (1,)),
        ((2, 3, 5), (2,)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(transform, reward, reference):
    with pytest.raises(ValueError, match="reference of shape"):
        transform(torch.zeros(reward), torch.zeros(reference))


@pytest.mark.parametrize("transform", [*DRAW_TRANSFORMS, transforms.prompt_z_score])
@pytest.mark.parametrize(("reward", "draws"), [((2, 3), (3, 5)), ((2, 3), (2, 0)), ((2, 3), (5,)), ((), (2, 3))])
def test_draws_that_do_not_fit_are_refused(transform, reward, draws):
    with pytest.raises(ValueError, match="draws of shape"):
        transform(torch.zeros(reward), torch.zeros(draws))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_rewards_and_references_that_are_not_finite_are_refused(bad):
    for transform in REFERENCE_TRANSFORMS:
        with pytest.raises(ValueError, match=r"reward must be finite, but 1 of 2.*\(1,\)"):
            transform(torch.tensor([0.0, bad]), torch.zeros(2))
        with pytest.raises(ValueError, match="reference must be finite"):
            transform(torch.zeros(2), torch.tensor([0.0, bad]))
        with pytest.raises(ValueError, match="reference must be finite"):
            transform(torch.zeros(2), bad)
    for transform in DRAW_TRANSFORMS:
        with pytest.raises(ValueError, match="draws must be finite"):
            transform(torch.zeros(1), torch.tensor([[bad]]))
        with pytest.raises(ValueError, match="reward must be finite"):
            transform(torch.tensor([bad]), torch.zeros(1, 1))
    with pytest.raises(ValueError, match="value must be finite"):
        transforms.log_prob(torch.tensor([bad]))
    with pytest.raises(ValueError, match="reward must be finite"):
        transforms.z_score(torch.tensor([bad]), 0, 1)
    with pytest.raises(ValueError, match="mean must be finite"):
        transforms.z_score(torch.zeros(2), bad, 1)


def test_log_prob_keeps_log_probabilities_and_refuses_anything_above_0():
    assert transforms.log_prob(torch.tensor([-2.0, 0.0])).tolist() == [-2.0, 0.0]
    assert transforms.log_prob(torch.tensor([-2.0]).bfloat16()).dtype == torch.float32
    with pytest.raises(ValueError, match=r"at most 0, but the largest is 0\.5"):
        transforms.log_prob(torch.tensor([-1.0, 0.5]))


def test_options_outside_their_range_are_refused():
    z = torch.zeros(2)
    for call, message in [
        (lambda: transforms.tanh(z, 0, scale=0), "scale must be a finite number above 0, got 0"),
        (lambda: transforms.clip(z, 0, low=1, high=1), "low must be below high"),
        (lambda: transforms.power(z, 0, risk_aversion=1.5), r"risk_aversion must lie in \[0, 1\], got 1.5"),
        (lambda: transforms.z_score(z, 0, 0), "std must be a finite number above 0"),
        (lambda: transforms.z_score(z, torch.zeros(2), 1), "mean must be one number"),
        (lambda: transforms.exp_calibrated(z, z[:, None], t=0), "t must not be 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_no_response_is_no_utility_but_a_prompt_without_samples_is_refused():
    empty, reference = torch.zeros(3, 0), torch.zeros(3)
    for transform in REFERENCE_TRANSFORMS:
        assert transform(torch.zeros(0), torch.zeros(0)).shape == (0,)  # a chunk whose scores have all failed
        with pytest.raises(ValueError, match=r"reward must hold at least one sample per prompt, got shape \(3, 0\)"):
            transform(empty, reference)
    for transform in DRAW_TRANSFORMS:
        with pytest.raises(ValueError, match="reward must hold at least one sample per prompt"):
            transform(empty, torch.zeros(3, 2))
    with pytest.raises(ValueError, match="reward must hold at least one sample per prompt"):
        transforms.z_score(empty, 0, 1)
    with pytest.raises(ValueError, match="value must hold at least one sample per prompt"):
        transforms.log_prob(empty)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rewards_are_transformed_in_float32(dtype):
    reward = torch.tensor([6.0, 20.0, -20.0], dtype=dtype)  # exactly representable
    found = transforms.log_sigmoid(reward, torch.zeros(3, dtype=dtype))
    assert found.dtype == torch.float32
    assert torch.equal(found, transforms.log_sigmoid(reward.float(), 0))
    assert (found < 0).all()  # bfloat16 itself would round log sigma(6) to 0


def test_float64_stays_float64():
    z = torch.zeros(2, dtype=torch.float64)
    for transform in REFERENCE_TRANSFORMS:
        assert transform(z, z).dtype == torch.float64
    for transform in DRAW_TRANSFORMS:
        assert transform(z, z[:, None]).dtype == torch.float64


@pytest.mark.parametrize("transform", REFERENCE_TRANSFORMS)
def test_gradients_in_reward_and_reference_are_right(transform):
    reward = torch.randn(2, 3, dtype=torch.float64, generator=_generator(), requires_grad=True)
    reference = torch.tensor([0.25, -0.4], dtype=torch.float64, requires_grad=True)  # no margin at a corner
    assert torch.autograd.gradcheck(transform, (reward, reference))


@pytest.mark.parametrize("transform", [transforms.mean_sigmoid, transforms.log_mean_sigmoid, transforms.prompt_z_score])
def test_gradients_in_reward_and_draws_are_right(transform):
    reward = torch.randn(2, 3, dtype=torch.float64, generator=_generator(), requires_grad=True)
    draws = torch.randn(2, 5, dtype=torch.float64, generator=_generator(), requires_grad=True)
    assert torch.autograd.gradcheck(transform, (reward, draws))


def test_slope_of_log_sigmoid_is_one_minus_p_good():
    reward = torch.linspace(-8, 8, 9, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(transforms.log_sigmoid(reward, 0).sum(), reward)
    torch.testing.assert_close(slope, 1 - torch.sigmoid(reward))


@settings(max_examples=50)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=20))
def test_transforms_never_turn_the_order_of_responses_round(rewards):
    reward = torch.tensor(sorted(rewards))
    for transform in REFERENCE_TRANSFORMS:
        assert (transform(reward, 0.0).diff() >= 0).all()
    draws = torch.tensor([[-3.0, 0.0, 2.0]]).expand(len(reward), 3)
    for transform in DRAW_TRANSFORMS:
        found = transform(reward, draws)
        rounding = (
            2 * torch.finfo(torch.float32).eps * found.abs()
        )  # vectorised and scalar sigma differ in the last bit
        assert (found.diff() >= -rounding[1:]).all()
    assert (transforms.prompt_z_score(reward, draws).diff() >= 0).all()


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
