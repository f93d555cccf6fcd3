"""`python -m experiments.headline`: docs/results/where_it_matters.png, from the stored numbers of the other pages."""

from __future__ import annotations

from pathlib import Path

from experiments.headline.figure import headline_figure
from experiments.headline.shown import Numbers, panels
from experiments.map.real import load_real
from experiments.map.stored import load_map
from experiments.open_world.stored import Stored
from experiments.paper.stored import load_results
from experiments.script import experiment
from pipelines.output.files import atomic_path
from pipelines.output.progress import say

RESULTS = Path("docs/results")
FIGURE = RESULTS / "where_it_matters.png"


def main() -> None:
    """Draw what is stored today."""
    stored = RESULTS / "data"
    numbers = Numbers(
        load_map(stored / "map"),
        load_real(stored / "real_data"),
        load_results(stored / "study", "seed_*_on.json"),
        Stored(stored / "open_world").points(),
    )
    with atomic_path(FIGURE) as temporary:
        temporary.write_bytes(headline_figure(panels(numbers)))
    say(f"results: {FIGURE}")


if __name__ == "__main__":
    with experiment():
        main()
