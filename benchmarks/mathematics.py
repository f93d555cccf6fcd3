"""Speed and memory of the mathematics, as ratios to the plainest thing that could be done instead.

    python -m benchmarks.mathematics            # prints; --write also writes benchmarks/results/mathematics.md

One CPU thread; a time is processor time and the best of 15 runs, so that other work on the machine disturbs it little.
The ratios are what `allgood` promises; exit status 1 when one is missed. Peak memory is what the allocator held beyond
the inputs.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from actors.tables import markdown_table
from allgood.best_of_k import best_of_k
from allgood.formula import Formula
from allgood.tilting import tilt
from allgood.transforms import log_sigmoid

PAGE = Path(__file__).parent / "results" / "mathematics.md"
SIX_NAMES = "(a & b) | (c & ~d) | (e & f) | (~a & c & ~f)"
CYCLE = " | ".join(
    f"({a} & {b} & ~{c})" for a, b, c in zip("abcdefghijkl", "bcdefghijkla", "efghijklabcd", strict=True)
)
TWELVE_NAMES = "(a & b | c) & (d | ~e & f) & (g | h) & (~i | j & a) & (k | l | ~c)"


@dataclass(frozen=True)
class Result:
    """One promise: what was measured, in which unit, and what is allowed."""

    name: str
    value: float
    unit: str
    allowed: float


def main() -> int:
    """Print all figures; 1 when a promise is missed."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    results = [*speed(), *memory()]
    width = max(len(result.name) for result in results)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread")
    for result in results:
        verdict = "ok" if result.value <= result.allowed else "MISSED"
        print(f"{result.name:{width}}  {result.value:8.3f} {result.unit:16} allowed {result.allowed:5g}  {verdict}")
    if "--write" in sys.argv[1:]:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page(results), encoding="utf-8")
    return int(any(result.value > result.allowed for result in results))


def page(results: list[Result]) -> str:
    """The figures as a page, with what they were measured on."""
    lines = [
        "# Speed and memory of the mathematics",
        "",
        "Written by `python -m benchmarks.mathematics --write`. Ratios are to the plainest thing that could be done",
        "instead: a sum of log-sigmoids of the same tensors, or the size of the input. Times are processor time of one",
        "thread, the best of 15 runs.",
        "",
        f"torch {torch.__version__}, {os.cpu_count()} CPU cores, load average {os.getloadavg()[0]:.1f} at the end",
        "(above the number of cores, other work was running too).",
        "",
    ]
    rows = [[r.name, f"{r.value:.2f} {r.unit}", f"{r.allowed:g} {r.unit}"] for r in results]
    return "\n".join([*lines, *markdown_table(["what", "measured", "allowed"], rows)]) + "\n"


def speed() -> list[Result]:
    """Times, the first three as ratios to sums of log-sigmoids on the same tensors."""
    two, reference = named_margins("ab", 1_000_000), torch.zeros(1_000_000)
    six = named_margins("abcdef", 100_000)
    plain_two, plain_six = seconds(lambda: plain_sum(two)), seconds(lambda: plain_sum(six))
    six_names, conjunction = Formula(SIX_NAMES), Formula("a & b")
    utilities = torch.randn(1000, 64)
    gammas = torch.logspace(-2, 2, 100).tolist()
    return [
        Result(
            "LSC sum of 2 properties, 1e6 samples",
            seconds(lambda: log_sigmoid(two["a"], reference) + log_sigmoid(two["b"], reference)) / plain_two,
            "x plain sum",
            3,
        ),
        Result("formula a & b, 1e6 samples", seconds(lambda: conjunction.log_prob(two)) / plain_two, "x plain sum", 3),
        Result(
            "formula of 6 names, 1e5 samples", seconds(lambda: six_names.log_prob(six)) / plain_six, "x plain sum", 20
        ),
        Result("tilt, 1000 x 64, 100 gammas", seconds(lambda: [tilt(utilities, gamma) for gamma in gammas]), "s", 1),
        Result("best_of_k, 1000 x 64, every k", seconds(lambda: best_of_k(utilities, utilities)), "s", 1),
    ]


def memory() -> list[Result]:
    """Peak of extra memory as a multiple of the input."""
    two, twelve = named_margins("ab", 500_000), named_margins("abcdefghijkl", 100_000)
    reference = torch.zeros(500_000)
    trained = {name: margin.clone().requires_grad_() for name, margin in twelve.items()}
    conjunction, twelve_names, cycle = Formula("a & b"), Formula(TWELVE_NAMES), Formula(CYCLE)
    few = {name: margin[:8192].clone().requires_grad_() for name, margin in twelve.items()}
    utilities = torch.randn(2000, 64)
    cases: list[tuple[str, Callable[[], object], int]] = [
        (
            "memory: LSC sum of 2 properties",
            lambda: log_sigmoid(two["a"], reference) + log_sigmoid(two["b"], reference),
            2 * 500_000,
        ),
        ("memory: formula a & b", lambda: conjunction.log_prob(two), 2 * 500_000),
        ("memory: formula of 12 names", lambda: twelve_names.log_prob(twelve), 12 * 100_000),
        ("memory: the same with gradient", lambda: twelve_names.log_prob(trained).sum().backward(), 12 * 100_000),
        ("memory: cycle of 12 names with gradient", lambda: cycle.log_prob(few).sum().backward(), 12 * 8192),
        ("memory: one tilt", lambda: tilt(utilities, 0.5), 2000 * 64),
    ]
    return [Result(name, peak_bytes(call) / (4 * size), "x input", 8) for name, call, size in cases]


def named_margins(names: str, num_samples: int) -> dict[str, Tensor]:
    """Random margins [samples] per name."""
    return {name: 3 * torch.randn(num_samples) for name in names}


def plain_sum(margins: dict[str, Tensor]) -> Tensor:
    """The baseline: a sum of log-sigmoids."""
    total = torch.zeros(())
    for margin in margins.values():
        total = total + F.logsigmoid(margin)
    return total


def seconds(call: Callable[[], object], *, repeats: int = 15) -> float:
    """Best processor time of several; the first call does not count."""
    call()
    times = []
    for _ in range(repeats):
        started = time.thread_time()
        call()
        times.append(time.thread_time() - started)
    return min(times)


def peak_bytes(call: Callable[[], object]) -> int:
    """Most memory held at once during the call, beyond what was held before, from the allocator's own record."""
    call()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        kept = call()
    del kept
    held = peak = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


if __name__ == "__main__":
    sys.exit(main())
