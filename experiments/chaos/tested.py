"""The faults that tests inject, and what came of them in the last run, from pytest's own report."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.chaos.rows import Identical, Row

RECOVERY = "recovery_s"  # the property under which a test reports seconds, a JSON list

_LOST = "tests/pipelines/alignment/test_lost_actors.py::"
_STALE = "tests/pipelines/alignment/test_staleness.py::"
_RESUME = "tests/faults/test_resume.py::"
_RANDOM = "test_a_run_killed_at_a_random_step_leaves_nothing_in_its_cluster_and_ends_with_the_same_weights"
_TRAINING = "tests/faults/test_training_resume.py::"
_HOSTS = "tests/hosts/"
_POISON = "tests/faults/test_poison.py::"
_SERVE = "tests/pipelines/serve/test_losses.py::"


@dataclass(frozen=True)
class Tested:
    """A fault that a test injects, `each` times per case of the test. A test that passes has compared to the bit."""

    item: int
    fault: str
    test: str
    identical: Identical = "yes"
    each: int = 1


TESTED = (
    Tested(
        1,
        "kill -9 of rollout and reference-policy actor in a call, of a reward actor idle",
        f"{_LOST}test_a_run_whose_actors_are_killed_ends_with_the_same_bits",
        each=3,
    ),
    Tested(
        1,
        "kill -9 of reward and rollout actor between two calls of two lanes",
        "tests/faults/test_restart.py::test_replicas_that_start_anew_answer_with_the_same_bits",
        each=2,
    ),
    Tested(
        1,
        "a rollout actor lost during a publication of weights: by object store, files, broadcast",
        "tests/pipelines/cast/test_publishing.py::"
        "test_a_replica_lost_during_a_publication_gets_the_version_when_it_is_there_again",
        "does not apply",
    ),
    Tested(
        1,
        "kill -9 of both shared scoring actors while two arms run side by side",
        "tests/faults/test_shared_actors.py::test_arms_side_by_side_survive_the_death_of_the_scorers_they_share",
        each=2,
    ),
    Tested(
        1,
        "kill -9 of a scoring actor that the trials of a sweep share",
        "tests/faults/test_shared_actors.py::test_no_trial_of_a_sweep_fails_when_a_shared_scorer_dies",
    ),
    Tested(
        1,
        "memory runs out on the node, and Ray's monitor kills actors",
        "tests/faults/test_memory.py::test_actors_that_ray_kills_for_memory_are_replaced_and_the_run_ends",
    ),
    Tested(
        1,
        "kill -9 of one replica of a served reward model under load",
        f"{_SERVE}test_requests_under_load_survive_the_death_of_replicas",
        "does not apply",
    ),
    Tested(
        1,
        "kill -9 of both replicas while one answers",
        f"{_SERVE}test_a_call_in_flight_is_asked_again_when_both_replicas_die",
        "does not apply",
        each=2,
    ),
    Tested(
        1,
        "kill -9 of both replicas: requests wait for new ones",
        f"{_SERVE}test_while_there_is_no_replica_requests_wait_for_new_ones",
        "does not apply",
        each=2,
    ),
    Tested(
        1,
        "kill -9 of a reward actor that any process may ask",
        "tests/actors/cluster/test_actor_scorer.py::"
        "test_any_process_may_ask_also_after_a_death_and_nobody_after_the_block",
    ),
    Tested(
        2,
        "kill -9 of the learner while it saves",
        f"{_LOST}test_a_run_whose_learner_is_killed_while_it_saves_goes_back_and_ends_with_the_same_bits",
    ),
    Tested(
        2,
        "kill -9 of rollout actor and learner during overlap (staleness 1)",
        f"{_STALE}test_actors_and_learners_that_are_killed_during_overlap_change_no_bits",
        each=2,
    ),
    Tested(
        2,
        "kill -9 of one of two learners in a pass",
        "tests/actors/learning/test_sharded_learners.py::"
        "test_the_death_of_a_learner_in_the_middle_of_a_pass_is_an_error_with_a_name",
        "does not apply",
    ),
    Tested(
        2,
        "kill -9 of the driver at a random step",
        f"{_RESUME}{_RANDOM}",
    ),
    Tested(
        2,
        "kill -9 of the driver and loss of its disk, resumed from the copy in an object store",
        "tests/faults/test_storage_resume.py::test_a_run_whose_driver_and_disk_are_lost_ends_with_the_same_bits",
    ),
    Tested(
        2,
        "kill -9 of the learner between two updates: what starts anew updates nothing before it has a state",
        "tests/faults/test_restart.py::test_a_learner_that_starts_anew_refuses_to_update_before_it_has_an_arm",
        "does not apply",
    ),
    Tested(
        2,
        "kill -9 of the driver in the middle of a save",
        f"{_RESUME}test_a_run_killed_in_the_middle_of_a_save_ends_with_the_same_weights",
    ),
    Tested(
        2,
        "kill -9 of a driver whose learner shares no disk with it, and loss of its own disk; resumed from the store",
        f"{_HOSTS}test_own_disks.py::"
        "test_a_run_whose_learners_see_no_disk_of_the_driver_goes_on_from_the_store_to_the_same_bits",
    ),
    Tested(
        2,
        "kill -9 of a sweep's process, then `--resume`",
        "tests/faults/test_sweep_resume.py::test_a_killed_sweep_goes_on_where_it_was",
    ),
    Tested(
        2,
        "kill -9 of `allgood score`, then the same command",
        "tests/faults/test_score_resume.py::test_a_killed_scoring_goes_on_where_it_was",
    ),
    Tested(
        2,
        "kill -9 of `allgood sft`, then `allgood resume`",
        f"{_TRAINING}test_an_sft_that_was_killed_is_resumed_to_the_same_weights",
    ),
    Tested(
        2,
        "kill -9 of `allgood reward` in the middle of a save, then the same command",
        f"{_TRAINING}test_a_reward_model_killed_in_the_middle_of_a_save_ends_the_same",
    ),
    Tested(
        2,
        "kill -9 of one of two workers of a training, then the same command",
        "tests/faults/test_training_workers.py::test_a_training_goes_on_after_the_kill_of_a_worker",
    ),
    Tested(
        3,
        "SIGTERM to `allgood sft`, then the same command",
        f"{_TRAINING}test_sigterm_commits_the_running_step_and_says_how_to_go_on",
    ),
    Tested(
        3,
        "SIGTERM to the driver, with steps made ahead (staleness 1)",
        f"{_RESUME}test_sigterm_to_the_driver_commits_what_is_done_and_the_steps_made_ahead",
    ),
    Tested(
        3,
        "SIGTERM to the process group of the driver",
        f"{_RESUME}test_sigterm_to_the_process_group_ends_with_a_sentence_and_the_run_can_be_resumed",
    ),
    Tested(3, "Ctrl-C to the driver", f"{_RESUME}test_ctrl_c_says_how_to_go_on_and_leaves_nothing_half_written"),
    Tested(
        3,
        "Ctrl-C while two arms run",
        "tests/faults/test_interrupted_arms.py::test_ctrl_c_ends_the_arms_that_run",
        "does not apply",
    ),
    Tested(
        3,
        "SIGTERM to a reward service with requests in work",
        "tests/pipelines/serve/test_run.py::test_sigterm_lets_requests_in_work_end",
        "does not apply",
    ),
    Tested(
        4,
        "kill -9 of the host of a rollout actor, with another host to go to and without",
        f"{_HOSTS}test_lost_hosts.py::"
        "test_a_lost_host_is_replaced_to_the_same_bits_and_without_another_the_run_can_be_resumed",
        each=2,
    ),
    Tested(
        4,
        "a node is taken for lost: a named actor starts elsewhere under its name, or is given up",
        "tests/actors/cluster/test_guard.py::"
        "test_an_actor_of_a_lost_node_starts_elsewhere_under_its_name_and_without_a_place_it_is_given_up",
        "does not apply",
        each=2,
    ),
    Tested(
        4,
        "kill -9 of the host of a scoring actor that a sweep's trials share, with another host to go to and without",
        f"{_HOSTS}test_lost_shared_actor.py::"
        "test_a_shared_scorer_goes_to_another_host_and_without_one_the_sweep_is_resumed",
        each=2,
    ),
    Tested(
        4,
        "kill -9 of the head, which ends the cluster and a driver elsewhere; resumed on another cluster",
        f"{_HOSTS}test_network_faults.py::test_after_the_loss_of_the_head_a_run_is_resumed_on_another_cluster",
    ),
    Tested(
        5,
        "a link cut for 5 s: of the host of a rollout actor, of the learner, of the head",
        f"{_HOSTS}test_network_faults.py::test_links_that_are_cut_for_5_s_cost_time_and_nothing_else",
        each=3,
    ),
    Tested(
        5,
        "a host cut off until Ray gives it up (here after 14 s, counted from there) and back: of a rollout actor, of "
        "the learner, of both",
        f"{_HOSTS}test_network_faults.py::"
        "test_hosts_that_stay_cut_off_are_left_and_those_that_come_back_are_used_as_new_ones",
        each=3,
    ),
    Tested(
        5,
        "50 ms from host to host, and 1 % of packets lost",
        f"{_HOSTS}test_network_faults.py::test_late_and_lost_packets_cost_time_and_nothing_else",
    ),
    Tested(
        6,
        "a file of a checkpoint truncated, with a flipped bit, or missing",
        "tests/pipelines/alignment/test_checkpoints.py::"
        "test_a_damaged_checkpoint_is_refused_by_file_name_and_the_one_before_is_used",
        "does not apply",
    ),
    Tested(
        6,
        "a flipped bit in a checkpoint of a training",
        "tests/pipelines/training/test_resumption.py::test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used",
        "does not apply",
    ),
    Tested(
        6,
        "the last checkpoint has a flipped bit",
        f"{_RESUME}test_a_damaged_last_checkpoint_is_passed_over",
    ),
    Tested(
        7,
        "SIGSTOP for ever: rollout, reward, learner",
        f"{_LOST}test_an_actor_that_hangs_is_named_and_ended_and_the_run_ends_with_the_same_bits",
    ),
    Tested(
        7,
        "kill -9 of a driver with a Ray of its own: no process of it is left after 10 s",
        f"{_RESUME}test_a_run_killed_in_the_middle_of_a_save_ends_with_the_same_weights",
    ),
    Tested(
        7,
        "kill -9 of a driver whose cluster lives on: actors and placement groups go",
        f"{_RESUME}{_RANDOM}",
    ),
    Tested(
        8,
        "a reward function that raises, or gives too few rewards: its samples are dropped and counted",
        f"{_POISON}test_a_reward_that_raises_or_miscounts_costs_the_same_samples_as_one_that_says_nan",
        "does not apply",
    ),
    Tested(
        8,
        "a reward that comes at the second try",
        f"{_POISON}test_a_reward_that_comes_at_the_second_try_changes_nothing",
    ),
    Tested(
        8,
        "a served reward model that goes away: the run stops, and goes on when it is back",
        f"{_POISON}test_a_reward_model_that_goes_away_ends_the_run_which_goes_on_when_it_is_back",
    ),
    Tested(
        8,
        "an object store that goes away: the run stops, and goes on when it is back",
        "tests/faults/test_storage_resume.py::test_a_store_that_goes_away_ends_the_run_which_then_goes_on",
    ),
    Tested(
        8,
        "a disk that fills up: the run stops, and goes on when there is room",
        f"{_POISON}test_a_full_disk_ends_the_run_which_goes_on_when_there_is_room",
    ),
    Tested(
        8,
        "the same job a second time at once: it is refused",
        f"{_POISON}test_the_same_job_a_second_time_is_refused_and_the_first_one_is_not_disturbed",
    ),
    Tested(
        8,
        "a learner's process without memory for a whole micro-batch: its halves, equal up to rounding",
        "tests/faults/test_out_of_memory.py::"
        "test_an_update_without_the_memory_for_it_is_that_of_the_whole_micro_batch_up_to_rounding",
        "does not apply",
    ),
    Tested(
        8,
        "one of two learners of a sharded policy without memory: it names halves, with the gradient of the whole",
        "tests/actors/learning/test_sharded_learners.py::"
        "test_a_learner_without_memory_names_the_halves_whose_gradient_is_that_of_the_whole",
        "does not apply",
    ),
    Tested(
        8,
        "one of two learners of a sharded policy without memory: halves from the last checkpoint, equal up to rounding",
        "tests/faults/test_memory_of_learners.py::test_a_run_goes_on_in_halves_once_and_then_ends_with_what_to_do",
        "does not apply",
    ),
    Tested(
        8,
        "W&B that goes away: nobody waits for it at the end",
        "tests/pipelines/run/test_tracking.py::test_a_server_that_goes_away_keeps_nobody_waiting_at_the_end",
        "does not apply",
    ),
    Tested(
        8,
        "weights of 100 MB, an object store of 80 MB, 64 MB of /dev/shm: Ray spills",
        "tests/faults/test_spilling.py::"
        "test_a_run_whose_weights_exceed_the_object_store_spills_them_and_ends_with_the_same_bits",
    ),
)


def rows_of_report(report: Path) -> list[Row]:
    """Rows of the faults whose tests ran, from a JUnit report; those of a test that was skipped are left out."""
    cases = _cases(report)
    return [_row(tested, cases[tested.test]) for tested in TESTED if cases.get(tested.test)]


@dataclass(frozen=True)
class _Case:
    has_passed: bool
    recovery_s: tuple[float, ...]


def _row(tested: Tested, cases: list[_Case]) -> Row:
    num_passed = sum(case.has_passed for case in cases)
    return Row(
        item=tested.item,
        fault=tested.fault,
        times=len(cases) * tested.each,
        survived=num_passed * tested.each,
        recovery_s=tuple(seconds for case in cases for seconds in case.recovery_s),
        identical=tested.identical if num_passed == len(cases) or tested.identical != "yes" else "no",
        shown_by=tested.test,
    )


def _cases(report: Path) -> Mapping[str, list[_Case]]:
    """Cases that ran, by `path::function`."""
    found: dict[str, list[_Case]] = defaultdict(list)
    for case in ET.parse(report).iter("testcase"):  # our own file
        if case.find("skipped") is not None:
            continue
        path = case.attrib["classname"].replace(".", "/") + ".py"
        seconds = [
            float(value)
            for entry in case.iter("property")
            if entry.attrib["name"] == RECOVERY
            for value in json.loads(entry.attrib["value"])
        ]
        has_passed = case.find("failure") is None and case.find("error") is None
        name = re.split(r"[\[@]", case.attrib["name"])[0]  # without case, and the group of tests in one process
        found[f"{path}::{name}"].append(_Case(has_passed, tuple(seconds)))
    return found
