"""Loading models and tokenizers by name or folder, with the refusals that a user can act on.

A name on the Hugging Face hub and a local folder are both accepted; remote code never is. What would otherwise fail
late or silently (a folder without weights, a reward model with two labels or with an untrained head, a tokenizer
without an end token) is refused here with a ModelError.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from allgood.errors import ModelError
from allgood.scorers.hub_names import split_revision
from allgood.scorers.load_errors import loading
from allgood.scorers.model_files import check_model_folder, check_no_pointers
from allgood.scorers.token_ids import check_token_ids
from allgood.scorers.weights import (
    check_unused_of_backbone,
    check_unused_of_policy,
    check_unused_of_scorer,
    some,
)

logger = logging.getLogger(__name__)

_WRITES = ("ForCausalLM", "LMHeadModel")
_JUDGES = ("ForSequenceClassification", "ForTokenClassification", "RewardModel")  # ends of architectures' names


def resolve_device(name: str) -> torch.device:
    """The device called `name`; "auto" is the GPU where there is one.

    Raises:
        ModelError: A GPU is asked for and torch sees none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            f"device {name!r} is asked for, but torch sees no GPU here; "
            "set `device: cpu` or reserve a GPU for this role"
        )
    return device


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype called `name`; "auto" is bfloat16 on a GPU and float32 on a CPU."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name not in known:
        raise ModelError(f"dtype {name!r} is not known; use one of auto, {', '.join(known)}")
    return known[name]


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of the model called `source` (hub name or folder)."""
    if _is_path(str(source)) and not Path(source).exists():
        raise ModelError(f"there is no model folder {str(source)!r}; check the path, or give a name on the hub")
    check_no_pointers(source)
    name, revision = split_revision(source)
    with loading("tokenizer", source):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            name, revision=revision or "main", trust_remote_code=False
        )
    return tokenizer


def check_policy_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a policy's tokenizer without EOS; replace a missing pad token by EOS, and say so."""
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"the tokenizer of policy {tokenizer.name_or_path!r} has no EOS token, so no response could ever end; "
            "set `eos_token` in its tokenizer_config.json"
        )
    if tokenizer.pad_token_id is None:
        logger.warning(
            "the tokenizer of %r has no pad token; EOS (%r) pads instead", tokenizer.name_or_path, tokenizer.eos_token
        )
        tokenizer.pad_token = tokenizer.eos_token


def load_policy(source: str | Path, *, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """The causal language model called `source`, in evaluation mode (dropout off).

    Raises:
        ModelError: There is no such model, it judges instead of writing, or its weights are not those of its config.
    """
    check_policy(source)
    model, info = _load(AutoModelForCausalLM, source, dtype=dtype)
    if info["missing_keys"]:
        raise ModelError(
            f"{str(source)!r} is no complete causal language model: it lacks the weights {some(info['missing_keys'])}"
        )
    check_unused_of_policy(model, info["unexpected_keys"], source)
    return _placed(model, device, source)


def check_policy(source: str | Path) -> None:
    """Refuse what cannot be aligned, by its configuration, without loading it.

    Raises:
        ModelError: It has no weights, it judges instead of writing, or it is quantised.
    """
    check_model_folder(source)
    config = read_config(source)
    judges = [name for name in config.architectures or [] if name.endswith(_JUDGES)]
    if judges:
        raise ModelError(
            f"policy {str(source)!r} is a {judges[0]}, which judges texts and writes none; give a causal language "
            "model, and name this one as a property's `model`"
        )
    if config.to_dict().get("quantization_config"):
        raise ModelError(
            f"policy {str(source)!r} is quantised (`quantization_config` in its config.json), so its weights cannot be "
            "trained; give the model that it was made from"
        )


def load_reward_model(source: str | Path, *, device: torch.device) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The one-label sequence classifier called `source` in float32, in evaluation mode, and its tokenizer.

    Raises:
        ModelError: It has another number of labels, no weights, or an untrained head.
    """
    check_reward_model(source)
    return _load_scorer(source, device)


def check_reward_model(source: str | Path) -> None:
    """Refuse what is no one-label sequence classifier, by its configuration, without loading it.

    Raises:
        ModelError: It has another number of labels, or no weights.
    """
    check_model_folder(source)
    config = read_config(source)
    num_labels = config.num_labels or 0
    writes = [name for name in config.architectures or [] if name.endswith(_WRITES)]
    if num_labels != 1 and writes:
        raise ModelError(
            f"reward model {str(source)!r} is a {writes[0]}, which writes texts and judges none; give a sequence "
            "classifier with one label"
        )
    if num_labels != 1:
        raise ModelError(
            f"reward model {str(source)!r} has {num_labels} labels, a reward model needs exactly 1; "
            "for a classifier use `kind: classifier` with the `label` that means good"
        )


def load_classifier(
    source: str | Path, label: int, *, device: torch.device
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The sequence classifier called `source` in float32, in evaluation mode, and its tokenizer.

    Raises:
        ModelError: It has no label number `label`, a single label, no weights, or an untrained head.
    """
    check_classifier(source, label)
    return _load_scorer(source, device)


def check_classifier(source: str | Path, label: int) -> None:
    """Refuse what is no classifier with a label number `label`, by its configuration, without loading it.

    Raises:
        ModelError: It has no such label, a single label, or no weights.
    """
    check_model_folder(source)
    num_labels = read_config(source).num_labels or 0
    if num_labels < 2:
        raise ModelError(
            f"classifier {str(source)!r} has 1 label, so it gives rewards, not probabilities; use `kind: model`"
        )
    if not 0 <= label < num_labels:
        raise ModelError(f"classifier {str(source)!r} has no label {label}; `label` may be 0 to {num_labels - 1}")


def read_config(source: str | Path) -> PreTrainedConfig:
    """The configuration of the model called `source`.

    Raises:
        ModelError: There is none.
    """
    name, revision = split_revision(source)
    with loading("model configuration", source):
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            name, revision=revision or "main", trust_remote_code=False
        )
    return config


def load_encoder(source: str | Path, *, device: torch.device) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The encoder called `source` in float32, in evaluation mode, and its tokenizer.

    Raises:
        ModelError: There is no such model, or it has no weights.
    """
    check_model_folder(source)
    model, info = _load(AutoModel, source, dtype=torch.float32)
    # The pooler is not used: features are hidden states.
    missing = [name for name in info["missing_keys"] if not name.startswith("pooler.")]
    if missing:
        raise ModelError(f"{str(source)!r} is no complete encoder: it lacks the weights {some(missing)}")
    check_unused_of_backbone(model, info["unexpected_keys"], source)
    tokenizer = load_tokenizer(source)
    check_token_ids(model, tokenizer, source)
    return _placed(model, device, source), tokenizer


def check_trained(source: str | Path) -> None:
    """Refuse a scorer with an untrained head, by the names of its weights, without reading them.

    Raises:
        ModelError: Weights are missing, or there are others that the scorer needs.
    """
    model, info = _load(AutoModelForSequenceClassification, source, dtype=torch.float32, device_map="meta")
    _refuse_untrained(model, info, source)


def _load_scorer(source: str | Path, device: torch.device) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    model, info = _load(AutoModelForSequenceClassification, source, dtype=torch.float32)
    _refuse_untrained(model, info, source)
    tokenizer = load_tokenizer(source)
    check_token_ids(model, tokenizer, source)
    return _placed(model, device, source), tokenizer


def _refuse_untrained(model: PreTrainedModel, info: dict[str, set[str]], source: str | Path) -> None:
    if info["missing_keys"]:
        raise ModelError(
            f"{str(source)!r} is no trained scorer: it lacks the weights {some(info['missing_keys'])}, which would be "
            "random; train it with `allgood reward`, or give a sequence classifier"
        )
    check_unused_of_scorer(model, info["unexpected_keys"], source)


def _placed(model: PreTrainedModel, device: torch.device, source: str | Path) -> PreTrainedModel:
    try:
        nn.Module.to(model, device)  # the model's own `to` has no types
    except torch.OutOfMemoryError as error:
        gigabytes = sum(p.numel() * p.element_size() for p in model.parameters()) / 1e9
        raise ModelError(
            f"{str(source)!r} does not fit into the free memory of {device}: its weights take {gigabytes:.1f} GB; give "
            "its role a device of its own, or take a smaller model"
        ) from error
    model.eval()
    return model


def _load(
    auto_class: type[AutoModel] | type[AutoModelForCausalLM] | type[AutoModelForSequenceClassification],
    source: str | Path,
    *,
    dtype: torch.dtype,
    device_map: str | None = None,
) -> tuple[PreTrainedModel, dict[str, set[str]]]:
    """The model, and what transformers reports of its weights."""
    name, revision = split_revision(source)
    with loading("model", source):
        loaded: Any = auto_class.from_pretrained(
            name,
            revision=revision or "main",
            dtype=dtype,
            device_map=device_map,
            trust_remote_code=False,
            output_loading_info=True,
        )
    model, info = loaded
    if model._hf_peft_config_loaded:  # a folder that is one is refused earlier
        raise ModelError(
            f"{str(source)!r} is an adapter (PEFT), not a model; merge it into its base model with merge_and_unload, "
            "and give the folder that save_pretrained writes"
        )
    return model, info


def _is_path(source: str) -> bool:
    """Whether `source` can only be a path: names on the hub are "name" or "owner/name"."""
    return source.startswith((".", "/", "~")) or source.count("/") > 1
