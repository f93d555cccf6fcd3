from experiments.study.convergence import convergence_in_words, convergence_table

ARM = {
    "objective": "raw_sum",
    "target_kl": 1.0,
    "gamma": 0.5,
    "kl": 1.02,
    "change": {"kl": -0.1, "utility": 0.05},
    "efficiency": {"value": 0.8, "reliable": True},
}


def test_changes_of_one_seed_stand_without_an_interval_and_a_missing_efficiency_as_a_dash() -> None:
    row = convergence_table([{"arms": [ARM | {"efficiency": None}]}], {"raw_sum": "raw sum"})[-1]
    assert row == "| raw sum | 1 | 0.5 | 1.02 | -10.0% | +5.0% | - |"


def test_an_efficiency_says_where_samples_were_too_few_and_how_many_seeds_it_has() -> None:
    doubtful = ARM | {"efficiency": {"value": 1.0, "reliable": False}}
    row = convergence_table([{"arms": [arm]} for arm in (ARM, doubtful)], {"raw_sum": "raw sum"})[-1]
    assert row.endswith("| 0.90 ! |")
    row = convergence_table([{"arms": [arm]} for arm in (ARM, ARM | {"efficiency": None})], {"raw_sum": "raw sum"})[-1]
    assert row.endswith("| 0.80 (1 of 2 seeds) |")


def test_changes_of_several_seeds_are_averaged_with_their_sign() -> None:
    other = ARM | {"change": {"kl": 0.1, "utility": 0.05}}
    row = convergence_table([{"arms": [ARM]}, {"arms": [other]}], {"raw_sum": "raw sum"})[-1]
    # t at 97.5 % with 1 degree of freedom is 12.706; the standard error of -0.1 and 0.1 is 0.1
    assert row == "| raw sum | 1 | 0.5 | 1.02 | +0.0% [-127.1%, +127.1%] | +5.0% [+5.0%, +5.0%] | 0.80 |"


def test_arms_that_still_move_are_counted() -> None:
    flat = ARM | {"steps": 240, "change": {"kl": 0.05, "utility": 0.0}}
    assert convergence_in_words([flat, flat | {"change": {"kl": -0.06, "utility": 0.0}}]).startswith("1 of 2 arms are ")
