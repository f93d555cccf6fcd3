"""One sentence for each way in which loading fails: what it is about, and what to do."""

import json

import httpx
import pytest
import torch
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from allgood.errors import ModelError
from allgood.scorers.load_errors import load_error, loading
from allgood.scorers.models import load_policy, load_reward_model, load_tokenizer
from tests.actors import tiny_models

CPU = torch.device("cpu")


def of_the_hub(kind):
    request = httpx.Request("GET", "https://huggingface.co/owner/name/resolve/main/config.json")
    return kind("401 Client Error.", response=httpx.Response(401, request=request))


@pytest.mark.parametrize(
    ("cause", "sentence"),
    [
        (
            of_the_hub(GatedRepoError),
            "'owner/name' is gated: accept its terms on https://.*/owner/name, .*auth login",
        ),
        (
            of_the_hub(RepositoryNotFoundError),
            "there is no model 'owner/name' on the hub that you may see; check",
        ),
        (of_the_hub(RevisionNotFoundError), "'owner/name' has no such revision on the hub"),
        (LocalEntryNotFoundError("offline"), "the hub cannot be reached.*`hf download owner/name`"),
        (ConnectionError("refused"), "the hub cannot be reached"),
        (httpx.ConnectError("[Errno -2] Name or service not known"), "the hub cannot be reached"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(cause, sentence):
    with pytest.raises(ModelError, match=sentence) as caught, loading("model", "owner/name"):
        raise OSError("Something long.\nAnd a second line.") from cause
    assert "\n" not in str(caught.value)


def test_no_network_and_a_name_that_is_none_are_told_apart():
    with pytest.raises(ModelError, match="'owner/no-such-name' is no folder here, is not in the cache of the hub"):
        load_policy("owner/no-such-name", dtype=torch.float32, device=CPU)
    with pytest.raises(ModelError, match="'my model' is neither a folder nor a name on the hub"):
        load_tokenizer("my model")


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError("first\nsecond"), r"\(first\)"),
        (
            ValueError("A field is wrong:\n    TypeError: expected int"),
            r"\(A field is wrong: TypeError: expected",
        ),
        (ZeroDivisionError("division by zero"), r"\(ZeroDivisionError: division by zero\)"),
        (RuntimeError(""), r"\(RuntimeError\)"),
        (OSError("The first sentence is enough. " + "More of it. " * 40), r"\(The first sentence is enough\)"),
    ],
)
def test_any_other_error_is_told_in_one_line(error, shown):
    assert load_error("tokenizer", "x", error).args[0].startswith("no tokenizer can be loaded from 'x' (")
    with pytest.raises(ModelError, match=shown):
        raise load_error("tokenizer", "x", error)


def changed_config(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}, "needs Python code of its own repository"),
        ({"num_hidden_layers": "two"}, "no model configuration can be loaded.*expected int, got str"),
        ({"num_attention_heads": 0}, "no model configuration can be loaded.*ZeroDivisionError"),
        ({"vocab_size": 0}, "no model can be loaded.*IndexError"),
        ({"intermediate_size": 65}, "weights of .* have other shapes than its config.json says"),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "policy .* is quantised"),
    ],
)
def test_a_policy_whose_config_makes_no_model_is_refused(changes, sentence, tmp_path):
    folder = tiny_models.save_policy(tmp_path)
    changed_config(tmp_path, **changes)
    with pytest.raises(ModelError, match=sentence):
        load_policy(folder, dtype=torch.float32, device=CPU)


def test_a_quantised_scorer_whose_package_is_missing_is_refused(tmp_path):
    folder = tiny_models.save_scorer(tmp_path)
    changed_config(tmp_path, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    with pytest.raises(ModelError, match="needs a package that is not installed .*bitsandbytes"):
        load_reward_model(folder, device=CPU)


def test_damaged_weights_of_torch_are_refused(tmp_path):
    folder = tiny_models.save_policy(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    weights = tmp_path / "pytorch_model.bin"
    weights.write_bytes(b"not a pickle of tensors")
    with pytest.raises(ModelError, match="weights of .* are damaged, or hold more than tensors"):
        load_policy(folder, dtype=torch.float32, device=CPU)
    torch.save(tiny_models.policy().state_dict(), weights)
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    with pytest.raises(ModelError, match="are damaged"):
        load_policy(folder, dtype=torch.float32, device=CPU)


class Intruder:
    """A pickle that would write a file on the way in."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


@pytest.mark.parametrize("load", [load_policy, load_reward_model])
def test_code_in_place_of_weights_is_refused_and_not_run(tmp_path, load):
    is_policy = load is load_policy
    (tiny_models.save_policy if is_policy else tiny_models.save_scorer)(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    intruded = tmp_path / "intruded"
    torch.save({"weight": Intruder(intruded)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="are damaged, or hold more than tensors"):
        load(str(tmp_path), device=CPU, **({"dtype": torch.float32} if is_policy else {}))
    assert not intruded.exists()
    torch.load(tmp_path / "pytorch_model.bin", weights_only=False)
    assert intruded.exists(), "the pickle is harmless, so that nothing was shown"


@pytest.mark.parametrize("part", ["model", "pre_tokenizer"])
def test_a_tokenizer_of_a_newer_format_is_refused(part, tmp_path):
    tiny_models.save_policy(tmp_path)
    file = tmp_path / "tokenizer.json"
    content = json.loads(file.read_text())
    content[part]["type"] = "OfNextYear"
    file.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"tokenizer\.json of .* does not know; upgrade tokenizers"):
        load_tokenizer(tmp_path)
