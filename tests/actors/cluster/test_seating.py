"""Seats on nodes that are gone are left for others, on a real Ray. A node that never was is gone, too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import ray
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group

from actors.cluster.placement import Assignment, Resources
from actors.cluster.seating import Seating, Waits
from actors.cluster.seats import Seat
from allgood.errors import RoleError

GONE = "0" * 56
NEEDS = Resources(cpus=0.5)


@pytest.fixture
def group(ray_cluster: None) -> Iterator[PlacementGroup]:
    """What the cast had reserved."""
    group: PlacementGroup = placement_group([{"CPU": 0.5}] * 4)
    assert group.wait(30)
    yield group
    remove_placement_group(group)


def seat(
    group: PlacementGroup, role: str, replica: int, *, here: bool, needs: Resources = NEEDS, name: str | None = None
) -> Seat:
    node_id = ray.get_runtime_context().get_node_id() if here else GONE
    return Seat(
        Assignment(role, replica, node_id, "here" if here else "10.0.0.9", frozenset(), needs, threads=3),
        group,
        bundle=replica,
        name=name,
    )


def seating(*seats: Seat, owns_group: bool = True) -> tuple[Seating, list[str]]:
    told: list[str] = []
    waits = Waits(timeout_s=30, wait_for_nodes_s=0, tell=told.append)
    return Seating(seats, waits, owns_group=owns_group), told


def is_reserved(group: PlacementGroup) -> bool:
    return str(placement_group_table(group)["state"]) == "CREATED"


def test_replicas_of_a_lost_node_get_seats_where_one_is_left(group: PlacementGroup) -> None:
    stays, first, third = (seat(group, "rollout", i, here=i == 1) for i in (1, 0, 2))
    scorer = seat(group, "reward.short", 0, here=False)
    seats, told = seating(scorer, first, stays, third)
    lost = [("reward.short", 0), ("rollout", 0), ("rollout", 2)]
    assert seats.has_lost(lost)
    assert not seats.has_lost([("rollout", 1)])
    seats.leave_lost_nodes()
    assert not seats.has_lost(lost)
    assert seats["rollout", 1] is stays
    here = ray.get_runtime_context().get_node_id()
    for role, replica in lost:
        found = seats[role, replica].assignment
        assert (found.role, found.replica, found.node_id, found.threads) == (role, replica, here, 3)
        assert found.needs == NEEDS
    [new] = {seats[key].group.id: seats[key].group for key in lost}.values()
    assert is_reserved(new)
    assert is_reserved(group)  # one sits there still
    assert sorted(seats[key].bundle for key in lost) == [0, 1, 2]
    name = ray.nodes()[0]["NodeManagerAddress"]
    assert told == [
        "the cluster has lost 10.0.0.9 with reward.short 0, rollout 0, rollout 2: "
        f"reward.short 0 goes to {name}, rollout 0 goes to {name}, rollout 2 goes to {name}"
    ]
    seats.leave_lost_nodes()  # nothing is lost any more
    assert len(told) == 1
    seats.close()
    assert not is_reserved(new)
    assert not is_reserved(group)


def test_a_reservation_in_which_nobody_sits_any_more_is_given_up(group: PlacementGroup) -> None:
    seats, _ = seating(seat(group, "learner", 0, here=False))
    seats.leave_lost_nodes()
    assert not is_reserved(group)
    seats.close()


def test_without_room_the_loss_is_said_with_the_table_of_admission(group: PlacementGroup) -> None:
    seats, told = seating(seat(group, "rollout", 0, here=False, needs=Resources(accelerator="H100", gpus=1)))
    with pytest.raises(RoleError) as refusal:
        seats.leave_lost_nodes()
    assert str(refusal.value).startswith(
        "the cluster has lost 10.0.0.9 with rollout 0, and has no place left for what ran there: "
        "the cluster cannot place this run;"
    )
    assert "no node matches accelerator H100" in str(refusal.value)
    assert not told


def test_what_others_find_by_name_keeps_its_name(group: PlacementGroup) -> None:
    seats, _ = seating(seat(group, "reward.short", 0, here=False, name="shared"))
    seats.leave_lost_nodes()
    assert seats["reward.short", 0].name == "shared"
    seats.close()


def test_what_others_have_reserved_is_theirs_to_move(group: PlacementGroup) -> None:
    seats, _ = seating(seat(group, "reward.short", 0, here=False), owns_group=False)
    with pytest.raises(RoleError, match=r"lost 10\.0\.0\.9 with reward\.short 0; only whoever gave them their places"):
        seats.leave_lost_nodes()
    seats.close()
    assert is_reserved(group)
