"""What the page says in words; its numbers are in page.py."""

HEAD = """
# Real reward models on the map

`python -m experiments.real_data --data FOLDER --public FOLDER` trains small reward models on real pairs, scores real
judged answers, measures the [map's](map.md) coordinates, and calculates what follows. `--only-write` draws this page
from [the stored numbers](data/real_data), which are aggregates only. Intervals are 95 %, by bootstrap over prompts.
"""

WHAT = """
## What is measured

Prompts of AlpacaEval with 16 to 32 answers by different models, each with a logit of a GPT-4 judge. Prompts are split
by groups of near-duplicates; half are held out, and only they are reported. **Helpful** is trained on judged pairs of
the other half, **harmless** on pairs of hh-rlhf (harmless-base). *Linear*: a head on the frozen encoder
(all-MiniLM-L6-v2, 22M). *Fine-tuned*: the whole encoder, one epoch. Rewards are as trained, not divided by the
temperature.
"""

TAILS = """
## Tails

The error of the helpful reward is what a regression on the judge within its prompt leaves, studentised. Such residuals
have lighter tails than the errors, so that each law of errors is sent through the same regressions (400 simulations).
Columns of laws: the 95 % range of the statistic. *Power*: how often the law is told from normal errors at the 5 %
level. *1 % overrated*: by 2 to 6 spreads of the reward.
"""

PREDICTED = """
## What the map says of them

All-good rates at 85 % bars and matched mean KL, at the coordinates above. Gold, rewards and errors are normal within
prompts. Both rewards have the measured correlation with gold (of harmless there is no gold: the same is assumed); gold
and errors of the two properties are correlated as the rewards are. Optima are exact on a grid of both rewards
(`experiments/real_data/normal_world.py`, [tested](../../tests/experiments/real_data) against the map's code). The last
columns are 95 % intervals over resampled prompts, of coordinates only.
"""

ASSUMED = """
## Points that are assumed

*First look*: spread 0.57 nats, correlation with gold .34. *Better*: 2 nats, .7. *Strong*: 4 nats, .8. All with
properties at -.34 and 85 % bars; "differ" means sigma 0.7 (first look 0.4). Spread and correlation are those of the
reward, errors included; overrated answers are rated 2 to 6 spreads of gold too high.

Earlier estimates by sampling (raw / LSC) were .020/.020, .027/.029, .038/.043 at the first look; .046/.047, .077/.092,
.132/.210 at *better*; .047/.054, .084/.113, .168/.279 at *strong*; and .017/.050, .019/.097, .026/.187 with overrating.
The first look comes out up to 2 nats, and is higher at 4. At *better* and *strong* LSC comes out where spreads differ
by prompt **and property**; raw sums are lower than estimated at 4 nats. At *better* with spreads alike the sign is the
other one: raw is ahead up to 4 nats. With spreads that differ between prompts only it is ahead at *strong* too, up to
2 nats. So at these points it is different spreads of the two properties on one prompt, and overrating, that make the
log-sigmoid win. A z-scored sum gains at least as much from the first, a capped one from the second.
"""

CANNOT = """
## What these data cannot say

* The answers of a prompt come from different models. They are no samples of one policy: neither their tail nor their
  support is pi_0's, and part of their spread is which model answered.
* The judge is not gold: its own noise lowers every correlation with it. Of harmless there is no gold at all here.
* Overrating of one answer in a thousand, or one that only an optimised policy finds, is in no sample of this size.
* The reward models are small and trained on few pairs. Their spread grows with training: it is a coordinate of a
  particular model, not of a task.
"""

FAILURES = """
What papers say of failures, from their abstracts: the best reward models average 46.6 % where style misleads, below
chance ([RM-Bench](https://arxiv.org/abs/2410.16184)); small changes that keep the meaning cost much accuracy
([reWordBench](https://arxiv.org/abs/2503.11751)); tails of open reward models are consistent with light-tailed error
([Catastrophic Goodhart](https://arxiv.org/abs/2407.14503)). Failures are real, but as biases of style and format that
many answers share, rather than as rare outliers.

For the *strong* point this means: a spread of 4 nats lies within what is found (1 to 7). Sigma 0.7 is above what is
found for one model (0.3), and correlation .8 above .74, the best case found: both are assumptions. Overrating of 1 % by
2 to 6 spreads is an assumption too, and was not seen.

Nothing was found on the spread of a harmless reward on samples of one policy, on the correlation of helpful and
harmless there, or on how their spreads differ on one prompt.
"""
