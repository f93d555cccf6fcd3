"""Where the text of a run lies: the files of a world, or the sources that the configuration names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from allgood.errors import ConfigError, DataError
from pipelines.config.data import DataSource, DemonstrationSource, PairSource, PromptSource
from pipelines.config.run import RunConfig
from pipelines.data.formats import RawDemonstration, read_demonstration
from pipelines.data.prepared import Report
from pipelines.data.sources import read_rows, unread_columns
from pipelines.data.turns import num_stripped
from pipelines.run.folder import RunFolder


@dataclass(frozen=True)
class Inputs:
    """The sources of a run. Without `demonstrations`, chosen responses of `demonstrations_from` are imitated.

    Prompts to align on are those of `prompts`, and those of the pairs in `prompts_from`.
    """

    pairs: dict[str, PairSource]
    demonstrations: DemonstrationSource | None
    demonstrations_from: tuple[str, ...]
    prompts: PromptSource | None
    prompts_from: tuple[str, ...]

    def sources(self) -> dict[str, DataSource]:
        """All sources by the name that reports use."""
        named = {"demonstrations": self.demonstrations, "prompts": self.prompts}
        return {f"pairs.{name}": source for name, source in self.pairs.items()} | {
            name: source for name, source in named.items() if source is not None
        }


def data_inputs(config: RunConfig) -> Inputs:
    """The sources that a configuration names.

    Raises:
        ConfigError: `demonstrations_from` or `prompts_from` name unknown pairs, or nothing says what to imitate.
        DataError: The files of the world are missing.
    """
    if config.world is not None:
        return _world_inputs(RunFolder(config.base_folder).world, config.world.kind)
    data = config.data
    for key, names in (("demonstrations_from", data.demonstrations_from), ("prompts_from", data.prompts_from)):
        unknown = [name for name in names if name not in data.pairs]
        if unknown:
            has = f"has {', '.join(data.pairs)}" if data.pairs else "is empty"
            raise ConfigError(f"`data.{key}` names {unknown[0]!r}; `data.pairs` {has}")
    if config.sft is not None and data.demonstrations is None and not data.demonstrations_from:
        others = ", ".join(data.pairs)
        raise ConfigError(
            "nothing says what SFT imitates: give `data.demonstrations` (prompt/response rows)"
            + (f" or `data.demonstrations_from` (chosen responses of some of: {others})" if others else "")
            + ", or `sft: null` to start from `policy.model` as it is"
        )
    return Inputs(
        pairs=dict(data.pairs),
        demonstrations=data.demonstrations,
        demonstrations_from=() if data.demonstrations else tuple(data.demonstrations_from),
        prompts=data.prompts,
        prompts_from=tuple(data.prompts_from or (data.pairs if data.prompts is None else ())),
    )


def read_demonstrations(source: DemonstrationSource) -> tuple[list[RawDemonstration], Report]:
    """The prompt/response rows of a source, and what was changed in them."""
    rows = read_rows(source)
    counts = {"stripped": num_stripped(rows, ("prompt", "response", "system")), **unread_columns(rows)}
    return [read_demonstration(row, source.format) for row in rows], counts


def _world_inputs(folder: Path, kind: str) -> Inputs:
    pairs = {path.name.removesuffix("_pairs.jsonl"): path for path in sorted(folder.glob("*_pairs.jsonl"))}
    prompts, demonstrations = folder / "prompts.jsonl", folder / "demonstrations.jsonl"
    if not pairs or not prompts.is_file() or not demonstrations.is_file():
        raise DataError(f"the {kind} world is missing from {folder}; run `allgood world` with this configuration first")
    return Inputs(
        pairs={name: PairSource(path=str(path), format="hh") for name, path in pairs.items()},
        demonstrations=DemonstrationSource(path=str(demonstrations)),
        demonstrations_from=(),
        prompts=PromptSource(path=str(prompts)),
        prompts_from=(),
    )
