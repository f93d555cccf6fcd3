"""Where the prompts of a new run lie: a file or a dataset on the hub, and the column that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from allgood.errors import DataError, first_line
from pipelines.config.data import PromptSource
from pipelines.data.prompts import read_prompts
from pipelines.data.sources import is_file

LIMIT = 3000
"""Rows to read at first: a run aligns on some thousand prompts."""
_COLUMNS = ("prompt", "instruction", "question", "query", "messages", "input", "text")
_TRIED = 20  # rows


@dataclass(frozen=True)
class PromptFacts:
    """A source of prompts as a run file names it. `unsure` says what nobody could look up."""

    path: str
    column: str = "prompt"
    hub_subset: str | None = None
    hub_split: str | None = None
    unsure: str = ""


def prompt_facts(path: str) -> PromptFacts:
    """What is known of a source of prompts.

    Raises:
        DataError: There is no such file or dataset, or no column of it holds prompts.
    """
    return _of_file(path) if is_file(PromptSource(path=path)) else _of_hub(path)


def _of_file(path: str) -> PromptFacts:
    refusals = []
    for column in _COLUMNS:
        columns = {} if column == "prompt" else {"prompt": column}
        try:
            read_prompts(PromptSource(path=path, columns=columns, limit=_TRIED))
        except DataError as error:
            refusals.append(error)
        else:
            return PromptFacts(path, column)
    raise refusals[0]


def _of_hub(name: str) -> PromptFacts:
    import datasets  # here, because it takes a second to import and files do not need it

    try:
        subsets = datasets.get_dataset_config_names(name)
        subset = None if "default" in subsets or len(subsets) < 2 else subsets[0]
        splits = datasets.get_dataset_split_names(name, subset)
        features = datasets.load_dataset_builder(name, subset).info.features
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"there is no dataset {name!r} that can be read from the hub ({first_line(error)}); check the name and the "
            "network, or give a file"
        ) from error
    column = _column_of(name, list(features)) if features else "prompt"
    others = f"; other subsets: {', '.join(subsets[1:])}" if subset else ""
    unsure = others if features else f"the columns of this dataset are not known before it is loaded{others}"
    return PromptFacts(name, column, subset, _split_of(splits), unsure.removeprefix("; "))


def _column_of(name: str, columns: Sequence[str]) -> str:
    found = next((column for column in _COLUMNS if column in columns), None)
    if found is None:
        raise DataError(
            f"no column of the dataset {name!r} is known to hold prompts; it has {', '.join(columns)}. Name one in "
            "`data.prompts.columns`, or give another dataset"
        )
    return found


def _split_of(splits: Sequence[str]) -> str:
    return next((split for split in ("train", *splits) if split in splits and split.startswith("train")), splits[0])
