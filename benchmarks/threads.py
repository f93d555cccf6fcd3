"""Seconds of a step of the quickstart's size with the threads that are planned, and with two for every role.

    python -m benchmarks.threads            # prints; --write also writes docs/results/threads.md

Both sets of actors stay up and take turns, alone and beside two processes that keep a core busy each. The world, the
models and the sizes are those of configs/quickstart.yaml, its trainings cut short: a step's time does not depend on how
good its models are. What was made once stays in `--folder` for the next time.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from actors.cluster.cast import Cast, spawn
from actors.tables import markdown_table
from pipelines.alignment.align import run_align
from pipelines.alignment.journal import SECONDS
from pipelines.cast.request import align_request
from pipelines.cast.threads import recorded_threads, with_run_threads
from pipelines.chain import stages_of
from pipelines.config.loading import load_config
from pipelines.config.run import RunConfig
from pipelines.output.metrics_log import MetricsLog
from pipelines.output.progress import say
from pipelines.run.folder import RunFolder
from pipelines.run.session import ray_session

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results" / "threads.md"
NUM_BUSY = 2
BUSY = "while True: pass"
NICENESS = int(os.environ.get("RAY_worker_niceness", "15"))  # noqa: SIM112 - as Ray spells it
"""Of the processes of Ray, by its default. Busy ones of the usual priority would leave them a thirtieth of a core."""
PHASES = tuple(f"{SECONDS}{phase}" for phase in ("experience", "update", "publish"))
SMALL = (
    "world.num_prompts=600",
    "sft.training.max_steps=120",
    *(f"properties.{name}.train.training.max_steps=20" for name in ("helpful", "harmless")),
    "references.num_samples=4",
    "references.max_prompts.alignment=32",
    "references.max_prompts.validation=8",
    "align.max_evaluation_prompts=8",
    "tracking.wandb=disabled",
)
PLANNED, TWO = "planned", "two for every role"
ALONE, BESIDE = "alone", f"beside {NUM_BUSY} busy processes"


@dataclass(frozen=True)
class Measured:
    """Seconds of steps, by threads and company; threads by role as they were planned; processes that wanted a core."""

    seconds: Mapping[tuple[str, str], Sequence[float]]
    planned: Mapping[str, int]
    load: float

    def step_s(self, threads: str, company: str) -> float:
        """Median of a step."""
        return median(self.seconds[threads, company])


def main() -> int:
    """Measure, print, and with --write keep the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4, help="how often every arrangement has its turn")
    parser.add_argument("--steps", type=int, default=6, help="steps of a turn, of which the first is not counted")
    parser.add_argument("--folder", type=Path, default=Path("runs/threads"), help="where models and runs lie")
    parser.add_argument("--write", action="store_true", help="write docs/results/threads.md")
    arguments = parser.parse_args()
    text = page(measured(arguments.folder.absolute(), arguments.rounds, arguments.steps))
    print(text)
    if arguments.write:
        PAGE.write_text(text, encoding="utf-8")
    return 0


def measured(folder: Path, num_rounds: int, num_steps: int) -> Measured:
    """Every arrangement in turn, as often as there are rounds."""
    load = os.getloadavg()[0]
    base = _base(folder)
    ends = [f"align.{name}={num_steps}" for name in ("steps", "evaluate_every", "checkpoint_every")]
    run = load_config(ROOT / "configs" / "quickstart.yaml", [*_settings(folder), f"base={base.folder}", *ends])
    seconds = defaultdict[tuple[str, str], list[float]](list)
    with ray_session(), ExitStack() as stack:
        named = {
            PLANNED: with_run_threads(run.model_copy(update={"name": "planned", "threads": "auto"})),
            TWO: run.model_copy(update={"name": "two", "threads": 2}),
        }
        casts = {threads: stack.enter_context(spawn(align_request(config))) for threads, config in named.items()}
        for _ in range(num_rounds):
            for company in (ALONE, BESIDE):
                for threads, config in named.items():
                    with _busy(NUM_BUSY if company == BESIDE else 0):
                        seconds[threads, company] += _steps(config, casts[threads])
                    say(f"{threads}, {company}: {median(seconds[threads, company]):.2f} s a step so far")
        return Measured(seconds, recorded_threads(named[PLANNED]), load)


def _settings(folder: Path) -> list[str]:
    return [*SMALL, f"output_dir={folder}"]


def _base(folder: Path) -> RunConfig:
    """The quickstart up to its references, made where it is not there."""
    config = load_config(ROOT / "configs" / "quickstart.yaml", [*_settings(folder), "name=base"])
    if not RunFolder(config.folder).references.is_dir():
        for stage in stages_of(config, overwrite=True):
            if stage.name == "align":
                break
            say(stage.name)
            stage.run()
    return config


def _steps(config: RunConfig, cast: Cast) -> list[float]:
    """Seconds of each step of an alignment but the first."""
    run_align(config, cast, overwrite=True)
    rows = MetricsLog(RunFolder(config.folder).metrics).read()
    return [sum(float(row[phase]) for phase in PHASES) for row in rows[1:]]


@contextmanager
def _busy(number: int) -> Iterator[None]:
    """Processes that take all that they can get, while the block runs."""
    command = ["nice", "-n", str(NICENESS), sys.executable, "-S", "-c", BUSY]
    processes = [subprocess.Popen(command) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def page(found: Measured) -> str:
    """The table, with what was measured."""
    rows = [
        [
            company,
            *(_shown(found.seconds[threads, company]) for threads in (PLANNED, TWO)),
            f"{found.step_s(TWO, company) / found.step_s(PLANNED, company):.2f}",
        ]
        for company in (ALONE, BESIDE)
    ]
    slower = [found.step_s(threads, BESIDE) / found.step_s(threads, ALONE) for threads in (PLANNED, TWO)]
    roles = ", ".join(f"{role} {number}" for role, number in found.planned.items())
    lines = [
        "# Threads of roles that share cores",
        "",
        "Made by `python -m benchmarks.threads --write`. Seconds of a step of the quickstart's size (64 responses of",
        "up to 48 tokens): median, and the range of all steps. The arrangements took turns. A busy process is one that",
        f"would have a core for itself, at the niceness of Ray's processes ({NICENESS}).",
        "",
        *markdown_table(["the run has the machine", PLANNED, TWO, "two / planned"], rows),
        "",
        f"Planned for {os.cpu_count()} cores: {roles}.",
        f"Beside the busy processes a step takes {slower[0]:.2f} times as long with the planned threads, and",
        f"{slower[1]:.2f} times with two for every role.",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}. Before it began,",
        f"{found.load:.1f} processes of others wanted a core: the first row is right only where that is near 0.",
        "",
    ]
    return "\n".join(lines)


def _shown(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


if __name__ == "__main__":
    sys.exit(main())
