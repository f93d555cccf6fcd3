"""The two named points of the open world: what decides how strong reward models get, and how wrong.

Fixed before any method was run on the world: `experiments/open_world/points.json` holds a hash of what they generate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipelines.config.open_world import OpenWorldConfig


@dataclass(frozen=True)
class Point:
    """Settings of a point.

    Attributes:
        spread: Median over prompts and properties of the standard deviation of gold within a prompt, in nats.
        sigma_prompts: Standard deviation over prompts of the logarithm of that spread.
        sigma_properties: The same over the properties of a prompt.
        correlation: Of helpful and harmless gold within a prompt.
        length_correlations: Of helpful gold, and of harmless gold, with the number of details said.
        overrated: What raters add for each of a property's rare phrases, in spreads of gold.
        pairs_per_prompt: Preference pairs per property and prompt of the training splits.
    """

    spread: float
    sigma_prompts: float
    sigma_properties: float
    correlation: float
    length_correlations: tuple[float, float]
    overrated: tuple[float, float, float]
    pairs_per_prompt: int


POINTS = {
    "weak": Point(
        spread=1.2,
        sigma_prompts=0.3,
        sigma_properties=0.25,
        correlation=-0.34,
        length_correlations=(0.3, -0.2),
        overrated=(0.0, 0.0, 0.0),
        pairs_per_prompt=2,
    ),
    "strong": Point(
        spread=3.0,
        sigma_prompts=0.7,
        sigma_properties=0.5,
        correlation=-0.34,
        length_correlations=(0.3, -0.2),
        overrated=(2.0, 4.0, 6.0),
        pairs_per_prompt=20,
    ),
}


def settings(world: OpenWorldConfig) -> Point:
    """The point of a world, with the mechanisms that it switches off at nothing and its own number of pairs."""
    point = POINTS[world.point]
    if not world.prompts_differ:
        point = replace(point, sigma_prompts=0.0)
    if not world.properties_differ:
        point = replace(point, sigma_properties=0.0)
    if not world.tension:
        point = replace(point, correlation=0.0, length_correlations=(0.0, 0.0))
    if not world.overrating:
        point = replace(point, overrated=(0.0, 0.0, 0.0))
    return replace(point, pairs_per_prompt=world.pairs_per_prompt or point.pairs_per_prompt)
