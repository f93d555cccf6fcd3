"""Metrics, tables and images to Weights & Biases, TensorBoard and Ray's metrics, alongside the run folder's own files.

The run folder is the truth; these are views of it. So a tracker that cannot start or fails later says one line and the
run goes on. Every stage of a run (sft, reward, align, evaluate, report) is a W&B run of its own in the run's group,
with the stage as job type. W&B is offline unless the user is logged in, writes inside the run folder, and needs no
terminal.
"""

from __future__ import annotations

import netrc
import os
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import urlparse

from actors.tables import markdown_table
from pipelines.config.rl import TrackingConfig
from pipelines.config.run import RunConfig
from pipelines.output.progress import say
from pipelines.run.cluster_metrics import RayMetricsSink
from pipelines.run.session import in_joined_cluster

if TYPE_CHECKING:
    import wandb

Mode = Literal["online", "offline", "disabled"]
Cell = str | float | int | bool | None

WANDB_ANSWERS_S, WANDB_FINISHES_S = 20.0, 60.0  # longest wait for its server at start and end of a stage
_FINAL = "final/"  # prefix of a stage's final numbers, so that they do not replace a last step's of the same name


@dataclass(frozen=True)
class Stage:
    """A stage of a run as trackers show it. `label` tells stages of one kind apart, such as two reward models."""

    tracking: TrackingConfig
    run: str
    kind: str
    folder: Path  # trackers write below it
    label: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """What keeps the stages of a run together."""
        return self.tracking.group or self.run

    @property
    def slug(self) -> str:
        """The stage in names of files, such as "reward-helpful"."""
        return re.sub(r"[^\w-]", "_", f"{self.kind}-{self.label}" if self.label else self.kind)

    @property
    def title(self) -> str:
        """The stage in lists of runs, such as "quickstart reward helpful"."""
        return " ".join(part for part in (self.run, self.kind, self.label) if part)


def stage_of(config: RunConfig, kind: str, folder: Path, *, label: str = "") -> Stage:
    """A stage of the run that `config` describes."""
    return Stage(config.tracking, config.name, kind, folder, label, config.model_dump(mode="json"))


class Sink(Protocol):
    """One place where metrics go."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Numbers of a step."""

    def summary(self, numbers: Mapping[str, float]) -> None:
        """Final numbers."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """A table, such as sample responses."""

    def image(self, name: str, path: Path) -> None:
        """A PNG."""

    def finish(self) -> None:
        """Write what is buffered."""


class Tracker:
    """Fans out to the sinks that the stage's config asks for; None: to nobody. Its methods never raise.

    A context manager: leaving it finishes.
    """

    def __init__(self, stage: Stage | None) -> None:
        self._sinks: dict[str, Sink] = {}
        if stage is None:
            return
        mode = wandb_mode(stage.tracking.wandb)
        if mode != "disabled":
            self._start("W&B", lambda: WandbSink(stage, mode))
        if stage.tracking.tensorboard:
            self._start("TensorBoard", lambda: TensorBoardSink(stage.folder / "tensorboard" / stage.slug))
        if in_joined_cluster():
            self._start("Ray's metrics", lambda: RayMetricsSink(run=stage.run, stage=stage.slug))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Numbers of a step; steps must not decrease."""
        self._each(lambda sink: sink.log(step, metrics))

    def log_row(self, row: Mapping[str, Any]) -> None:
        """The numbers of a row of metrics.jsonl; what is missing there (null) is missing here."""
        self.log(row["step"], {name: value for name, value in flat_numbers(row).items() if name != "step"})

    def summary(self, report: Mapping[str, Any]) -> None:
        """The final numbers of a stage; groups of them get dotted names, everything else is left out."""
        self._each(lambda sink: sink.summary(flat_numbers(report)))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """A table, such as sample responses."""
        self._each(lambda sink: sink.table(name, columns, rows))

    def records(self, name: str, records: Sequence[Mapping[str, Any]]) -> None:
        """A table from one mapping per row; groups in it get dotted names. Without rows there is no table."""
        if records:
            flat = [flat_cells(record) for record in records]
            columns = list(dict.fromkeys(column for row in flat for column in row))
            self.table(name, columns, [[row.get(column) for column in columns] for row in flat])

    def image(self, name: str, path: Path) -> None:
        """A PNG file."""
        self._each(lambda sink: sink.image(name, path))

    def finish(self) -> None:
        """Write what is buffered and close; calling it twice is harmless."""
        self._each(lambda sink: sink.finish())
        self._sinks.clear()

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.finish()

    def _start(self, what: str, make: Callable[[], Sink]) -> None:
        try:
            self._sinks[what] = make()
        except Exception as error:  # whatever a tracker's start raises, the run must go on
            say(f"{what} is off for this run: {_one_line(error)}")

    def _each(self, act: Callable[[Sink], None]) -> None:
        for what, sink in list(self._sinks.items()):
            try:
                act(sink)
            except Exception as error:  # as above
                del self._sinks[what]
                say(f"{what} is off from here on: {_one_line(error)}")


class WandbSink:
    """One W&B run in `<folder>/wandb`. A resumed stage gets a new W&B run in the same group: W&B cannot be cut back."""

    def __init__(self, stage: Stage, mode: Mode) -> None:
        earlier = sorted(path.name for path in (stage.folder / "wandb").glob(f"*run-*-{stage.slug}-????????"))
        if earlier:
            say(f"W&B: {', '.join(earlier)} stay as they are; this is a new W&B run in the group {stage.group!r}")
        stage.folder.mkdir(parents=True, exist_ok=True)
        import wandb
        from wandb.errors import CommError

        self._wandb = wandb
        try:
            self._run = self._started(stage, mode)
        except CommError as error:
            if mode != "online":
                raise
            self._run = self._started(stage, "offline")
            say(
                f"W&B cannot be reached ({_one_line(error)[:120]}), so this run is kept offline; `wandb sync` uploads "
                f"what lies in {stage.folder / 'wandb'}"
            )

    def _started(self, stage: Stage, mode: Mode) -> wandb.Run:
        return self._wandb.init(
            project=stage.tracking.wandb_project,
            group=stage.group,
            job_type=stage.kind,
            name=stage.title,
            id=f"{stage.slug}-{uuid.uuid4().hex[:8]}",  # W&B puts it into the name of the run's folder
            dir=str(stage.folder),
            config=dict(stage.settings),
            mode=mode,
            reinit="create_new",  # arms of a comparison run side by side in one process
            settings=self._wandb.Settings(
                silent=True,
                console="off",
                save_code=False,
                init_timeout=WANDB_ANSWERS_S,
                finish_timeout=WANDB_FINISHES_S,  # W&B itself would wait for its server for ever
                finish_timeout_raises=True,
            ),
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Numbers of a step."""
        self._run.log(dict(metrics), step=step)

    def summary(self, numbers: Mapping[str, float]) -> None:
        """The run's summary, alongside the last values of what was logged step by step."""
        self._run.summary.update({f"{_FINAL}{name}": value for name, value in numbers.items()})

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """A W&B table."""
        self._run.log({name: self._wandb.Table(columns=list(columns), data=[list(row) for row in rows])})

    def image(self, name: str, path: Path) -> None:
        """A W&B image."""
        self._run.log({name: self._wandb.Image(str(path))})

    def finish(self) -> None:
        """Flush and close the run; TimeoutError where its server takes too long, and then all is in its folder."""
        self._run.finish()


class TensorBoardSink:
    """Event files in `folder`. Those of an earlier try are removed: whoever starts again logs everything again."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        for events in folder.glob("events.out.tfevents.*"):
            events.unlink()
        self._writer = SummaryWriter(str(folder))
        self._step = 0

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Scalars."""
        self._step = step
        for key, value in metrics.items():
            self._writer.add_scalar(key, value, step)

    def summary(self, numbers: Mapping[str, float]) -> None:
        """Scalars at the last step."""
        for key, value in numbers.items():
            self._writer.add_scalar(f"{_FINAL}{key}", value, self._step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """A Markdown table as text."""
        lines = markdown_table(columns, [[str(cell) for cell in row] for row in rows])
        self._writer.add_text(name, "\n".join(lines), self._step)

    def image(self, name: str, path: Path) -> None:
        """An image, height x width x channels."""
        import numpy as np
        from PIL import Image

        with Image.open(path) as image:
            self._writer.add_image(name, np.asarray(image.convert("RGB")), self._step, dataformats="HWC")

    def finish(self) -> None:
        """Flush and close the file."""
        self._writer.close()


def wandb_mode(choice: Literal["auto", "online", "offline", "disabled"]) -> Mode:
    """What `auto` means here: WANDB_MODE if set, else online when logged in, else offline.

    Online without a login is offline too: W&B would ask for a key, and wait where nobody answers.
    """
    wanted = os.environ.get("WANDB_MODE", "") if choice == "auto" else choice
    if wanted in ("offline", "disabled"):
        return wanted  # type: ignore[return-value]
    if logged_in():
        return "online"
    if wanted == "online":
        say("W&B: nobody is logged in, so this run is kept offline; `wandb login`, then `wandb sync`, uploads it")
    return "offline"


def logged_in() -> bool:
    """Whether W&B has a key in the environment or in the user's netrc; the key itself is not read out."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return host in netrc.netrc(str(path)).hosts
    except (OSError, netrc.NetrcParseError):
        return False


def flat_cells(record: Mapping[str, Any]) -> dict[str, Cell]:
    """Single values by dotted name; lists are left out."""
    cells: dict[str, Cell] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            cells |= {f"{name}.{inner}": cell for inner, cell in flat_cells(value).items()}
        elif value is None or isinstance(value, str | int | float):
            cells[name] = value
    return cells


def flat_numbers(report: Mapping[str, Any]) -> dict[str, float]:
    """Numbers by dotted name; everything else is left out."""
    return {name: cell for name, cell in flat_cells(report).items() if isinstance(cell, int | float)}


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
