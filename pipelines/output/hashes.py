"""Hashes of what results depend on: models and tokenizers; those of files and functions are `allgood`'s."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from allgood.errors import ModelError
from allgood.scorers.hashes import function_hash, sha256_of
from allgood.scorers.hub_names import split_revision

__all__ = ["copy_tokenizer", "function_hash", "model_hash", "sha256_of", "tokenizer_hash"]

_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin")
_TOKENIZER = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "vocab*",
    "merges.txt",
    "spiece.model",
)


def model_hash(source: str) -> str:
    """sha256 over weight files and config.json of a folder; for a name on the hub, the name and its commit."""
    return _files_hash(source, ("config.json", *_WEIGHTS))


def tokenizer_hash(source: str) -> str:
    """sha256 over tokenizer files and chat template of a folder; for a name on the hub, the name and its commit."""
    return _files_hash(source, _TOKENIZER)


def copy_tokenizer(source: str, target: Path) -> None:
    """Copy tokenizer files and chat template as they are: loading and saving again could change them."""
    folder = Path(source) if Path(source).is_dir() else _hub_folder(source)
    for pattern in (*_TOKENIZER, "*.model"):
        for path in folder.glob(pattern):
            if path.is_file():
                shutil.copyfile(path, target / path.name)


def _hub_folder(name: str) -> Path:
    """The local copy of a hub model's small files."""
    from huggingface_hub import snapshot_download

    name, revision = split_revision(name)
    return Path(snapshot_download(name, revision=revision, allow_patterns=[*_TOKENIZER, "*.model"]))


def _files_hash(source: str, patterns: tuple[str, ...]) -> str:
    folder = Path(source)
    if not folder.is_dir():
        return _hub_commit(source)
    files = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
    if not files:
        raise ModelError(
            f"{folder} holds none of {', '.join(patterns)}; is it a model folder written by save_pretrained?"
        )
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def _hub_commit(source: str) -> str:
    from transformers.utils.hub import cached_file, extract_commit_hash  # heavy, and only hub names need it

    name, revision = split_revision(source)
    try:
        path = cached_file(name, "config.json", revision=revision)
    except OSError as error:
        raise ModelError(
            f"there is no model folder and no hub model {source!r} ({str(error).splitlines()[0]})"
        ) from error
    return f"hub:{name}@{extract_commit_hash(path, None)}"
