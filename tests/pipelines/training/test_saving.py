from __future__ import annotations

import errno
from pathlib import Path

import pytest
from safetensors import SafetensorError

from allgood.errors import AllgoodError
from pipelines.training.saving import save_model
from tests.actors import tiny_models


def test_a_disk_that_really_is_full_is_said_so_and_left_clean(small_disk):
    with pytest.raises(AllgoodError, match="the disk is full while writing"):
        save_model(tiny_models.policy(), tiny_models.tokenizer(), small_disk / "best")
    assert list(small_disk.iterdir()) == []


def test_safetensors_hides_a_full_disk_in_its_text_and_we_find_it(tmp_path, monkeypatch):
    model = tiny_models.policy()

    def full(folder: Path) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(model, "save_pretrained", full)
    with pytest.raises(AllgoodError, match="the disk is full") as caught:
        save_model(model, tiny_models.tokenizer(), tmp_path / "best")
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []
