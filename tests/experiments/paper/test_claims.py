"""The table of claims says what map, sections and stored seeds of the open world say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from allgood.idealised.objectives import LSC, MINIMUM, RAW
from experiments.map.stored import Map, load_map
from experiments.open_world.stored import Stored
from experiments.paper.claims import CLAIMS, FEW_OVERRATED, KLS, NOT_TRAINED, ONE_PROPERTY, OnMap, claims_table
from tests.experiments.open_world.made_up import predictions, store_arms

DATA = Path(__file__).parents[3] / "docs/results/data"
FINDINGS = {title: f"found of {title}" for claim in CLAIMS for title in claim.sections}


@pytest.fixture(scope="module")
def found() -> Map:
    return load_map(DATA / "map")


def rows(found: Map, stored: Stored) -> dict[str, list[str]]:
    lines = claims_table(FINDINGS, found, stored.points())
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in cells[2:]}


def test_a_sign_is_counted_per_kl(found: Map) -> None:
    differences = OnMap(LSC, RAW).differences(found)
    assert differences.shape == (len(KLS), 4)
    # The table "What gives the gain": .21 and .24, .20 and .12 at 1 nat where all is alike, and with 1 % overrated.
    np.testing.assert_allclose(differences[KLS.index(1.0)][[0, 2]], [-0.03, 0.08], atol=0.011)
    words = OnMap(LSC, RAW).in_words(found)
    assert words.startswith(
        "LSC sum minus raw sum: of 4 worlds it holds in 2 at 0.5 (the opposite in 2), in 3 at 1 (the opposite in 1), "
        "in all at 2, in all at 4, in 2 at 8 (the opposite in 2) nats;"
    )


def test_a_claim_that_nowhere_holds_says_none(found: Map) -> None:
    words = OnMap(LSC, MINIMUM).in_words(found)
    assert "in none at 4 (the opposite in all)" in words
    assert not re.search(r"holds in (?!none)|, in (?!none)\w+ at", words)


def test_optima_beyond_the_lattice_are_left_out(found: Map) -> None:
    assert np.isnan(OnMap(LSC, RAW, {**FEW_OVERRATED, **ONE_PROPERTY}).differences(found)).mean() < 0.1


def test_every_claim_has_its_findings_and_nothing_is_made_up_for_the_open_world(found: Map, tmp_path: Path) -> None:
    table = rows(found, Stored(tmp_path))
    assert list(table) == [claim.words for claim in CLAIMS]
    for claim in CLAIMS:
        assert all(FINDINGS[title] in table[claim.words][1] for title in claim.sections)
        is_asked = claim.rival is not None or bool(claim.metrics)
        assert (table[claim.words][2] == NOT_TRAINED) == is_asked


def test_trained_seeds_of_the_open_world_stand_with_their_intervals(found: Map, tmp_path: Path) -> None:
    stored = Stored(tmp_path)
    for seed, ahead in ((1, 0.1), (2, 0.2)):
        stored.write(stored.predictions("strong", seed), predictions("strong", seed))
        store_arms(stored, "strong", seed, ahead=ahead)
    table = rows(found, stored)
    assert "`strong`, 2 nats, all good: +0.150 [" in table[CLAIMS[0].words][2]
    hacks = next(claim for claim in CLAIMS if "hacks" in claim.words)
    # Made-up arms have the same rare phrases; half of what the LSC sum is ahead is its gold win rate.
    assert "`strong`, 2 nats, rare phrases: +0.000 [+0.000, +0.000], 2 seeds" in table[hacks.words][2]
    assert "`strong`, 2 nats, overoptimisation: -0.075 [" in table[hacks.words][2]
