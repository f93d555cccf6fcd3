"""Draw the figures of docs/explanation/ from allgood's own functions: `python -m docs.plots`, within a minute."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from allgood import aggregation, references, transforms
from allgood.formula import Formula
from allgood.tilting import solve_gamma, tilt
from pipelines.output.drawing import GREY, PALETTE
from tests.oracles.enumerable_policy import random_logits
from tests.oracles.kl_gradients import Loss, error_of, loss_of, sequence_k2_as_loss

FOLDER = Path(__file__).parent / "explanation" / "figures"
SPREADS = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64)
QUANTILE_85 = 1.0364333894937898  # of a standard normal distribution
GAMMA = 0.5
NUM_POINTS = 200_001


def main() -> None:
    """Draw all of them."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in FIGURES.items():
        stream = io.BytesIO()
        draw().savefig(stream, format="png", dpi=90, facecolor="white")
        file = FOLDER / f"{name}.png"
        # 64 colours are enough for lines and a third of the size.
        Image.open(stream).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(file, optimize=True)
        print(f"{file.name}, {file.stat().st_size // 1000} kB")


def transforms_and_slopes() -> Figure:
    """Utility and its slope against the margin."""
    figure = Figure(figsize=(9.4, 3.8), layout="constrained")
    utility, slope = figure.subplots(1, 2)
    curves: Mapping[str, Callable[[Tensor], Tensor]] = {
        "raw reward": lambda z: transforms.identity(z, 0.0),
        "log σ(z)": lambda z: transforms.log_sigmoid(z, 0.0),
        "σ(z)": lambda z: transforms.sigmoid(z, 0.0),
        "clip to ±2": lambda z: transforms.clip(z, 0.0, low=-2.0, high=2.0),
    }
    for index, (name, transform) in enumerate(curves.items()):
        z = torch.linspace(-6, 6, 601, dtype=torch.float64, requires_grad=True)
        u = transform(z)
        slopes = torch.autograd.grad(u.sum(), z)[0]
        _line(utility, z, u, index, name)
        _line(slope, z, slopes, index, name)
    utility.set(xlabel="margin z = r − r_ref", ylabel="utility u", ylim=(-6, 3), title="What a reward is worth")
    slope.set(
        xlabel="margin z = r − r_ref", ylabel="slope du/dr", ylim=(-0.05, 1.1), title="What one more unit is worth"
    )
    for axes in (utility, slope):
        axes.axvline(0, color=GREY, linewidth=0.8)
    utility.legend(frameon=False, fontsize=9)
    return figure


def reference_dial() -> Figure:
    """The optimum at one KL coefficient, for reference points from far below to far above the rewards."""
    figure = Figure(figsize=(9.4, 3.8), layout="constrained")
    density, spent = figure.subplots(1, 2)
    rewards = normal_points(torch.ones(1, dtype=torch.float64))
    pi_0 = torch.exp(-0.5 * rewards[0].square()) / math.sqrt(2 * math.pi)
    density.fill_between(rewards[0], pi_0, color=GREY, alpha=0.25, label="π0")
    for index, reference in enumerate((-4.0, -1.0, QUANTILE_85, 4.0)):
        weights = tilt(transforms.log_sigmoid(rewards, reference), GAMMA).weights[0]
        _line(density, rewards[0], pi_0 * weights * NUM_POINTS, index, f"r_ref = {reference:.3g}")
    raw = tilt(transforms.identity(rewards, 0.0), GAMMA)
    _line(density, rewards[0], pi_0 * raw.weights[0] * NUM_POINTS, 6, "raw reward", linestyle="--")
    density.set(
        xlabel="reward (π0: mean 0, spread 1)", ylabel="density", xlim=(-4, 4.5), title=f"The optimum at γ = {GAMMA}"
    )
    density.legend(frameon=False, fontsize=9, loc="upper left")
    places = torch.linspace(-8, 8, 65)
    kls = [float(tilt(transforms.log_sigmoid(rewards, float(place)), GAMMA).kl) for place in places]
    _line(spent, places, torch.tensor(kls), 1, "log σ(r − r_ref)")
    spent.axhline(float(raw.kl), color=PALETTE[6], linestyle="--", linewidth=1.2, label="raw reward")
    spent.set(xlabel="reference r_ref", ylabel="KL(optimum ‖ π0), nats", title="From frozen to raw")
    spent.legend(frameon=False, fontsize=9)
    return figure


def kl_allocation() -> Figure:
    """Who spends the KL: four prompts of different spread, at two mean KLs."""
    figure = Figure(figsize=(9.4, 3.6), layout="constrained")
    rewards = normal_points(SPREADS)
    utilities = transforms.log_sigmoid(rewards, QUANTILE_85 * SPREADS)
    places = np.arange(len(SPREADS))
    for axes, mean_kl in zip(figure.subplots(1, 2), (1.0, 4.0), strict=True):
        raw = mean_kl * SPREADS.square() / SPREADS.square().mean()  # exact: a tilted Gaussian spends s²/2γ²
        lsc = tilt(utilities, solve_gamma(utilities, mean_kl)).kl
        for index, (name, kl) in enumerate({"raw reward": raw, "log σ, 85 % reference": lsc}.items()):
            bars = axes.bar(
                places + 0.4 * (index - 0.5), kl, 0.38, color=PALETTE[index], hatch=("", "//")[index], label=name
            )
            axes.bar_label(bars, fmt="%.2g", fontsize=8)
        axes.set_xticks(places, [f"{float(spread):g}" for spread in SPREADS])
        axes.set(xlabel="spread of rewards under π0 on the prompt", ylabel="KL of the prompt, nats")
        axes.set_title(f"mean KL {mean_kl:g} nats")
        axes.legend(frameon=False, fontsize=9)
    return figure


def reference_error() -> Figure:
    """Error of the 85 % quantile of n draws, in spreads of the prompt."""
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    sizes = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
    estimators = {"Gaussian": references.gaussian_quantile, "empirical": references.empirical_quantile}
    generator = torch.Generator().manual_seed(0)
    draws = {size: torch.randn(10_000, size, generator=generator) for size in sizes}
    for index, (name, estimate) in enumerate(estimators.items()):
        errors = torch.stack([estimate(draws[size], 0.85).value - QUANTILE_85 for size in sizes])
        _line(axes, torch.tensor(sizes), errors.square().mean(-1).sqrt(), index, f"{name}: error", marker="os"[index])
        _line(axes, torch.tensor(sizes), errors.mean(-1), index, f"{name}: bias", linestyle=":", marker="os"[index])
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.set_xticks((4, 8, 16, 32, 64, 128), ("4", "8", "16", "32", "64", "128"))
    axes.set(xlabel="draws of π0 per prompt", ylabel="in spreads of the prompt's rewards")
    axes.legend(frameon=False, fontsize=9)
    return figure


def combinations() -> Figure:
    """Level lines of six combinations over two margins."""
    figure = Figure(figsize=(9.4, 6.2), layout="constrained")
    z = torch.linspace(-4, 4, 161)
    harmless, helpful = torch.meshgrid(z, z, indexing="ij")
    margins = {"helpful": helpful, "harmless": harmless}
    surfaces = {
        "helpful & harmless": Formula("helpful & harmless").log_prob(margins),
        "helpful | harmless": Formula("helpful | harmless").log_prob(margins),
        "helpful & ~harmless": Formula("helpful & ~harmless").log_prob(margins),
        "raw sum": aggregation.raw_sum(margins),
        "minimum of log σ": aggregation.minimum({name: F.logsigmoid(margin) for name, margin in margins.items()}),
        "logit of the product": aggregation.logit_of_product(margins),
    }
    for axes, (name, surface) in zip(
        figure.subplots(2, 3, sharex=True, sharey=True).flat, surfaces.items(), strict=True
    ):
        levels = np.arange(-8, 8.5, 1)
        axes.contourf(z, z, surface, levels=levels, cmap="viridis", extend="both")
        lines = axes.contour(z, z, surface, levels=levels, colors="white", linewidths=0.7, linestyles="solid")
        axes.clabel(lines, fontsize=7, fmt="%g")
        axes.set_title(name, fontsize=10)
        axes.set_aspect("equal")
    figure.supxlabel("margin of helpful", fontsize=10)
    figure.supylabel("margin of harmless", fontsize=10)
    return figure


def dependence() -> Figure:
    """log P(both good) when the two judgements are correlated, against what the formula says."""
    figure = Figure(figsize=(9.4, 3.8), layout="constrained")
    value, gap = figure.subplots(1, 2)
    z = torch.linspace(-5, 5, 201, dtype=torch.float64)
    independent = Formula("a & b").log_prob({"a": z, "b": z})
    for index, correlation in enumerate((0.0, 0.25, 0.5, 1.0)):
        log_p = log_both(z, correlation)
        _line(value, z, log_p, index, f"correlation {correlation:g}")
        _line(gap, z, log_p - independent, index, f"correlation {correlation:g}")
    value.set(
        xlabel="margin of both properties", ylabel="log P(both good)", title="P(both good) of two alike properties"
    )
    gap.set(xlabel="margin of both properties", ylabel="truth − formula, nats", title="What the formula leaves out")
    value.legend(frameon=False, fontsize=9)
    return figure


def kl_choices() -> Figure:
    """How far the expected gradient of each KL choice is from the exact one, on random enumerable policies."""
    figure = Figure(figsize=(7.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    errors = {name: choice_errors(loss) for name, loss in kl_losses().items()}
    for place, (name, found) in enumerate(errors.items()):
        low, middle, high = np.quantile(found, (0.1, 0.5, 0.9))
        print(f"  {name}: median {middle:.2f}, 10 % to 90 % {low:.2f} to {high:.2f}")
        axes.plot((low, high), (place, place), color=PALETTE[0 if middle < 1e-9 else 1], linewidth=2)
        axes.plot(middle, place, marker="o", color=PALETTE[0 if middle < 1e-9 else 1])
    axes.set_yticks(range(len(errors)), list(errors))
    axes.invert_yaxis()
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set(xlabel="|gradient − exact gradient| / |exact gradient|", xlim=(-0.05, None))
    return figure


def kl_losses() -> dict[str, Loss]:
    """Every choice by its name."""
    losses = {f"{e} as {p}": loss_of(e, p) for p in ("reward", "loss") for e in ("k1", "k2", "k3", "full")}
    return losses | {"k2 of the sequence sum as loss": sequence_k2_as_loss}


def choice_errors(loss: Loss, num_policies: int = 100) -> list[float]:
    """Relative errors on policies that have moved some way from a random reference policy (KL 0.2 nats in the mean)."""
    references_and_steps = [(random_logits(seed), random_logits(seed + 1000)) for seed in range(num_policies)]
    return [error_of(loss, reference + 0.5 * step, reference) for reference, step in references_and_steps]


def log_both(z: Tensor, correlation: float) -> Tensor:
    """log P(both good) for equal margins: with this probability the second judgement is the first one again."""
    apart, same = Formula("a & b").log_prob({"a": z, "b": z}), F.logsigmoid(z)
    if correlation in (0.0, 1.0):
        return same if correlation else apart
    return torch.logaddexp(apart + math.log1p(-correlation), same + math.log(correlation))


def normal_points(spreads: Tensor) -> Tensor:
    """Equally likely points of N(0, s²), [prompts, points]: samples of π0 without noise."""
    levels = (torch.arange(NUM_POINTS, dtype=torch.float64) + 0.5) / NUM_POINTS
    return spreads[:, None] * torch.special.ndtri(levels)


def _line(axes: Axes, x: Tensor, y: Tensor, index: int, name: str, *, linestyle: str = "-", marker: str = "") -> None:
    axes.plot(
        x.detach(), y.detach(), color=PALETTE[index], label=name, linestyle=linestyle, marker=marker, markersize=4
    )


FIGURES: dict[str, Callable[[], Figure]] = {
    "transforms": transforms_and_slopes,
    "reference_dial": reference_dial,
    "kl_allocation": kl_allocation,
    "reference_error": reference_error,
    "combinations": combinations,
    "dependence": dependence,
    "kl_choices": kl_choices,
}

if __name__ == "__main__":
    main()
