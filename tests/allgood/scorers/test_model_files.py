"""What is refused of a model folder before anything is loaded."""

import json

import pytest

from allgood.errors import ModelError
from allgood.scorers.model_files import check_model_folder, check_no_pointers
from allgood.scorers.models import load_tokenizer

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 13421772800\n"


def folder_with(tmp_path, **files):
    for name, content in {"config.json": "{}", "model.safetensors": "weights"}.items():
        (tmp_path / name).write_text(content)
    for name, content in files.items():
        (tmp_path / name.replace("__", ".")).write_text(content)
    return tmp_path


def test_a_folder_with_config_and_weights_and_a_name_on_the_hub_pass(tmp_path):
    check_model_folder(folder_with(tmp_path))
    check_model_folder("owner/name")


@pytest.mark.parametrize("name", ["model__safetensors", "pytorch_model__bin", "config__json", "tokenizer__json"])
def test_a_git_lfs_pointer_is_no_file(name, tmp_path):
    with pytest.raises(ModelError, match=rf"{name.replace('__', '.')}' is a Git LFS pointer.*`git lfs pull`"):
        check_model_folder(folder_with(tmp_path, **{name: POINTER}))


def test_a_pointer_in_place_of_a_tokenizer_is_named(tmp_path):
    check_no_pointers(tmp_path)
    (tmp_path / "tokenizer.json").write_text(POINTER)
    with pytest.raises(ModelError, match=r"tokenizer\.json' is a Git LFS pointer"):
        load_tokenizer(tmp_path)


def test_an_adapter_is_no_model_with_and_without_a_config(tmp_path):
    config = json.dumps({"base_model_name_or_path": "owner/base", "peft_type": "LORA"})
    with pytest.raises(ModelError, match=r"is an adapter \(PEFT\) of 'owner/base', not a model; merge"):
        check_model_folder(folder_with(tmp_path, adapter_config__json=config))
    (tmp_path / "config.json").unlink()
    with pytest.raises(ModelError, match="is an adapter"):
        check_model_folder(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(ModelError, match=r"is an adapter \(PEFT\), not a model"):
        check_model_folder(tmp_path)
