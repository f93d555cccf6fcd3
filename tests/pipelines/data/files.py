"""Small data files for the tests of `pipelines.data`, made of sentences without meaning."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.config.run import RunConfig

Row = dict[str, Any]


def question(number: int) -> str:
    """A prompt that shares hardly a word with the others."""
    return f"\n\nHuman: What is w{number} x{number} y{number}?\n\nAssistant:"


def pair_row(number: int, **fields: Any) -> Row:
    """An hh pair on `question(number)`."""
    return {"chosen": f"{question(number)} good {number}", "rejected": f"{question(number)} bad {number}", **fields}


def write_jsonl(path: Path, rows: Sequence[Row | str]) -> Path:
    """Write rows, gzipped where the name says so; texts are written as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def prompts_config(folder: Path, prompts: Path, **data: Any) -> RunConfig:
    """A run that aligns a finished policy to a finished reward model on a file of prompts."""
    return RunConfig.model_validate(
        {
            "name": "run",
            "output_dir": folder / "runs",
            "policy": {"model": "unused"},
            "sft": None,
            "properties": {"helpful": {"kind": "model", "model": "finished"}},
            "data": {"prompts": {"path": str(prompts)}, **data},
        }
    )


def data_config(folder: Path, **data: Any) -> RunConfig:
    """A run whose `data` section is given, `pairs` as paths."""
    pairs = {name: {"path": str(path)} for name, path in data.pop("pairs").items()}
    return RunConfig.model_validate(
        {
            "name": "run",
            "output_dir": folder / "runs",
            "policy": {"model": "unused"},
            "properties": {"helpful": {"kind": "model"}},
            "data": {"demonstrations_from": list(pairs), **data, "pairs": pairs},
        }
    )
