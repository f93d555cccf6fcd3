"""Where everything of a run lies: one class, so that no path is spelled twice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from allgood.errors import ConfigError
from pipelines.config.loading import CONFIG

SFT_SAMPLES = "sft_samples.parquet"

_BASE_PARTS = ("world", "data", "sft", "reward")  # of a finished chain, shared


@dataclass(frozen=True)
class RunFolder:
    """`runs/<name>/`. Trained models keep `best/` (by validation) and `last/`; later stages use `best/`."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / CONFIG

    @property
    def unfinished(self) -> Path:
        """What an interrupted command has left to do."""
        return self.path / "unfinished.yaml"

    @property
    def metrics(self) -> Path:
        """One JSON line per step."""
        return self.path / "metrics.jsonl"

    @property
    def groups(self) -> Path:
        """One JSON line per step: ids of the prompts it learned from, and of those that were dropped."""
        return self.path / "groups.jsonl"

    @property
    def faults(self) -> Path:
        """One JSON line per failure of an actor that the run got over."""
        return self.path / "faults.jsonl"

    @property
    def samples(self) -> Path:
        """Sample rows of every evaluation while training."""
        return self.path / "samples.parquet"

    @property
    def summary(self) -> Path:
        """The final numbers."""
        return self.path / "summary.json"

    @property
    def report(self) -> Path:
        """The self-contained HTML page."""
        return self.path / "report.html"

    @property
    def inspection(self) -> Path:
        """The page of `allgood inspect`."""
        return self.path / "inspect.html"

    @property
    def plots(self) -> Path:
        """The figures of the report."""
        return self.path / "plots"

    @property
    def checkpoints(self) -> Path:
        """Committed checkpoints, one folder each."""
        return self.path / "checkpoints"

    @property
    def weights(self) -> Path:
        """Versions on their way to rollout actors, where they travel as files; gone when the actors are."""
        return self.path / "weights"

    @property
    def model(self) -> Path:
        """The aligned policy: model, tokenizer, generation config, model card."""
        return self.path / "model"

    @property
    def world(self) -> Path:
        """The embedded world, as jsonl."""
        return self.path / "world"

    @property
    def data(self) -> Path:
        """Prepared data: prompts with their splits, pairs per property, demonstrations."""
        return self.path / "data"

    @property
    def sft(self) -> Path:
        """The SFT policy."""
        return self.path / "sft"

    @property
    def served(self) -> Path:
        """What reward models that others serve gave to fixed texts, by property."""
        return self.path / "served"

    @property
    def references(self) -> Path:
        """Reference table, its manifest, and the cached samples of the start policy."""
        return self.path / "references"

    @property
    def preview(self) -> Path:
        """What `allgood preview` predicts: settings, summary, page."""
        return self.path / "preview"

    @property
    def evaluation(self) -> Path:
        """Samples and measurements on test prompts."""
        return self.path / "evaluation"

    def reward(self, name: str) -> Path:
        """The reward model of a property."""
        return self.path / "reward" / name

    def evaluator(self, name: str) -> Path:
        """The held-out preference model of a property."""
        return self.path / "evaluator" / name

    def has_models(self) -> bool:
        """Whether an SFT policy, a reward model or an evaluator was trained here."""
        return any(any(self.path.glob(f"{stage}/best")) for stage in ("sft", "reward/*", "evaluator/*"))


def refuse_alignment(folder: RunFolder) -> None:
    """ConfigError when the folder holds an alignment: two runs in one folder could not be told apart."""
    if folder.checkpoints.exists() or folder.model.exists():
        raise ConfigError(
            f"{folder.path} already holds an alignment; continue it with `allgood resume {folder.path}`, "
            "choose another `name`, or replace it with --overwrite"
        )


def share_base(base: Path, folder: Path) -> None:
    """Give `folder` the world, data and models of `base`, as links: reference tables differ, models not.

    Raises:
        ConfigError: `folder` has those of another base.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for part in _BASE_PARTS:
        link, target = folder / part, (base / part).absolute()
        if link.exists() and target.exists() and not link.samefile(target):
            raise ConfigError(f"{link} is not that of {base}, with which it was to be shared; give another folder")
        if target.exists() and not link.exists():
            link.symlink_to(target, target_is_directory=True)
