"""How many bytes a role needs, from the shape of its model alone: a formula, no measurement.

In symbols: P parameters, of which A are trained; L layers of hidden size h and inner size i; d numbers per token and
layer in the keys (and as many in the values); V tokens in the vocabulary; T tokens in a micro-batch. b is 4 bytes in
float32 and 2 in bfloat16. Weights that are trained are float32 always; with bfloat16 the passes run under autocast.

* Training: 4 P for parameters, 4 A for gradients, 8 A for the two moments of Adam. For the backward pass each layer
  keeps T (10 h + 4 i) numbers in float32, which is what transformers' models with a gated inner part keep; under
  autocast 32 h + 8 i bytes per token, as norms stay in float32, and 2 P for the weights cast to bfloat16. At the head
  four float32 arrays of T V numbers are alive at once.
  With gradient checkpointing a layer keeps T h numbers, and one layer at a time all of the above.
* Training over N learners that hold the model between them: a share 1 / N of parameters, gradients and moments.
* Only reading: b P, and while a layer works about T (2 h + 3 i) numbers; with the head 16 T V bytes.
* Generating: b P; keys and values, 2 d L b per token, of prompts and of new tokens; 24 + b bytes per row and token of
  the vocabulary at each step. Samples share their prompt's keys and values where all layers attend to the whole past.

What is left out: the libraries themselves (about 0.5 GB, or 1 GB with a GPU), fragmentation, attention kernels that
keep a square of scores, and the state of recurrent layers. It is meant to lie at most a half above what is used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

_FLOAT = 4
_LOGITS = 16  # bytes per token and word: four float32 arrays at once
_SAMPLING = 24  # float32 logits, their shifted, exponential and product; float64 distribution function
_PREFILL_TOKENS = 16_384  # of a forward pass over prompts, as in actors/generation/shared_prefix.py


@dataclass(frozen=True)
class Shape:
    """What of a model decides about memory.

    Attributes:
        num_parameters: P, weights that are tied counted once.
        num_layers: L.
        hidden_size: h.
        inner_size: i, of the feed-forward part; of all experts that a token goes through.
        key_size: d, over all key-value heads.
        vocab_size: V.
        shares_prompts: Whether samples can share their prompt's keys and values.
    """

    num_parameters: int
    num_layers: int
    hidden_size: int
    inner_size: int
    key_size: int
    vocab_size: int
    shares_prompts: bool = True


@dataclass(frozen=True)
class Memory:
    """Bytes by what they are for. `copies` of weights, kept or sent, lie in main memory on any device."""

    parameters: int = 0
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    cache: int = 0
    copies: int = 0

    @property
    def total(self) -> int:
        """Bytes on the device that the role computes on, without `copies`."""
        return self.parameters + self.gradients + self.optimizer + self.activations + self.cache


def training(
    shape: Shape, *, num_trained: int, tokens: int, predicted: int, width: int, recomputes: bool = False
) -> Memory:
    """A role that trains.

    Args:
        shape: Of its model.
        num_trained: A, parameters that get gradients.
        tokens: T, tokens of a forward and backward pass.
        predicted: Tokens among them at which the head computes the whole vocabulary.
        width: b, bytes of a number in the forward pass.
        recomputes: Each layer keeps its input only, and one at a time is computed again (gradient checkpointing).
    """
    h, i = shape.hidden_size, shape.inner_size
    per_token = _FLOAT * (10 * h + 4 * i) if width == _FLOAT else 32 * h + 8 * i
    kept = shape.num_layers * _FLOAT * h + per_token if recomputes else shape.num_layers * per_token
    cast = 0 if width == _FLOAT else width * shape.num_parameters
    return Memory(
        parameters=_FLOAT * shape.num_parameters,
        gradients=_FLOAT * num_trained,
        optimizer=2 * _FLOAT * num_trained,
        activations=tokens * kept + cast + _LOGITS * predicted * shape.vocab_size,
    )


def spread(memory: Memory, num_learners: int) -> Memory:
    """One of several learners that hold a model between them; what passes keep stays, as each makes its own."""
    return replace(
        memory,
        parameters=-(-memory.parameters // num_learners),
        gradients=-(-memory.gradients // num_learners),
        optimizer=-(-memory.optimizer // num_learners),
    )


def reading(shape: Shape, *, tokens: int, predicted: int, width: int) -> Memory:
    """A role that only reads, `tokens` per forward pass; arguments as in `training`."""
    working = tokens * (2 * shape.hidden_size + 3 * shape.inner_size) * width
    return Memory(parameters=width * shape.num_parameters, activations=working + _LOGITS * predicted * shape.vocab_size)


def generating(shape: Shape, *, prompts: int, samples: int, prompt_tokens: int, new_tokens: int, width: int) -> Memory:
    """A role that samples `samples` responses to each of `prompts` prompts at once; lengths are the longest allowed."""
    rows = prompts * samples
    prefixes = prompts if shape.shares_prompts else rows
    cached = prefixes * prompt_tokens + rows * new_tokens
    prefill = reading(shape, tokens=min(prompts * prompt_tokens, _PREFILL_TOKENS), predicted=0, width=width)
    return Memory(
        parameters=width * shape.num_parameters,
        activations=max(prefill.activations, rows * shape.vocab_size * (_SAMPLING + width)),
        cache=2 * shape.num_layers * shape.key_size * cached * width,
    )
