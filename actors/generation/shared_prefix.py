"""Decoding in which the samples of a prompt share the prompt's keys and values.

Attention over a prompt is one matrix product for all its samples, so the prompt's cache is read once per prompt instead
of once per sample, and memory grows with prompts rather than rows. Only the sampled tokens have a cache per row, in
buffers of their final length. The model's own forward pass runs unchanged: attention is replaced through
transformers' AttentionInterface.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from actors.generation.decoding import Prompts, last_logits, left_padded, positions_of, takes
from allgood.batching import token_budget_batches

_NAME = "allgood_shared_prefix"
_PREFILL_TOKENS = 16_384


class SharedPrefix:
    """The prompts' keys and values, and which samples read them. Row r reads prompt slots[r] // samples.

    `keys` and `values` are per layer [prompts, key-value heads, prefix, size], padded on the left; `padding` is added
    to the scores, [prompts, 1, 1, prefix].
    """

    def __init__(
        self,
        keys: list[Tensor],
        values: list[Tensor],
        padding: Tensor,
        *,
        samples_per_prompt: int,
        sampled: list[_SampledLayer],
    ) -> None:
        self._keys = keys
        self._values = values
        self._padding = padding
        self._samples = samples_per_prompt
        self._slots: Tensor | None = None  # absent: every slot holds a row, in order
        self._sampled = sampled
        # Layers whose attention was given exactly what they cached: only those may read a prefix.
        self.layers_read: set[int] = set()

    def attend(self, layer: int, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attention of the newest token to its prompt and to the row's own `keys` and `values`.

        Args:
            layer: Index of the layer.
            query: Scaled queries, [rows, key-value heads, queries per head, size].
            keys: [rows, key-value heads, sampled tokens, size].
            values: Like `keys`.

        Returns:
            [rows, key-value heads, queries per head, size].
        """
        if keys.data_ptr() == self._sampled[layer].address:
            self.layers_read.add(layer)
        prefix, padding = self._keys[layer].transpose(2, 3), self._padding
        prefix_scores = self._by_row(self._by_prompt(query) @ prefix + padding, query.shape[2])
        scores = torch.cat([prefix_scores, query @ keys.transpose(2, 3)], dim=-1)
        weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
        over_prefix, over_sampled = weights.split([padding.shape[-1], keys.shape[2]], dim=-1)
        from_prefix = self._by_row(self._by_prompt(over_prefix) @ self._values[layer], query.shape[2])
        attended: Tensor = from_prefix + over_sampled @ values
        return attended

    def keep(self, alive: Tensor) -> None:
        """Drop the rows that are not `alive`; the slots of a prompt stay until its last row has ended."""
        num_slots = self._padding.shape[0] * self._samples
        slots = torch.arange(num_slots, device=alive.device) if self._slots is None else self._slots
        self._slots = slots[alive]

    def _by_prompt(self, x: Tensor) -> Tensor:
        """[rows, heads, queries, n] -> [prompts, heads, samples * queries, n]; slots without a row are 0."""
        _, heads, queries, size = x.shape
        num_prompts = self._padding.shape[0]
        if self._slots is not None:
            x = x.new_zeros(num_prompts * self._samples, heads, queries, size).index_copy_(0, self._slots, x)
        grouped = x.view(num_prompts, self._samples, heads, queries, size).transpose(1, 2)
        return grouped.reshape(num_prompts, heads, self._samples * queries, size)

    def _by_row(self, x: Tensor, queries: int) -> Tensor:
        """The inverse of `_by_prompt`."""
        num_prompts, heads, _, size = x.shape
        rows = x.view(num_prompts, heads, self._samples, queries, size).transpose(1, 2)
        rows = rows.reshape(num_prompts * self._samples, heads, queries, size)
        return rows if self._slots is None else rows[self._slots]


class SharedPrefixDecoder:
    """See `actors.generation.decoding.Decoder`."""

    def __init__(
        self, model: PreTrainedModel, prefix: SharedPrefix, positions: Tensor, sampled: list[_SampledLayer]
    ) -> None:
        self._model = model
        self.prefix = prefix
        self._positions = positions  # of the next token, [rows, 1]
        self._cache = Cache(layers=[*sampled])
        # A mask of four dimensions makes transformers build none; ours needs none, as all sampled tokens are real.
        self._no_mask = torch.zeros(1, 1, 1, 1, dtype=model.dtype, device=model.device)

    def step(self, tokens: Tensor) -> Tensor:
        """See `Decoder.step`."""
        logits: Tensor = self._model(
            input_ids=tokens[:, None],
            attention_mask=self._no_mask,
            position_ids=self._positions,
            past_key_values=self._cache,
            use_cache=True,
            shared_prefix=self.prefix,
        ).logits
        self._positions = self._positions + 1
        return logits[:, -1]

    def keep(self, alive: Tensor) -> None:
        """See `Decoder.keep`."""
        self._positions = self._positions[alive]
        self.prefix.keep(alive)
        self._cache.batch_select_indices(alive.nonzero().squeeze(1))


def share_prefixes(model: PreTrainedModel) -> bool:
    """Make the model read shared prefixes where its forward pass is given one; False if it cannot, and nothing changes.

    A model can if it attends to the whole past in every layer and hands what it cached to attention as it is (models
    with compressed caches do not). That is tried out, because no flag of transformers tells it.
    """
    # transformers chooses a cache layer per layer of the model; windows and recurrent layers have other classes.
    layers = DynamicCache(config=model.config).layers
    if not all(type(layer) is DynamicLayer for layer in layers) or model.config._attn_implementation not in (
        "sdpa",
        _NAME,
    ):
        return False
    if not model._supports_attention_backend or not takes(model, "position_ids"):
        return False
    AttentionInterface.register(_NAME, _attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)
    if _reads_prefix(model, num_layers=len(layers)):
        return True
    share_prefixes_no_more(model)
    return False


def share_prefixes_no_more(model: PreTrainedModel) -> None:
    """Undo `share_prefixes`."""
    model.set_attn_implementation("sdpa")


@torch.inference_mode()
def _reads_prefix(model: PreTrainedModel, *, num_layers: int) -> bool:
    """Whether one decoding step reads the shared prefix in every layer."""
    try:
        decoder, _ = prefill_shared(model, [[1, 1], [1]], 1, max_new_tokens=1)
        decoder.step(torch.ones(2, dtype=torch.int64, device=model.device))
    except (RuntimeError, TypeError, AttributeError):  # shapes or arguments that the shared prefix does not know
        return False
    return decoder.prefix.layers_read == set(range(num_layers))


def prefill_shared(
    model: PreTrainedModel, prompts: Prompts, samples_per_prompt: int, max_new_tokens: int
) -> tuple[SharedPrefixDecoder, Tensor]:
    """Prefill the prompts; returns the decoder of all rows (prompt-major) and the first logits, [rows, vocabulary]."""
    _, real = left_padded(prompts, model.device)
    logits = torch.empty(0)
    keys: list[Tensor] = []
    values: list[Tensor] = []
    for batch in token_budget_batches([len(prompt) for prompt in prompts], max_tokens=_PREFILL_TOKENS):
        ids, batch_real = left_padded([prompts[i] for i in batch], model.device)
        layers = [DynamicLayer() for _ in range(model.config.get_text_config().num_hidden_layers)]
        batch_logits = last_logits(model, ids, batch_real, positions_of(batch_real), Cache(layers=[*layers]))
        if not keys:
            logits = batch_logits.new_empty(len(prompts), batch_logits.shape[1])
            keys = [_room(_filled(layer.keys), *real.shape) for layer in layers]
            values = [_room(_filled(layer.values), *real.shape) for layer in layers]
        logits[batch] = batch_logits
        for index, layer in enumerate(layers):
            keys[index][batch, :, -ids.shape[1] :] = _filled(layer.keys)
            values[index][batch, :, -ids.shape[1] :] = _filled(layer.values)
    padding = torch.zeros(len(prompts), 1, 1, real.shape[1], dtype=model.dtype, device=model.device)
    padding.masked_fill_(real[:, None, None] == 0, torch.finfo(model.dtype).min)
    sampled = [_SampledLayer(max_new_tokens) for _ in keys]
    prefix = SharedPrefix(keys, values, padding, samples_per_prompt=samples_per_prompt, sampled=sampled)
    positions = real.sum(1, keepdim=True).repeat_interleave(samples_per_prompt, 0)
    decoder = SharedPrefixDecoder(model, prefix, positions, sampled)
    return decoder, logits.repeat_interleave(samples_per_prompt, 0)


def _room(example: Tensor, num_prompts: int, width: int) -> Tensor:
    return example.new_zeros(num_prompts, example.shape[1], width, example.shape[3])


def _filled(states: Tensor | None) -> Tensor:
    assert states is not None, "a layer kept no keys and values"
    return states


def _attention(
    module: Any,  # an attention module of transformers
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    shared_prefix: SharedPrefix | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """An attention function of transformers: [rows, heads, tokens, size] -> [rows, tokens, heads, size]."""
    if shared_prefix is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    rows, heads, _, size = query.shape
    scale = size**-0.5 if scaling is None else scaling
    grouped = (query * scale).view(rows, key.shape[1], heads // key.shape[1], size)
    attended = shared_prefix.attend(module.layer_idx, grouped, key, value)
    return attended.reshape(rows, 1, heads, value.shape[3]), None


class _SampledLayer(DynamicLayer):
    """Keys and values of the sampled tokens of one layer, in buffers of their final length."""

    def __init__(self, num_tokens: int) -> None:
        super().__init__()
        self._num_tokens = num_tokens
        self._used = 0

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        if self.keys is None or self.values is None:
            self.keys = _room(key_states, key_states.shape[0], self._num_tokens)
            self.values = _room(value_states, value_states.shape[0], self._num_tokens)
        self.keys[:, :, self._used] = key_states[:, :, 0]
        self.values[:, :, self._used] = value_states[:, :, 0]
        self._used += 1
        return self.keys[:, :, : self._used], self.values[:, :, : self._used]

    def get_seq_length(self) -> int:
        return self._used

    @property
    def address(self) -> int:
        """Where the keys begin in memory."""
        return _filled(self.keys).data_ptr()
