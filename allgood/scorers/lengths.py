"""How many tokens a model can read, and a pass of that length before anything depends on it.

Families name the limit differently, count it differently (RoBERTa's positions start behind its pad token), or have none
(relative positions, recurrent layers). A limit that is only in the config may be soft, and text beyond it is still
text that the model was not made for; so it is kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from allgood.errors import first_line
from allgood.scorers.token_ids import configured_pad_token

# What configs call it; where there are several, the smallest holds.
_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "model_max_length", "context_length")

# Parameters times tokens of a pass on the CPU that takes a second or two; a GPU takes as long for any model.
_CHEAP = 5e10


def usable_length(model: PreTrainedModel) -> int | None:
    """The longest text that the model can read, in tokens; None where nothing limits it."""
    config = model.config.get_text_config().to_dict()
    limits = [value for key in _KEYS if isinstance(value := config.get(key), int) and value > 0]
    limits += [
        module.num_embeddings - module.padding_idx - 1
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) and module.padding_idx is not None and "position" in name.split(".")[-1]
    ]
    limits += [limit] if (limit := _limit_of_longrope(config)) is not None else []
    return min(limits, default=None)


def shortfall(model: PreTrainedModel, num_tokens: int) -> str | None:
    """Why the model cannot read a text of `num_tokens`, such as "reads 64 tokens at most"; None if it can.

    That is by what its config and its tables of positions say, and by a pass of that length where it is cheap.
    """
    limit = usable_length(model)
    if limit is not None and num_tokens > limit:
        why = " (with longrope, one longer row of a batch changes all others)" if _is_of_longrope(model, limit) else ""
        return f"reads {limit} tokens at most{why}"
    if model.device.type == "cpu" and model.num_parameters() * num_tokens > _CHEAP:
        return None
    try:
        _pass(model, num_tokens)
    except torch.OutOfMemoryError:  # no limit of the model
        raise
    except ValueError:  # it asks for more than a text, such as a decoder's: nothing is known
        return None
    except (IndexError, RuntimeError) as error:
        return f"fails on a text of {num_tokens} tokens ({first_line(error)})"
    return None


def _limit_of_longrope(config: dict[str, Any]) -> int | None:
    """Where `longrope` goes over to its long factors: for all rows of a batch, as soon as one is longer."""
    rope = config.get("rope_parameters") or {}
    if rope.get("rope_type") != "longrope":
        return None
    limit: int | None = rope.get("original_max_position_embeddings", config.get("original_max_position_embeddings"))
    return limit


def _is_of_longrope(model: PreTrainedModel, limit: int) -> bool:
    return limit == _limit_of_longrope(model.config.get_text_config().to_dict())


@torch.inference_mode()
def _pass(model: PreTrainedModel, num_tokens: int) -> None:
    """One row of any token but the pad token, whose positions some families do not count; without the head."""
    token = 1 if configured_pad_token(model) == 0 else 0
    model.base_model(input_ids=torch.full((1, num_tokens), token, device=model.device))
