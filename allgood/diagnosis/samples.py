"""What a diagnosis is made of: rewards of pi_0's samples, and where it exists a judge of each property with its bar."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DiagnosedSamples:
    """Independent samples of pi_0: answers that other models gave have another law, and give no diagnosis.

    Attributes:
        names: Of the properties.
        rewards: [properties, prompts, samples], in nats.
        references: r_ref of the LSC sum, [properties, prompts], in nats.
        scores: What a judge says (gold, or a held-out preference model), [properties, prompts, samples]; None where
            nobody judges every property.
        bars: The score from which a sample is good, [properties, prompts]; with `scores` only.
    """

    names: tuple[str, ...]
    rewards: Floats
    references: Floats
    scores: Floats | None = None
    bars: Floats | None = None

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together.

        Raises:
            ValueError: Shapes differ, a value is not finite, or scores come without bars.
        """
        num_properties, num_prompts, _ = self.rewards.shape
        if len(self.names) != num_properties or self.references.shape != (num_properties, num_prompts):
            raise ValueError(
                f"names and references must fit rewards {self.rewards.shape}, got {len(self.names)} and "
                f"{self.references.shape}"
            )
        if (self.scores is None) != (self.bars is None):
            raise ValueError("scores and bars come together")
        parts = [self.rewards, self.references, *(part for part in (self.scores, self.bars) if part is not None)]
        if self.scores is not None and self.scores.shape != self.rewards.shape:
            raise ValueError(f"scores must fit rewards {self.rewards.shape}, got {self.scores.shape}")
        if not all(np.isfinite(part).all() for part in parts):
            raise ValueError("a reward, reference, score or bar is not finite; leave out prompts with failed scores")

    @property
    def num_prompts(self) -> int:
        """Prompts."""
        return int(self.rewards.shape[1])

    @property
    def num_samples(self) -> int:
        """Samples per prompt."""
        return int(self.rewards.shape[2])

    @property
    def is_good(self) -> NDArray[np.bool_]:
        """Whether each sample is at least at its bar, [properties, prompts, samples]; needs a judge."""
        assert self.scores is not None
        assert self.bars is not None
        good: NDArray[np.bool_] = self.scores >= self.bars[..., None]
        return good

    def on(self, prompts: NDArray[np.intp]) -> DiagnosedSamples:
        """Some prompts, by position; one may come several times."""
        return DiagnosedSamples(
            self.names,
            self.rewards[:, prompts],
            self.references[:, prompts],
            None if self.scores is None else self.scores[:, prompts],
            None if self.bars is None else self.bars[:, prompts],
        )


def halves(num_samples: int, generator: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions of two random halves of equal size."""
    order = generator.permutation(num_samples)
    half = num_samples // 2
    first, second = (order[low:high] for low, high in pairwise((0, half, 2 * half)))
    return first, second
