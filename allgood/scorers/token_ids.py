"""Whether a tokenizer and a model belong together: every token that is written must be a row of the embedding.

An embedding that is larger than the tokenizer is common and fine: such tokens have no text. A tokenizer that is larger
is not: its tokens are no rows, most often a pad token that was added without resize_token_embeddings.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from allgood.errors import ModelError
from allgood.scorers.weights import some

logger = logging.getLogger(__name__)


def check_token_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, source: str | Path) -> None:
    """Refuse special tokens that the model cannot read; show others, as only a text that spells them is affected.

    Raises:
        ModelError: A special token, or the `pad_token_id` of the config, is no row of the embedding.
    """
    num_rows = _rows_of_embedding(model)
    if num_rows is None:
        return
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    beyond = {token for token, index in vocabulary.items() if index >= num_rows}
    special = beyond & set(_written_tokens(tokenizer))
    if special:
        raise ModelError(
            f"the tokenizer of {str(source)!r} has {some([repr(token) for token in special])}, but the model's "
            f"embedding ends at token {num_rows - 1}; save the model again after resize_token_embeddings, or name a "
            "special token that it has"
        )
    if beyond:
        logger.warning(
            "the tokenizer of %r has tokens that the model cannot read, as its embedding ends at token %d: %s",
            str(source),
            num_rows - 1,
            some([repr(token) for token in beyond]),
        )
    padding = configured_pad_token(model)
    if padding is not None and not 0 <= padding < num_rows:
        raise ModelError(
            f"`pad_token_id` in config.json of {str(source)!r} is {padding}, but the embedding has rows 0 to "
            f"{num_rows - 1}; set it to the pad token of its tokenizer ({tokenizer.pad_token_id}), or to null"
        )


def configured_pad_token(model: PreTrainedModel) -> int | None:
    """What the config of a model's text names as its pad token, if anything."""
    token: int | None = model.config.get_text_config().to_dict().get("pad_token_id")
    return token


def _rows_of_embedding(model: PreTrainedModel) -> int | None:
    """How many tokens the model knows; None for one that has no table of tokens, such as Canine."""
    try:
        table: Any = model.get_input_embeddings()
    except NotImplementedError:
        return None
    return len(cast(nn.Embedding, table).weight if isinstance(table, nn.Module) else table)


def _written_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The tokens that are written around texts, by the tokenizer or its chat template, and into padding."""
    candidates = (
        tokenizer.bos_token,
        tokenizer.eos_token,
        tokenizer.pad_token,
        tokenizer.cls_token,
        tokenizer.sep_token,
    )
    template = str(tokenizer.chat_template or "")
    by_template = [token for token in tokenizer.get_added_vocab() if token in template]
    return [token for token in candidates if token is not None] + by_template
