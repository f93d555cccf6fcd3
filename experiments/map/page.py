"""docs/results/map.md: what the map shows, read off the stored numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.tables import markdown_table
from allgood.idealised.objectives import LSC, RAW, RIVALS, TUNED_LSC
from experiments.map import figures
from experiments.map.page_tables import (
    absolute,
    allocation,
    first_estimates,
    other_estimates,
    prompts_left_behind,
    sampled,
    shares,
    turning_points,
)
from experiments.map.real import Real
from experiments.map.rules import EQUAL_WITHIN, Found, Rule, bars_in_words, bars_that_hold, check
from experiments.map.rules_of_thumb import RULES
from experiments.map.stored import Map
from pipelines.output.files import atomic_path

PAGE = "map.md"


def write_page(found: Map, samples: Sequence[Mapping[str, Any]], real: Real | None, folder: Path) -> None:
    """Write map.md and its figures into `folder`; `real` is what was measured of real reward models, if anything."""
    marks = real.marks() if real else {}
    drawn = {
        "map_curves.png": figures.curves_figure(found),
        "map_raw.png": figures.slices_figure(found, LSC, [RAW], "LSC sum minus raw sum", marks),
        "map_rivals.png": figures.slices_figure(
            found, TUNED_LSC, RIVALS, "LSC sum, tuned reference, minus the best of its rivals, tuned alike", marks
        ),
        "map_bars.png": figures.bars_figure(found),
        "map_properties.png": figures.properties_figure(found),
    }
    for name, png in drawn.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_bytes(png)
    sections = [
        HEAD.strip(),
        _rules(found),
        SHARES.strip() + "\n\n" + "\n".join(shares(found)),
        SLICES.strip(),
        *([real.section()] if real else []),
        BARS_SECTION.strip(),
        ABSOLUTE.strip() + "\n\n" + "\n".join(absolute(found)),
        TURNING.strip() + "\n\n" + "\n".join(turning_points(found)),
        ALLOCATION.strip() + "\n\n" + "\n".join(allocation(found)),
        LEFT_BEHIND.strip() + "\n\n" + "\n".join(prompts_left_behind(found)),
        PROPERTIES_SECTION.strip(),
        SAMPLED_SECTION.strip() + "\n\n" + "\n".join(sampled(found, samples)),
        FIRST_SECTION.strip() + "\n\n" + "\n".join([*first_estimates(found), "", *other_estimates(found)]),
        LIMITS.strip(),
    ]
    with atomic_path(folder / PAGE) as temporary:
        temporary.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _rules(found: Map) -> str:
    header = ["rule", "compared", "difference: median [lowest, highest]", "error", "KL, nats", "bars", "verdict"]
    rows = []
    for rule in RULES:
        result = check(rule, found)
        rows.append(
            [
                rule.text,
                f"{rule.first} minus {_either(rule.second)}",
                f"{result.median:+.3f} [{result.low:+.3f}, {result.high:+.3f}]",
                f"{result.error:.3f}",
                ", ".join(f"{kl:g}" for kl in rule.kls),
                bars_in_words(rule.bars),
                _verdict(rule, result, found),
            ]
        )
    return "\n".join([RULES_HEAD.strip(), "", *markdown_table(header, rows, align="llrrrrl")])


def _verdict(rule: Rule, result: Found, found: Map) -> str:
    count = f"{result.count} cells" + (f", {result.left_out} not trusted" if result.left_out else "")
    if result.holds:
        other = [bar for bar in bars_that_hold(rule, found) if bar not in rule.bars]
        return f"holds ({count})" + (f"; also at {bars_in_words(other)}" if other else "")
    at = sorted({bar for _, _, bar in result.against})
    return f"flips in {len(result.against)} of {count}, at bars {bars_in_words(at)}"


def _either(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else "the best of " + ", ".join(names)


HEAD = """
# Where the transform matters: a map

Made by `make map`; `python -m experiments.map --only-write` draws it again from the stored numbers. Nothing is trained
here: the optimum of each objective, pi_0 exp(u / gamma) / Z, is calculated in idealised worlds, at matched KL to pi_0.
It says where a difference between objectives *must* appear once training finds its optimum, and how large it is.

**In short**, with the numbers and their range in the [rules](#rules-of-thumb):

* It matters where spreads differ or where a few answers are overrated, from 1 or 2 nats on. Where everything is alike
  and exact it matters from 4 nats on.
* It does not help up to half a nat, nor up to 2 nats with noisy reward models, nor where the bar lies far above the
  reference. There it loses a little.
* Most of its gain over a raw sum is scale and tail: a z-scored sum with a cap tuned on gold does as well or better.
  What the log-sigmoid has over it is that nothing needs tuning.
* Where answers are overrated, LSC, PAR and minimum fall again from some KL on: with 1 % between 4 and 8 nats.

**A world** has K properties with independent, standard normal gold on each prompt; one unit is "a spread". A reward
is the prompt's spread in nats (1.5 if not said) times gold plus an error. A response is *all good* when every gold
value is above its bar: the 85 % quantile under pi_0, if not said. References of LSC, PAR, minimum and logit of
product are the 85 % quantile of rewards on the prompt. **Different spreads**: the spread has a log-normal factor per
prompt (sigma 0.5) and another per prompt and property (0.5), which end at two sigma. **1 % overrated**: in each
property the reward model adds 2 to 6 spreads to one answer in a hundred.

**Tuned on validation prompts**, each for the best all-good rate at that KL and bar: weights of the weighted sum, caps
of the capped sums (a quantile of pi_0's rewards on the prompt, 80 to 99 %, or none), and the reference of the "LSC
sum, tuned reference". The plain LSC sum has nothing tuned. The z-score divides by the spread on the prompt.

**Method.** Given what properties share, the optimum factorises, so that one-dimensional sums on a lattice are exact
to about 0.0005; minimum and logit of product are folded two properties at a time. Prompts are a randomised quadrature
of 4 x 16: its error on differences is below 0.01 nearly everywhere, and a rule must clear two standard errors. Cells
whose optimum leaves the lattice are hatched and give no rule. [Tests](../../tests/allgood/idealised) compute cells
again by closed forms and by plain sampling.

![All-good rate against KL for six objectives in four worlds, with the most that any policy could reach](map_curves.png)

*Ceiling*: the best all-good rate p of any policy solves KL(Bernoulli(p) || Bernoulli(P0)) = KL.
"""

RULES_HEAD = f"""
## Rules of thumb

Differences of all-good rates. A rule holds when its sign is the same in every cell that it names, at every bar given;
"the same" means within {EQUAL_WITHIN}. Where it flips with the bar, the flip is the rule. *Error*: the largest standard
error of these differences, from the quadrature over prompts; 0 where prompts are alike.
"""

SHARES = """
## What gives the gain: scale, tail, log-sigmoid

All-good rates. *Scale* is what the z-score adds to the raw sum, *tail* what a tuned cap adds to that, and *only
log-sigmoid* what the LSC sum with a tuned reference has over the best of raw, weighted, z-scored and capped sums (all
tuned alike). The plain LSC sum has its reference at the bar, and nothing tuned.
"""

SLICES = """
## Slices

Each panel varies one coordinate of the world in which everything else is alike and exact. Numbers are differences of
all-good rates in hundredths; blue: LSC ahead.

![Heat maps of LSC sum minus raw sum over KL and twenty coordinates](map_raw.png)

The second figure compares like with like: both sides have one parameter tuned on validation prompts, the LSC sum its
reference, its rivals (raw, weighted, z-scored and capped sums) their weights or caps.

![Heat maps of the LSC sum with a tuned reference minus the best rival over KL and twenty coordinates](map_rivals.png)
"""

BARS_SECTION = """
## The bar and the reference

The bar belongs to the world, the reference to the method. Below the reference's own quantile the LSC sum gains early;
far above it, it stops paying before responses are good.

![Heat maps of LSC sum minus raw sum over bar and reference](map_bars.png)
"""

ABSOLUTE = """
## One bar for all prompts

Spreads differ between prompts (sigma 0.5), and the bar is the same number of nats on all of them, passed by 15 % of the
responses on average: prompts of narrow spread are hard.
"""

TURNING = """
## How far to go where answers are overrated

Prompts and properties are alike; a share of the answers is overrated by 2 to 6 spreads. Around minus the logarithm of
that share the overrated answers are what the reward models like best, and no saturating objective can tell them from
good ones: a longer training undoes what the log-sigmoid gained. The tuned cap is safe, since it cannot ask for that
much KL. Far beyond, where only answers over the largest overrating are left, gold has to be high again.
"""

ALLOCATION = """
## How KL is spread over prompts

With one gamma for all prompts a raw sum spends its KL where rewards spread widely. *Equal* gives each prompt the same
KL: what is left of the difference is not allocation.
"""

LEFT_BEHIND = """
## Prompts left behind

At 2 nats. *Not improved*: on the prompt, gold of some property beats pi_0 less than 55 % of the time. *Worst tenth*:
mean all-good rate of the tenth of the prompts with the lowest. *Gold win rate*: mean over the properties.
"""

PROPERTIES_SECTION = """
## More properties

Five properties at an 85 % bar are all good once in 13,000 responses of pi_0: -log P0 is 9.5 nats, against 3.8 for two.

![All-good rate against KL over -log P0 for one to five properties](map_properties.png)
"""

SAMPLED_SECTION = """
## What samples of pi_0 can show

The same worlds by tilting samples of pi_0, 40 prompts. Samples support 2 nats, and flatter a raw sum at 4. With errors
whose tails are as heavy as Student's t with 3 degrees of freedom a raw sum has no optimum at all: the more samples, the
more of its KL goes to errors. Such errors are therefore not on the map.
"""

FIRST_SECTION = """
## The estimates that this map began with

First estimates came from 16,000 samples on 40 prompts, and some by quadrature; these are the same worlds calculated,
with spreads that end at four sigma. Confirmed: everything where prompts are alike, the flip with the bar, the equal KL
per prompt, PAR. With different spreads the raw sum is lower than estimated: its KL goes to the widest prompts, which 40
prompts hold few of. Not confirmed: the minimum, which is higher as a minimum of log-sigmoids.
"""

LIMITS = """
## What the map does not know

* It is about optima. A training that stops early, explores badly or overfits reaches others; the
  [study](quickstart_study.md) and the [paper's experiments](paper.md) train.
* Gold is normal within prompts (or ends at a ceiling), errors do not depend on gold, prompts differ in spread only.
* Tuned arms are tuned on gold, of which a user has little; the LSC sum needs none of it.
* Log-normal spreads end at two sigma. Without an end, a raw sum with exponential tails has no optimum over an endless
  population of prompts: the widest one takes all KL.
"""
