import subprocess
import sys

import pytest

from allgood.transform_facts import FACTS, facts_of


def test_a_transform_is_found_by_its_name():
    assert [facts_of(facts.name) for facts in FACTS] == list(FACTS)
    assert facts_of("log_prob").needs == "nothing"
    assert facts_of("z_score").needs == "mean_and_std"


def test_a_log_probability_says_how_far_a_prompt_is_from_good():
    assert all(facts.scale_matters for facts in FACTS if facts.is_log_prob)


def test_of_a_users_own_transform_only_its_name_is_known():
    own = facts_of("module:function")
    assert (own.needs, own.is_log_prob, own.expects) == ("reference", False, "anything")


def test_an_unknown_name_is_refused_with_the_nearest_known():
    with pytest.raises(ValueError, match="unknown transform 'log_sigmod': did you mean 'log_sigmoid'"):
        facts_of("log_sigmod")


def test_the_table_is_read_without_torch():
    program = "import sys, allgood.transform_facts; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
