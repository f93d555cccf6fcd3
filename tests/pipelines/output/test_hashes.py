"""What an aligned model keeps of the one that it was made from: the tokenizer's files, byte by byte."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub.constants
import pytest

from pipelines.output.hashes import copy_tokenizer, tokenizer_hash
from tests.actors.tiny_models import save_policy
from tests.pipelines.run.test_revisions import cache_model

COMMIT = "1" * 40


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_tokenizer_is_copied_as_it_is_and_the_model_is_not(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    save_policy(source)
    (source / "sentencepiece.bpe.model").write_bytes(b"pieces")
    (source / "tokenizer_of_another_kind").mkdir()
    target.mkdir()
    copy_tokenizer(str(source), target)
    names = ("sentencepiece.bpe.model", "tokenizer.json", "tokenizer_config.json")
    assert files_of(target) == {name: (source / name).read_bytes() for name in names}
    assert tokenizer_hash(str(target)) == tokenizer_hash(str(source))


def test_a_tokenizer_on_the_hub_is_copied_from_the_cache_of_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_policy(tmp_path / "source")
    cache_model(tmp_path / "hub", "owner/name", COMMIT, tmp_path / "source")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    target = tmp_path / "target"
    target.mkdir()
    copy_tokenizer(f"owner/name@{COMMIT}", target)
    assert sorted(files_of(target)) == ["tokenizer.json", "tokenizer_config.json"]
    assert files_of(target).items() <= files_of(tmp_path / "source").items()
