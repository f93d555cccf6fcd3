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
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from allgood.errors import ModelError

logger = logging.getLogger(__name__)

_WEIGHT_PATTERNS = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin")


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
    try:
        return AutoTokenizer.from_pretrained(str(source), trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"no tokenizer can be loaded from {str(source)!r} ({_first_line(error)}); "
            "give a folder written by save_pretrained, tokenizer included, or a name on the hub"
        ) from error


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
        ModelError: There is no such model, it has no weights, or weights of it are missing.
    """
    check_has_weights(source)
    model, missing = _load(AutoModelForCausalLM, source, dtype=dtype)
    if missing:
        raise ModelError(f"{str(source)!r} is no complete causal language model: it lacks the weights {_some(missing)}")
    return _placed(model, device)


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
    check_has_weights(source)
    num_labels = _num_labels(source)
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
    check_has_weights(source)
    num_labels = _num_labels(source)
    if num_labels < 2:
        raise ModelError(
            f"classifier {str(source)!r} has 1 label, so it gives rewards, not probabilities; use `kind: model`"
        )
    if not 0 <= label < num_labels:
        raise ModelError(f"classifier {str(source)!r} has no label {label}; `label` may be 0 to {num_labels - 1}")
    return _load_scorer(source, device)


def load_encoder(source: str | Path, *, device: torch.device) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The encoder called `source` in float32, in evaluation mode, and its tokenizer.

    Raises:
        ModelError: There is no such model, or it has no weights.
    """
    check_has_weights(source)
    model, missing = _load(AutoModel, source, dtype=torch.float32)
    missing = [name for name in missing if not name.startswith("pooler.")]  # unused: features are hidden states
    if missing:
        raise ModelError(f"{str(source)!r} is no complete encoder: it lacks the weights {_some(missing)}")
    return _placed(model, device), load_tokenizer(source)


def check_has_weights(source: str | Path) -> None:
    """Refuse a local folder that is empty of weights; a name that is no folder is left to the hub."""
    folder = Path(source)
    if not folder.exists() and (folder.is_absolute() or str(source).startswith(".")):
        raise ModelError(f"the model folder {str(source)!r} does not exist")
    if not folder.is_dir():
        return
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{str(source)!r} is no model folder: it has no config.json; give a folder written by save_pretrained"
        )
    if not any(path.stat().st_size for pattern in _WEIGHT_PATTERNS for path in folder.glob(pattern)):
        raise ModelError(
            f"the model folder {str(source)!r} has no weights (no *.safetensors or pytorch_model*.bin); "
            "write it with save_pretrained, or copy the weight files alongside its config.json"
        )


def _load_scorer(source: str | Path, device: torch.device) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    model, missing = _load(AutoModelForSequenceClassification, source, dtype=torch.float32)
    if missing:
        raise ModelError(
            f"{str(source)!r} is no trained scorer: it lacks the weights {_some(missing)}, which would be random; "
            "train it with `allgood reward`, or give a sequence classifier"
        )
    return _placed(model, device), load_tokenizer(source)


def _placed(model: PreTrainedModel, device: torch.device) -> PreTrainedModel:
    nn.Module.to(model, device)  # the model's own `to` has no types
    model.eval()
    return model


def _load(
    auto_class: type[AutoModel] | type[AutoModelForCausalLM] | type[AutoModelForSequenceClassification],
    source: str | Path,
    *,
    dtype: torch.dtype,
) -> tuple[PreTrainedModel, list[str]]:
    disable_progress_bar()  # bars of many actors would run over each other
    try:
        loaded: Any = auto_class.from_pretrained(
            str(source), dtype=dtype, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"no model can be loaded from {str(source)!r} ({_first_line(error)}); "
            "check the name, or the files in the folder"
        ) from error
    model, info = loaded
    return model, sorted(info["missing_keys"])


def _num_labels(source: str | Path) -> int:
    try:
        config = AutoConfig.from_pretrained(str(source), trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"no model configuration can be read from {str(source)!r} ({_first_line(error)})") from error
    return int(config.num_labels)


def _is_path(source: str) -> bool:
    """Whether `source` can only be a path: names on the hub are "name" or "owner/name"."""
    return source.startswith((".", "/", "~")) or source.count("/") > 1


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
