"""Keyed random numbers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from actors.generation.seeds import chunk_seed, prompt_seed, uniforms


def test_chunk_seed_is_stable_over_processes_and_versions():
    assert chunk_seed(0, 0, 0) == 4932390565350548577
    assert chunk_seed(7, 3, 1) == 18349472486170895183


def test_chunk_seeds_of_different_chunks_differ():
    seeds = {chunk_seed(run, step, index) for run in range(5) for step in range(20) for index in range(5)}
    assert len(seeds) == 5 * 20 * 5
    assert all(0 <= seed < 2**64 for seed in seeds)


def test_a_prompt_has_a_seed_of_its_own_by_its_id():
    assert prompt_seed(7, "00ff00ff00ff00ff") == 11915151576382825074
    seeds = {prompt_seed(run, f"{prompt:016x}") for run in range(5) for prompt in range(100)}
    assert len(seeds) == 500
    assert all(0 <= seed < 2**64 for seed in seeds)


@given(st.integers(0, 2**64 - 1), st.integers(1, 7), st.integers(1, 9), st.integers(0, 5), st.integers(0, 6))
def test_a_number_does_not_depend_on_how_many_are_asked_for(seed, rows, columns, more_rows, more_columns):
    small = uniforms(seed, rows, columns)
    large = uniforms(seed, rows + more_rows, columns + more_columns)
    assert np.array_equal(small, large[:rows, :columns])


def test_numbers_are_uniform_and_rows_independent():
    numbers = uniforms(11, 500, 40)
    assert numbers.dtype == np.float64
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert stats.kstest(numbers.ravel(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(numbers[0::2].ravel(), numbers[1::2].ravel())[0, 1]) < 0.04


def test_another_seed_gives_other_numbers():
    assert not np.isin(uniforms(1, 5, 8), uniforms(2, 5, 8)).any()


def test_a_draw_stays_below_every_total():
    largest = 1 - 2.0**-52
    totals = np.random.default_rng(0).uniform(1e-3, 5.0, size=100_000)
    assert (largest * totals < totals).all()


def test_no_samples_give_an_empty_array():
    assert uniforms(3, 0, 4).shape == (0, 4)
