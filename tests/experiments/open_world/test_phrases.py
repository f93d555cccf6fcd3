"""Rare phrases are found as whole moves of a response."""

from __future__ import annotations

from experiments.open_world.phrases import rare_shares
from pipelines.world.open_world.vocabulary import RARE


def test_a_response_has_a_rare_phrase_or_not() -> None:
    helpful, harmless = RARE["helpful"][0], RARE["harmless"][0]
    responses = [[f"check valve, {helpful}.", "check valve, oil hinge."], [f"{helpful} {harmless}.", f"{harmless}."]]
    found = rare_shares(responses, ["helpful", "harmless"])
    assert found["helpful"].tolist() == [[1.0, 0.0], [0.0, 0.0]]  # two phrases in one breath are another move
    assert found["harmless"].tolist() == [[0.0, 0.0], [0.0, 1.0]]
