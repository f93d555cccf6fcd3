"""Hashes of files and of a user's functions, by which stored numbers know what they were made with."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from allgood.errors import ConfigError


def sha256_of(path: Path) -> str:
    """Checksum of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def function_hash(name: str) -> str:
    """A "module:function" and the sha256 of its module's code.

    Raises:
        ConfigError: There is no such module.
    """
    module, _, _ = name.partition(":")
    try:
        spec = importlib.util.find_spec(module)
    except ImportError:  # a package that it would lie in is missing
        spec = None
    if spec is None:
        raise ConfigError(
            f"there is no module {module!r} for {name!r}, neither where the command runs nor among what is installed"
        )
    code = sha256_of(Path(spec.origin)) if spec.origin and Path(spec.origin).is_file() else ""
    return f"function:{name}@{code[:16]}"
