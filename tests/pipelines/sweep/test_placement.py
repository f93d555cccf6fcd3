"""A trial's placement group, and how many of them fit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actors.cluster.placement import Resources
from allgood.errors import PlacementError
from pipelines.config.placement import PlacementConfig
from pipelines.config.run import RunConfig
from pipelines.sweep.placement import Room, num_fitting, refuse_too_large, trial_group
from tests.pipelines.tiny_run import tiny_config

pytestmark = pytest.mark.usefixtures("ray_cluster")


def placed(rollout: Resources, learner: Resources) -> RunConfig:
    config = tiny_config(Path("unused"))
    return config.model_copy(update={"placement": PlacementConfig(rollout=rollout, learner=learner)})


def test_a_bundle_for_the_trial_and_one_per_replica_in_order() -> None:
    config = placed(Resources(replicas=2, cpus=0.5), Resources(cpus=1.5, memory_gb=0.5))
    assert trial_group(config).bundles == [
        {"CPU": 0.1},
        {"CPU": 0.5},
        {"CPU": 0.5},
        {"CPU": 1.5, "memory": 500_000_000},
    ]


def test_an_accelerator_becomes_a_label_selector_where_gpus_have_labels() -> None:
    # No node of this cluster has a GPU, so none lacks its label.
    config = placed(Resources(gpus=1.0, accelerator="in(T4,L4)"), Resources(gpus=1.0, accelerator="H100"))
    selectors = trial_group(config)._kwargs["bundle_label_selector"]
    assert selectors == [{}, {"ray.io/accelerator-type": "in(T4,L4)"}, {"ray.io/accelerator-type": "H100"}]


def test_no_more_trials_than_fit_and_on_a_private_ray_no_more_than_cores() -> None:
    cores = os.cpu_count() or 1
    assert num_fitting(placed(Resources(cpus=0.1), Resources(cpus=0.1)), 100) == cores
    assert num_fitting(placed(Resources(cpus=0.1), Resources(cpus=0.1)), 1) == 1
    assert num_fitting(placed(Resources(cpus=3.0), Resources(cpus=3.0)), 100) == 1  # 8 CPUs hold one of 6.1


def test_what_never_fits_is_refused_before_anything_starts() -> None:
    with pytest.raises(PlacementError, match="the cluster cannot place this run"):
        refuse_too_large(placed(Resources(cpus=5.0), Resources(cpus=5.0)), evaluators=False)


def test_after_the_loss_of_a_node_it_is_asked_whether_a_trial_still_fits() -> None:
    fits, never = placed(Resources(cpus=0.1), Resources(cpus=0.1)), placed(Resources(cpus=5.0), Resources(cpus=5.0))
    waits = never.model_copy(update={"placement": never.placement.model_copy(update={"wait_for_nodes_s": 60.0})})
    rooms = {name: Room(run, evaluators=False) for name, run in (("fits", fits), ("never", never), ("waits", waits))}
    for room in rooms.values():
        room.check()  # it has just looked
        room._looked_at -= 60
        room.check()  # nothing is lost
        room._looked_at -= 60
        room._known |= {"0" * 56}  # a node that is no longer there
        room.check()  # a while for others to find a place

    def look_after(room: Room, seconds: float) -> None:
        room._looked_at -= seconds
        if room._short_since is not None:
            room._short_since -= seconds
        room.check()

    look_after(rooms["fits"], 20)
    look_after(rooms["waits"], 20)
    for name, seconds in (("never", 20), ("waits", 50)):
        with pytest.raises(PlacementError, match="cannot hold the shared actors and a trial: the cluster cannot place"):
            look_after(rooms[name], seconds)
