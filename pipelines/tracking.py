"""Metrics, tables and images to Weights & Biases and TensorBoard, beside the run folder's own files.

The run folder is the truth; these are views of it. So a tracker that cannot start or fails later says one line and the
run goes on. W&B is offline unless the user is logged in, writes inside the run folder, and needs no terminal.
"""

from __future__ import annotations

import netrc
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlparse

from pipelines.config.rl import TrackingConfig
from pipelines.progress import say

Mode = Literal["online", "offline", "disabled"]
Cell = str | float | int | bool | None


class Sink(Protocol):
    """One place where metrics go."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Numbers of a step."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """A table, such as sample responses."""

    def image(self, name: str, path: Path) -> None:
        """A PNG."""

    def finish(self) -> None:
        """Write what is buffered."""


class Tracker:
    """Fans out to the sinks that the config asks for. Its methods never raise."""

    def __init__(self, config: TrackingConfig, name: str, folder: Path, resolved_config: Mapping[str, object]) -> None:
        self._sinks: dict[str, Sink] = {}
        mode = wandb_mode(config.wandb)
        if mode != "disabled":
            self._start("W&B", lambda: WandbSink(config, mode, name, folder, resolved_config))
        if config.tensorboard:
            self._start("TensorBoard", lambda: TensorBoardSink(folder / "tensorboard"))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Numbers of a step; steps must not decrease."""
        self._each(lambda sink: sink.log(step, metrics))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """A table, such as sample responses."""
        self._each(lambda sink: sink.table(name, columns, rows))

    def image(self, name: str, path: Path) -> None:
        """A PNG file."""
        self._each(lambda sink: sink.image(name, path))

    def finish(self) -> None:
        """Write what is buffered and close; calling it twice is harmless."""
        self._each(lambda sink: sink.finish())
        self._sinks.clear()

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
    """One W&B run in `<folder>/wandb`. A resumed run gets a new W&B run in the same group: W&B cannot be cut back."""

    def __init__(
        self, config: TrackingConfig, mode: Mode, name: str, folder: Path, resolved_config: Mapping[str, object]
    ) -> None:
        earlier = sorted(path.name for path in (folder / "wandb").glob("*run-*"))
        group = config.group or name
        if earlier:
            say(f"W&B: {', '.join(earlier)} stay as they are; this is a new W&B run in the group {group!r}")
        folder.mkdir(parents=True, exist_ok=True)
        import wandb

        self._wandb = wandb
        self._run = wandb.init(
            project=config.wandb_project,
            group=group,
            name=name,
            dir=str(folder),
            config=dict(resolved_config),
            mode=mode,
            reinit="create_new",  # arms of a comparison run side by side in one process
            settings=wandb.Settings(silent=True, console="off", init_timeout=20, save_code=False),
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Numbers of a step."""
        self._run.log(dict(metrics), step=step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """A W&B table."""
        self._run.log({name: self._wandb.Table(columns=list(columns), data=[list(row) for row in rows])})

    def image(self, name: str, path: Path) -> None:
        """A W&B image."""
        self._run.log({name: self._wandb.Image(str(path))})

    def finish(self) -> None:
        """Flush and close the run."""
        self._run.finish()


class TensorBoardSink:
    """Event files in `folder`."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer = SummaryWriter(str(folder))
        self._step = 0

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Scalars."""
        self._step = step
        for key, value in metrics.items():
            self._writer.add_scalar(key, value, step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """A Markdown table as text."""
        lines = [columns, ["---"] * len(columns), *rows]
        markdown = "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)
        self._writer.add_text(name, markdown, self._step)

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
    """What `auto` means here: WANDB_MODE if set, else online when logged in, else offline."""
    if choice != "auto":
        return choice
    wanted = os.environ.get("WANDB_MODE", "")
    if wanted in ("online", "offline", "disabled"):
        return wanted  # type: ignore[return-value]
    return "online" if logged_in() else "offline"


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


def _cell(cell: object) -> str:
    return str(cell).replace("|", "\\|").replace("\n", "<br>")


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
