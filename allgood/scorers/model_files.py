"""What a model folder must hold, looked at before anything is loaded: a config and weights, and no stand-ins for files.

A name on the hub is left to the hub.
"""

from __future__ import annotations

import json
from pathlib import Path

from allgood.errors import ModelError

_WEIGHT_PATTERNS = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin")
_ADAPTER = "adapter_config.json"
_LFS_POINTER = b"version https://git-lfs"  # what stands in place of a file that was cloned without its content


def check_model_folder(source: str | Path) -> None:
    """Refuse a local folder that is no whole model.

    Raises:
        ModelError: It does not exist, is an adapter of another model, has no config or no weights, or a file in it is a
            Git LFS pointer.
    """
    folder = Path(source)
    if not folder.exists() and (folder.is_absolute() or str(source).startswith(".")):
        raise ModelError(f"the model folder {str(source)!r} does not exist")
    if not folder.is_dir():
        return
    if (folder / _ADAPTER).is_file():  # transformers would load the model that it names, and train or score with both
        raise ModelError(
            f"{str(source)!r} is an adapter (PEFT){_of_base(folder / _ADAPTER)}, not a model; merge the two with "
            "merge_and_unload, and give the folder that save_pretrained writes"
        )
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{str(source)!r} is no model folder: it has no config.json; give a folder written by save_pretrained"
        )
    check_no_pointers(source)
    if not any(path.stat().st_size for pattern in _WEIGHT_PATTERNS for path in folder.glob(pattern)):
        raise ModelError(
            f"the model folder {str(source)!r} has no weights (no *.safetensors or pytorch_model*.bin); "
            "write it with save_pretrained, or copy the weight files alongside its config.json"
        )


def check_no_pointers(source: str | Path) -> None:
    """Refuse a local folder in which Git LFS has left pointers in place of files.

    Raises:
        ModelError: Names the first one.
    """
    for path in sorted(Path(source).glob("*")):
        if path.is_file():
            with path.open("rb") as file:
                start = file.read(len(_LFS_POINTER))
            if start == _LFS_POINTER:
                raise ModelError(
                    f"{str(path)!r} is a Git LFS pointer, not the file itself; run `git lfs pull` in that folder"
                )


def _of_base(adapter_config: Path) -> str:
    """Which model the adapter is for, as far as it says."""
    try:
        base = json.loads(adapter_config.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f" of {base!r}"
