"""Where a response of the policy ends, from the small files of its model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import GenerationConfig, PreTrainedConfig, PreTrainedTokenizerBase

from actors.generation.stopping import end_tokens
from allgood.scorers.hub_names import split_revision
from allgood.scorers.policy_format import response_form
from pipelines.inspection.reading import Token, spelled


@dataclass(frozen=True)
class Ending:
    """A response ends at one of the `tokens`, or at one of the texts `stop`."""

    tokens: tuple[Token, ...]
    stop: tuple[str, ...]


def ending(
    source: str | None, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, stop: Sequence[str] | None
) -> Ending:
    """Of the policy called `source`; None for one that is made new. Without `stop` the policy's format says it.

    Raises:
        ModelError: Nobody could say where a response ends.
    """
    ids = end_tokens(_generation_config(source, config), tokenizer)
    chosen = response_form(tokenizer).stop if stop is None else stop
    return Ending(spelled(tokenizer, ids.tolist()), tuple(chosen))


def _generation_config(source: str | None, config: PreTrainedConfig) -> GenerationConfig:
    """As a loaded policy has it."""
    if source is not None:
        name, revision = split_revision(source)
        try:
            return GenerationConfig.from_pretrained(name, revision=revision or "main")
        except OSError:  # it has no file of its own
            pass
    return GenerationConfig.from_model_config(config)
