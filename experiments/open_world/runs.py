"""Running the study: models and predictions of every point and seed, then, once preregistered, the arms.

A file per point, seed and arm. What is stored is never run again, so the same command goes on where it was interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from experiments.open_world.design import PlannedArm, Point, planned_arms
from experiments.open_world.measure import Opponent, arm_measures
from experiments.open_world.models import Scale, make_models, make_samples, prediction_config, seed_config, world_hash
from experiments.open_world.objectives import same_as, with_parameter
from experiments.open_world.predictions import predict
from experiments.open_world.preregistration import Registration
from experiments.open_world.settings import with_steps
from experiments.open_world.stored import Stored
from experiments.study.arms import run_missing
from experiments.study.matched import paced_config
from experiments.study.runs import two_at_a_time
from experiments.world.trained import accuracy
from pipelines.cast.actors import Actors
from pipelines.comparison.arms import arm_name, arm_of, kept_actors
from pipelines.config.run import RunConfig
from pipelines.output.progress import say
from pipelines.output.stamp import stamped
from pipelines.run.folder import RunFolder

Entry = dict[str, Any]
Job = tuple[Point, int]


def run_predictions(scale: Scale, folder: Path, stored: Stored) -> None:
    """Models and predictions that are missing; no arm is trained."""
    missing = [job for job in _jobs(scale) if not stored.predictions(*job).is_file()]
    say(f"{len(missing)} of {len(_jobs(scale))} predictions to make")
    two_at_a_time(partial(_predict, scale, folder, stored), missing, name=_name)


def _predict(scale: Scale, folder: Path, stored: Stored, job: Job) -> None:
    config = seed_config(scale, folder, *job)
    prediction = prediction_config(config, scale)
    make_models(config)
    with kept_actors(config, num_lanes=1) as lanes:
        make_samples(config, prediction, lanes[0])
    point, seed = job
    head = {"point": point, "seed": seed, "world": world_hash(RunFolder(config.folder)), "accuracy": _accuracy(config)}
    stored.write(stored.predictions(point, seed), stamped(head | predict(prediction)))
    say(f"{_name(job)}: predicted")


def run_arms_of(scale: Scale, folder: Path, stored: Stored, registration: Registration) -> None:
    """Every arm that is missing of seeds that are predicted, those of the point `strong` first.

    Raises:
        DataError: The preregistration does not hold what is about to be run.
    """
    for point in scale.points:  # one point after the other: the first has the primary contrast
        predicted = [job for job in _jobs(replace(scale, points=[point])) if stored.predictions(*job).is_file()]
        if len(predicted) < len(scale.seeds):
            say(f"{point}: {len(scale.seeds) - len(predicted)} of {len(scale.seeds)} seeds are not predicted yet")
        jobs = [job for job in predicted if _missing(stored, *job)]
        for job in jobs:
            registration.require(*job, stored.predictions(*job))
        say(f"{point}: {sum(len(_missing(stored, *job)) for job in jobs)} arms to train")
        two_at_a_time(partial(_train, scale, folder, stored, registration), jobs, name=_name)


def _missing(stored: Stored, point: Point, seed: int) -> list[PlannedArm]:
    predicted = stored.load(stored.predictions(point, seed))
    gammas = {(arm["objective"], arm["target_kl"]): arm["gamma"] for arm in predicted["arms"]}
    return [
        arm
        for arm in planned_arms(point, best_other=predicted["best_other"])
        if gammas[arm.objective, arm.target_kl] is not None and not stored.arm(point, seed, arm.name).is_file()
    ]


def _train(scale: Scale, folder: Path, stored: Stored, registration: Registration, job: Job) -> None:
    config = seed_config(scale, folder, *job)
    prediction = prediction_config(config, scale)
    make_models(config)
    registration.require_world(*job, world_hash(RunFolder(config.folder)))
    predicted = stored.load(stored.predictions(*job))
    by_arm = {(arm["objective"], arm["target_kl"]): arm for arm in predicted["arms"]}
    with kept_actors(config, num_lanes=1) as lanes:
        make_samples(config, prediction, lanes[0])
        opponent = Opponent.of(config, prediction, lanes[0])
        stored.write(stored.start(*job), stamped(opponent.entry(config)))
        for arm in _missing(stored, *job):
            of_arm = by_arm[arm.objective, arm.target_kl]
            entry = trained_before(stored, job, arm, of_arm) or _run_arm(
                config, arm, of_arm, opponent, lanes, num_steps=scale.steps[arm.target_kl]
            )
            stored.write(stored.arm(*job, arm.name), stamped(entry | {"preregistration": registration.sha256}))


def trained_before(stored: Stored, job: Job, arm: PlannedArm, predicted: Entry) -> Entry | None:
    """The numbers of an arm that has been trained under another name with the same gamma, if there is one."""
    name = PlannedArm(same_as(arm.objective, predicted["parameter"]), arm.target_kl).name
    path = stored.arm(*job, name)
    if name == arm.name or not path.is_file():
        return None
    entry = stored.load(path)
    if entry["gamma"] != predicted["gamma"]:
        return None
    return entry | {
        "name": arm_name(arm.objective, predicted["gamma"]),
        "objective": arm.objective,
        "parameter": predicted["parameter"],
        "same_training_as": name,
    }


def _run_arm(
    config: RunConfig,
    arm: PlannedArm,
    predicted: Entry,
    opponent: Opponent,
    lanes: Sequence[Actors],
    *,
    num_steps: int,
) -> Entry:
    chosen = with_parameter(config, arm.objective, predicted["parameter"])
    paced = with_steps(paced_config(chosen, arm.target_kl), num_steps)
    (run,) = run_missing([arm_of(paced, arm.objective, predicted["gamma"])], lanes, opponent.prompts)
    return arm_measures(run, arm, predicted["parameter"], opponent, lanes[0])


def _accuracy(config: RunConfig) -> dict[str, float]:
    """Of the reward models on test pairs."""
    return {name: accuracy(RunFolder(config.folder), name) for name in config.properties}


def _jobs(scale: Scale) -> list[Job]:
    return list(product(scale.points, scale.seeds))


def _name(job: Job) -> str:
    return f"{job[0]}, seed {job[1]}"
