"""Time of `allgood preview`: at least 1,000 settings on 500 prompts x 64 samples, all metrics, gold and evaluators too.

    python -m benchmarks.preview            # prints; --write also writes benchmarks/results/preview.md

Runs the default grid of two properties on made-up samples through the code of the command, without disk and plots. One
thread; exit status 1 above 60 s of CPU time, which does not depend on who else uses the machine.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
import textwrap
import time
from pathlib import Path

import torch

from pipelines.config.run import RunConfig
from pipelines.preview.grid import grid_of
from pipelines.preview.run import predict_cached
from pipelines.references.build import statistics
from pipelines.references.cached_samples import CachedSamples
from pipelines.references.table import ReferenceTable

PAGE = Path(__file__).parent / "results" / "preview.md"
NUM_PROMPTS, NUM_SAMPLES, MIN_SETTINGS, ALLOWED_S = 500, 64, 1000, 60.0
WORDS = (
    "first mix it",
    "you should consult a professional",
    "1. stir 2. bake",
    "i can not help with that",
    "then wait",
)


def main() -> int:
    """Print the time; 1 when it is too long."""
    torch.set_num_threads(1)
    config = RunConfig.model_validate(
        {
            "name": "benchmark",
            "data": {"pairs": {"a": {"path": "absent.jsonl"}}},
            "policy": {"model": "absent"},
            "properties": {name: {"kind": "function", "function": "math:prod"} for name in ("a", "b")},
            "evaluate": {"gold": "math:prod", "bars": {"a": 0.0, "b": 0.0}},
        }
    )
    cached = samples()
    started, cpu = time.perf_counter(), time.process_time()
    found = predict_cached(config, grid_of(config), cached, table(cached))
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    tilts = [prediction for _, prediction in found.distinct if prediction.method == "tilt" and prediction.numbers]
    others = [prediction for _, prediction in found.distinct if prediction.method == "best_of_k"]
    every = sum(len(setting.predictions) for setting in found.settings)
    result = (
        f"torch {torch.__version__}, 1 thread, load {os.getloadavg()[0]:.1f}: {every} predictions "
        f"({len(found.settings)} settings at several KLs and k), of which "
        f"{len(tilts)} distinct tilts and {len(others)} distinct best-of-k, {NUM_PROMPTS} prompts x {NUM_SAMPLES} "
        f"samples: {cpu:.1f} s CPU, {wall:.1f} s wall (allowed {ALLOWED_S:g} s CPU)"
    )
    print(result)
    if "--write" in sys.argv[1:]:
        lines = textwrap.wrap(result, 120)
        head = "# Time of a preview\n\nWritten by `python -m benchmarks.preview --write`.\n\n"
        PAGE.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    return int(cpu > ALLOWED_S or every < MIN_SETTINGS)


def samples() -> CachedSamples:
    """Two properties in tension; rewards follow gold with noise."""
    generator = torch.Generator().manual_seed(0)

    def normal() -> torch.Tensor:
        return torch.randn(NUM_PROMPTS, NUM_SAMPLES, generator=generator, dtype=torch.float64)

    common = normal()
    gold = {"a": common + normal(), "b": normal() - common}
    rewards = {name: scores + normal() for name, scores in gold.items()}
    texts = tuple(tuple(f"{WORDS[(p + n) % 5]} {p} {n}" for n in range(NUM_SAMPLES)) for p in range(NUM_PROMPTS))
    return CachedSamples(
        split="validation",
        prompt_ids=tuple(map(str, range(NUM_PROMPTS))),
        prompts=tuple(map(str, range(NUM_PROMPTS))),
        responses=texts,
        finish_reasons=(("eos",) * NUM_SAMPLES,) * NUM_PROMPTS,
        num_tokens=torch.full((NUM_PROMPTS, NUM_SAMPLES), 8),
        was_cut=torch.zeros(NUM_PROMPTS, NUM_SAMPLES, dtype=torch.bool),
        rewards=rewards,
        gold=gold,
        evaluators={name: scores + normal() for name, scores in gold.items()},
    )


def table(cached: CachedSamples) -> ReferenceTable:
    """The reference table of the samples, in memory."""
    rows = {
        name: statistics({prompt: row.tolist() for prompt, row in zip(cached.prompt_ids, grid, strict=True)})
        for name, grid in cached.rewards.items()
    }
    with_ids = {
        name: {prompt: row | {"prompt_id": prompt} for prompt, row in of_property.items()}
        for name, of_property in rows.items()
    }
    return ReferenceTable(Path("absent"), {}, with_ids)


if __name__ == "__main__":
    sys.exit(main())
