"""Saving a model with its tokenizer: all of it under its final name, or nothing."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipelines.output.files import atomic_path
from pipelines.output.quiet import quiet_transformers

_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write `save_pretrained` of both into `folder`, atomically.

    Raises:
        AllgoodError: The disk is full; whatever stood under this name before is untouched.
    """
    with atomic_path(folder) as temporary:
        try:
            with quiet_transformers():
                model.save_pretrained(temporary)
                tokenizer.save_pretrained(temporary)
        except SafetensorError as error:
            raise _system_error(error) from error


def _system_error(error: SafetensorError) -> Exception:
    # safetensors hides the operating system's error in its text; atomic_path wants to see a full disk as such.
    match = _SYSTEM_ERROR.search(str(error))
    if match is None:
        return error
    number = int(match.group(1))
    return OSError(number, os.strerror(number) if number != errno.ENOSPC else "no space left on device")
