"""What the sweep's process sees of its trials: a live table with the current front, and the marks that trials get.

Ray Tune calls this in the sweep's process. A trial that Tune ended without a result was pruned, or has failed for good;
either way its folder says so afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray.tune import Callback
from rich.console import Console
from rich.live import Live
from rich.table import Table

from allgood.pareto import pareto_front
from pipelines.output.files import write_json
from pipelines.output.progress import say
from pipelines.sweep.plan import FAILED, PRUNED, RESULT, TRIALS
from pipelines.sweep.score import Source
from pipelines.sweep.space import Space
from pipelines.sweep.trial import mark_failed

SHOWN = 24  # rows of the live table
_ORDER = {"running": 0, "waiting": 1, "finished": 2, "pruned": 3, "failed": 4}


@dataclass
class Row:
    """What is known of a trial."""

    name: str
    status: str = "running"
    step: int = 0
    win_rate: float | None = None
    kl: float | None = None


@dataclass
class Board(Callback):
    """A table on a terminal, a line per finished trial elsewhere. `total` is the number of trials planned."""

    space: Space
    folder: Path
    session: str
    total: int
    source: Source
    forget: Callable[[Path], None]  # told of every trial that has ended, by its folder
    check: Callable[[], None] = lambda: None  # raises why the sweep cannot go on
    rows: dict[str, Row] = field(default_factory=dict)
    _live: Live | None = None  # made when the sweep starts: Tune pickles its callbacks before

    def __getstate__(self) -> dict[str, Any]:
        """What Tune writes of it, and nobody reads; `check` belongs to this process."""
        return {**vars(self), "check": None}

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune looks at its trials; what is raised here ends them all."""
        self.check()

    def setup(self, *args: Any, **info: Any) -> None:
        """The sweep starts."""
        console = Console(stderr=True)
        if console.is_interactive:
            self._live = Live(self._table(), console=console, refresh_per_second=2, transient=True)
            self._live.start()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has its placement group."""
        self._row(trial).status = "running"
        self._show()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """An evaluation of a trial."""
        row = self._row(trial)
        if "step" not in result:  # it ended without a report, which Tune tells with an empty result
            return
        row.step, row.win_rate, row.kl = int(result["step"]), result.get("win_rate"), float(result["kl"])
        self._show()

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial failed and Tune will start it again: from its checkpoint, unless its folder says that it cannot."""
        row = self._row(trial)
        row.status = "waiting"
        if (self._folder(row) / FAILED).is_file():
            return
        say(f"{row.name} failed and will go on from its last checkpoint; see {self._folder(row) / 'log.txt'}")
        self._show()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has ended by itself, or was ended early."""
        row = self._row(trial)
        folder = self._folder(row)
        if not (folder / RESULT).is_file() and not (folder / PRUNED).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / PRUNED, {"step": row.step, "win_rate": row.win_rate, "kl": row.kl})
        self._end(row, "finished" if (folder / RESULT).is_file() else "pruned")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has failed for the last time."""
        row = self._row(trial)
        folder = self._folder(row)
        if not (folder / FAILED).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            mark_failed(folder, _last_line(trial), self.session, permanent=False)
        self._end(row, "failed")

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """The sweep ends."""
        self.close()

    def close(self) -> None:
        """Take the table away; calling it again does nothing."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _row(self, trial: Any) -> Row:
        if trial.trial_id not in self.rows:
            self.rows[trial.trial_id] = Row(self.space.point(trial.config["choice"]).name)
        return self.rows[trial.trial_id]

    def _folder(self, row: Row) -> Path:
        return self.folder / TRIALS / row.name

    def _end(self, row: Row, status: str) -> None:
        row.status = status
        self.forget(self._folder(row))
        ended = sum(known.status in ("finished", "pruned", "failed") for known in self.rows.values())
        rate = "" if row.win_rate is None else f", win rate {row.win_rate:.3f}"
        numbers = "" if row.kl is None else f"{rate}, KL {row.kl:.2f} nats (validation)"
        say(f"[{ended}/{self.total}] {row.name} {status}{numbers}")
        self._show()

    def _show(self) -> None:
        if self._live is not None:
            self._live.update(self._table())

    def _table(self) -> Table:
        is_judged = self.source != "nobody"
        title = f"{self.folder.name}: validation prompts{', * on the current front' if is_judged else ''}"
        table = Table(title=title, title_justify="left")
        for column in ("trial", "status", "step", "KL", *(["win rate", ""] if is_judged else [])):
            table.add_column(column, justify="right" if column in ("step", "KL", "win rate") else "left")
        on_front = self._front()
        rows = sorted(self.rows.values(), key=lambda row: (_ORDER[row.status], row.name not in on_front, row.name))
        for row in rows[:SHOWN]:
            table.add_row(
                row.name,
                row.status,
                str(row.step),
                "" if row.kl is None else f"{row.kl:.2f}",
                *(["" if row.win_rate is None else f"{row.win_rate:.3f}"] if is_judged else []),
                *(["*" if row.name in on_front else ""] if is_judged else []),
            )
        hidden = len(rows) - SHOWN
        table.caption = f"{len(rows)} of {self.total} trials started" + (f", {hidden} not shown" if hidden > 0 else "")
        return table

    def _front(self) -> set[str]:
        known = [row for row in self.rows.values() if row.win_rate is not None and row.status == "finished"]
        on_front = pareto_front([row.win_rate or 0.0 for row in known], [row.kl or 0.0 for row in known])
        return {row.name for row, found in zip(known, on_front, strict=True) if found}


def _last_line(trial: Any) -> str:
    """Why the trial's process ended, from Tune's record of the error."""
    path = trial.error_file
    if not path or not Path(path).is_file():
        return "its process died"
    lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    return lines[-1] if lines else "its process died"
