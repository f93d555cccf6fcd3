"""Settings that fit models and machines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.cluster.placement import Resources
from pipelines.inspection.memory import Shape, training
from pipelines.new_run.choices import (
    Lengths,
    good_label,
    learner_memory,
    learning_rate,
    lengths,
    micro_batch_tokens,
    places,
    scoring_limit,
)
from pipelines.new_run.facts import Machine

GIB = 2**30
HALF_BILLION = Shape(
    num_parameters=494_000_000,
    num_layers=24,
    hidden_size=896,
    inner_size=4864,
    key_size=128,
    vocab_size=151_936,
    shares_prompts=True,
)
ROLES = ("learner", "rollout", "reference_policy", "helpful", "harmless")


@given(st.integers(8, 200_000))
def test_prompt_and_response_fit_into_the_context(context: int) -> None:
    found = lengths(context)
    assert found.total <= context
    assert found.prompt >= found.response >= 1


def test_a_policy_without_limit_gets_usual_lengths() -> None:
    assert lengths(None) == Lengths(1024, 256)


def test_a_scorer_reads_at_most_what_it_can() -> None:
    assert scoring_limit(Lengths(192, 64), None) == 320  # a quarter more, in steps of 64
    assert scoring_limit(Lengths(1024, 256), 512) == 512


def test_the_micro_batch_is_the_largest_that_fits() -> None:
    tokens = micro_batch_tokens(HALF_BILLION, memory=20 * GIB, width=2)
    assert tokens is not None

    def total(tokens: int) -> int:
        num_trained = HALF_BILLION.num_parameters
        return training(HALF_BILLION, num_trained=num_trained, tokens=tokens, predicted=tokens, width=2).total

    assert total(tokens) <= 20 * GIB < total(2 * tokens)


def test_where_no_micro_batch_fits_there_is_none() -> None:
    assert micro_batch_tokens(HALF_BILLION, memory=4 * GIB, width=4) is None  # parameters and moments alone need 7.9 GB


def test_a_learner_gets_its_share_of_a_gpu_or_a_quarter_of_the_memory() -> None:
    machine = Machine(num_cpus=8, memory_bytes=64 * GIB, num_gpus=1, gpu_bytes=80 * 10**9)
    assert learner_memory(machine, Resources(cpus=1.0, gpus=0.5)) == 39 * 10**9
    assert learner_memory(machine, Resources(cpus=1.0)) == 16 * GIB


@given(st.integers(1, 64), st.integers(0, 12), st.integers(4, 12))
def test_all_roles_fit_on_the_machine(num_cpus: int, num_gpus: int, num_roles: int) -> None:
    machine = Machine(num_cpus, 64 * GIB, num_gpus, 80 * 10**9)
    found = places([f"role{index}" for index in range(num_roles)], machine)
    assert sum(place.cpus for place in found.values()) <= num_cpus + 1e-9
    assert sum(place.gpus for place in found.values()) <= num_gpus + 1e-9
    assert all(place.cpus > 0 and (place.gpus > 0) == (num_gpus > 0) for place in found.values())


def test_on_one_gpu_the_learner_has_half_of_it() -> None:
    found = places(ROLES, Machine(16, 64 * GIB, 1, 80 * 10**9))
    assert found["learner"] == Resources(cpus=1.0, gpus=0.5)
    assert found["rollout"] == Resources(cpus=1.0, gpus=0.12)


def test_on_three_gpus_the_learner_has_one_and_two_roles_share_each_of_the_others() -> None:
    found = places(ROLES, Machine(16, 64 * GIB, 3, 80 * 10**9))
    assert [place.gpus for place in found.values()] == [1.0, 0.5, 0.5, 0.5, 0.5]


def test_two_cores_are_shared_by_five_roles() -> None:
    assert {place.cpus for place in places(ROLES, Machine(2, 8 * GIB)).values()} == {0.4}


def test_learning_rates_fall_with_size() -> None:
    assert learning_rate(1_000_000) > learning_rate(100_000_000) > learning_rate(500_000_000)


def test_the_good_label_bears_the_name_of_the_property() -> None:
    assert good_label("Helpful", ("helpful", "unhelpful")) == 0
    assert good_label("harmless", ("LABEL_0", "LABEL_1", "LABEL_2")) == 1
