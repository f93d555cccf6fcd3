"""Actors that die while a run needs them: it goes on without an operator, to the same bits."""

from __future__ import annotations

import json
import re

import pytest

from actors.cluster.cast import Cast
from pipelines.alignment.align import run_align
from pipelines.alignment.loop import Step
from pipelines.alignment.watching import Watch
from pipelines.config.run import RunConfig
from tests.faults.kills import Kill, Report, is_alive, pid_of, report_recoveries, watch
from tests.pipelines.tiny_run import assert_same_run, logged_rows, tiny_config, undisturbed

DEADLINE_S = 10.0
ROLES = ("rollout", "reward.short", "reference_policy")


def faults_of(config: RunConfig) -> list[dict[str, object]]:
    return [json.loads(line) for line in (config.folder / "faults.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tiny_cast: Cast, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """The run that nothing happens to."""
    folder = tmp_path_factory.mktemp("lost")
    return undisturbed(folder, tiny_config(folder, "whole"), tiny_cast)


def beside(whole: RunConfig, name: str) -> RunConfig:
    return whole.model_copy(update={"name": name})


def test_a_run_whose_actors_are_killed_ends_with_the_same_bits(
    whole: RunConfig, tiny_cast: Cast, capsys: pytest.CaptureFixture[str], record_property: Report
) -> None:
    killed = beside(whole, "killed")
    victims = {role: pid_of(tiny_cast, role) for role in ROLES}
    kills = [Kill(1, "rollout", "busy"), Kill(1, "reward.short", "idle"), Kill(1, "reference_policy", "busy")]
    run_align(killed, tiny_cast, watch=watch(tiny_cast, kills))
    assert_same_run(killed, whole)
    assert all(pid_of(tiny_cast, role) != pid for role, pid in victims.items())
    faults = faults_of(killed)
    assert sorted({fault["role"] for fault in faults}) == sorted(ROLES)
    assert sum(bool(fault["restarted"]) for fault in faults) == 3
    assert [row["ops.restarts"] for row in logged_rows(killed)] == [0, 3, 0, 0, 0, 0]
    assert logged_rows(killed)[1]["ops.retries"] == len(faults) >= 3
    report_recoveries(killed, record_property)
    assert [row["ops.retries"] for row in logged_rows(whole)] == [0] * 6
    said = capsys.readouterr().out
    assert re.search(r"rollout 0 on [\d.]+ died in generate: .*; started anew after [\d.]+ s, and its work", said)


@pytest.mark.faults
def test_a_run_whose_learner_is_killed_while_it_saves_goes_back_and_ends_with_the_same_bits(
    whole: RunConfig, tiny_cast: Cast, capsys: pytest.CaptureFixture[str], record_property: Report
) -> None:
    killed, seen = beside(whole, "killed-learner"), list[int]()
    kill = watch(tiny_cast, [Kill(4, "learner", "busy")]).observe  # a checkpoint is taken after every second step

    def observe(step: Step) -> None:
        seen.append(step.state.step)
        kill(step)

    run_align(killed, tiny_cast, watch=Watch(None, observe))
    assert_same_run(killed, whole)
    assert seen == [1, 2, 3, 4, 5, 6]
    assert [row["ops.restarts"] for row in logged_rows(killed)] == [0, 0, 0, 1, 0, 0]
    said = capsys.readouterr().out
    assert re.search(r"learner 0 on [\d.]+ died in save: .*; started anew after", said)
    assert re.search(r"going back to step [23], the last whole checkpoint", said)
    report_recoveries(killed, record_property)


@pytest.mark.faults
@pytest.mark.parametrize(("role", "phase"), [("rollout", "generate"), ("reward.short", "score"), ("learner", "update")])
def test_an_actor_that_hangs_is_named_and_ended_and_the_run_ends_with_the_same_bits(
    whole: RunConfig,
    tiny_cast: Cast,
    capsys: pytest.CaptureFixture[str],
    record_property: Report,
    role: str,
    phase: str,
) -> None:
    placement = whole.placement.model_copy(update={"deadline_s": DEADLINE_S})
    hung = beside(whole, f"hung-{role}").model_copy(update={"placement": placement})
    victim = pid_of(tiny_cast, role)
    run_align(hung, tiny_cast, watch=watch(tiny_cast, [Kill(1, role, "hung")]))
    assert_same_run(hung, whole)
    assert not is_alive(victim)
    said = capsys.readouterr().out
    assert re.search(rf"{role} 0 on [\d.]+ hung in {phase}: no answer within {DEADLINE_S:g} s", said)
    report_recoveries(hung, record_property)
