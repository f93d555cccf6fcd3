"""The rules that the page states. A test holds that each is true of the stored numbers."""

from __future__ import annotations

from dataclasses import replace

from allgood.idealised.cells import BARS, Cell, Errors, along
from allgood.idealised.objectives import CAPPED_Z, LSC, MINIMUM, PAR, RAW, Z_SCORE
from experiments.map import groups
from experiments.map.rules import Rule

LOW, UP_TO_2, HIGH = (0.25, 0.5), (0.25, 0.5, 1.0, 2.0), (4.0, 8.0)
UP_TO_85, FROM_85 = BARS[:-1], BARS[2:]

WORLDS = tuple(groups.WORLDS.values())
SPREADS = along(groups.PLAIN, "spread", groups.SPREADS[1:])
RATIOS = along(groups.PLAIN, "ratio", groups.RATIOS[2:])
MIXED = along(groups.PLAIN, "mixed", groups.SIGMAS[2:])
BETWEEN = along(groups.PLAIN, "between_prompts", groups.SIGMAS[2:])
DIFFERENT = (groups.DIFFERENT, *MIXED, *BETWEEN, *RATIOS)
OVERRATED = (groups.RARE, groups.BOTH, *along(groups.RARE, "mixed", groups.SIGMAS[2:]))
UNDERRATED = tuple(Cell(errors=Errors("underrated", 4, rate)) for rate in (0.01, 0.1))
SHARED = Cell(errors=replace(groups.OVERRATED, shared=True))
NOISY = tuple(Cell(errors=Errors("normal", size)) for size in (1.0, 2.0))

RULES: tuple[Rule, ...] = (
    Rule(
        "Up to half a nat with exact reward models the LSC sum loses a little to the raw sum",
        *(LSC, (RAW,), "below", (groups.PLAIN, *SPREADS, *RATIOS[:1], groups.DIFFERENT), LOW, FROM_85),
    ),
    Rule(
        "With one bar far above the reference (95 % against 85 %) it loses up to 2 nats",
        *(LSC, (RAW,), "below", SPREADS, UP_TO_2, (0.95,)),
    ),
    Rule(
        "With one bar below the reference (50 % against 85 %) it wins from a quarter of a nat on",
        *(LSC, (RAW,), "above", SPREADS, UP_TO_2, (0.5,)),
    ),
    Rule(
        "From 4 nats on with exact or nearly exact reward models it wins, unless the bar lies far above the reference",
        *(LSC, (RAW,), "above", (*SPREADS, *DIFFERENT, Cell(errors=groups.LAPLACE)), HIGH, UP_TO_85),
    ),
    Rule(
        "Different spreads: it wins from 2 nats on",
        *(LSC, (RAW,), "above", DIFFERENT, (2.0, 4.0, 8.0), UP_TO_85),
    ),
    Rule(
        "Different spreads: dividing each reward by its spread alone wins from 1 nat on",
        *(Z_SCORE, (RAW,), "above", DIFFERENT, (1.0, 2.0, 4.0, 8.0), UP_TO_85),
    ),
    Rule(
        "Different spreads: against that z-scored sum the LSC sum loses up to 1 nat",
        *(LSC, (Z_SCORE,), "below", DIFFERENT, (0.25, 0.5, 1.0), FROM_85),
    ),
    Rule(
        "... and wins from 4 nats on",
        *(LSC, (Z_SCORE,), "above", DIFFERENT, HIGH, UP_TO_85),
    ),
    Rule(
        "A few answers overrated (1 %): it wins from 1 to 4 nats, at every bar",
        *(LSC, (RAW,), "above", OVERRATED, (1.0, 2.0, 4.0), BARS),
    ),
    Rule(
        "... and at 8 nats it has gone to the overrated answers too, and is below the raw sum",
        *(LSC, (RAW,), "below", OVERRATED[:2], (8.0,), UP_TO_85),
    ),
    Rule(
        "If both properties overrate the same answers, it wins at 1 and 2 nats",
        *(LSC, (RAW,), "above", (SHARED,), (1.0, 2.0), BARS),
    ),
    Rule(
        "... and has turned already at 4 nats, below the raw sum at low bars",
        *(LSC, (RAW,), "below", (SHARED,), (4.0,), (0.5, 0.7)),
    ),
    Rule(
        "Answers underrated (1 or 10 %) do it no harm: it wins from 4 nats on, as with exact reward models",
        *(LSC, (RAW,), "above", UNDERRATED, HIGH, UP_TO_85),
    ),
    Rule(
        "Gold that ends a quarter or half a spread above the bar, exact reward models: it loses up to 2 nats",
        *(LSC, (RAW,), "below", along(groups.PLAIN, "ceiling", (0.25, 0.5)), UP_TO_2, (0.85,)),
    ),
    Rule(
        "... and gains next to nothing at 4 and 8",
        *(LSC, (RAW,), "equal", along(groups.PLAIN, "ceiling", (0.25, 0.5)), HIGH, (0.85,)),
    ),
    Rule(
        "Five properties, exact and alike: no difference up to 4 nats (0.4 of -log P0)",
        *(LSC, (RAW,), "equal", (Cell(properties=5),), (*UP_TO_2, 4.0), FROM_85),
    ),
    Rule(
        "Correlation of the properties from -0.34 to 0.9 changes the sizes, not the sign at 4 nats",
        *(LSC, (RAW,), "above", along(groups.PLAIN, "correlation", groups.CORRELATIONS[1:]), (4.0,), UP_TO_85),
    ),
    Rule(
        "Noisy reward models (normal errors of one or two spreads): it loses up to 2 nats",
        *(LSC, (RAW,), "below", NOISY, UP_TO_2, FROM_85),
    ),
    Rule(
        "Rewards of small spread (a quarter of a nat): no difference up to 1 nat",
        *(LSC, (RAW,), "equal", (Cell(spread=0.25),), (0.25, 0.5, 1.0), FROM_85),
    ),
    Rule(
        "A capped z-scored sum whose cap is tuned on gold is above the plain LSC sum, up to 4 nats",
        *(CAPPED_Z, (LSC,), "above", WORLDS, (0.25, 0.5, 1.0, 2.0, 4.0), BARS),
    ),
    Rule(
        "PAR is above the LSC sum up to 1 nat",
        *(PAR, (LSC,), "above", WORLDS, (0.25, 0.5, 1.0), FROM_85),
    ),
    Rule(
        "... and below it at 4 nats",
        *(PAR, (LSC,), "below", WORLDS, (4.0,), UP_TO_85),
    ),
    Rule(
        "The minimum of the log-sigmoids is above their sum from 1 to 4 nats",
        *(MINIMUM, (LSC,), "above", WORLDS, (1.0, 2.0, 4.0), UP_TO_85),
    ),
)
