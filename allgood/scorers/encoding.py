r"""Text to tokens, the same way in training, generation, scoring and references.

*Policies.* Without a chat template a conversation is plain hh text, tokenised in segments: the text up to and including
each `\n\nAssistant:`, then the assistant's turn (with its leading space) followed by EOS. EOS ends *every* assistant
turn, earlier ones too, and prompts are encoded so at generation time as well. This makes the prompt's tokens the exact
prefix of the training example's, lets every assistant turn teach where to stop, and needs no label text in the loss: a
loss on all turns covers assistant tokens and EOS only. Generation also stops at the text `\n\nHuman:`, for policies
that were trained elsewhere. A tokenizer that puts a space before whatever it is given gets segments so that the model
reads what it would read in one piece. With a chat template the template writes the prompt; the response follows, and
ends as the template ends it (`response_form`): training teaches that token, and generation stops there.

*Scorers.* The template of the scorer, else the plain text as a whole with the special tokens that its tokenizer adds
([CLS] and [SEP] for encoders); where the tokenizer adds nothing at the end (causal backbones), EOS is appended.

*Special tokens* are written by templates and formats only: content that spells one stays text, everywhere.

*White space.* Prompts are stripped turn by turn when they are read. The response of a policy with a chat template is
kept as it was generated, and scored so; in plain text, which has a space of its own before a response, it is stripped.

*Long input* is cut from the left, at human turns first, and keeps its system turn; only if the last human turn is too
long are its tokens cut, and only a system turn that leaves no room for it is left out. A response is never cut: where
it does not fit behind its `Assistant:` label, the result is None and the caller counts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from transformers import PreTrainedTokenizerBase

from allgood.conversations import Turns, parse, split_system
from allgood.errors import ModelError
from allgood.scorers.model_scorer import Encoding
from allgood.scorers.policy_format import PolicyFormat, PromptTokens, policy_format
from allgood.scorers.scorer_format import ScorerFormat, scorer_format

Example = tuple[str, str]
"""(prompt, response)."""

Short = TypeVar("Short", PromptTokens, Encoding)


@dataclass(frozen=True)
class Encoded:
    """A conversation as a policy reads it: `tokens[:num_prompt_tokens]` is the prompt, the rest response and its end.

    Attributes:
        tokens: Its ids.
        num_prompt_tokens: Where the response starts.
        cut: Whether the prompt lost something on its left.
        earlier_replies: Half-open token spans of the prompt's own assistant turns, with what ends them.
        num_lost_replies: Assistant turns of the prompt that the chat template changed, so that they have no span.
        num_changed: Turns of the prompt, of any role, that the chat template changed.
    """

    tokens: list[int]
    num_prompt_tokens: int
    cut: bool
    earlier_replies: tuple[tuple[int, int], ...] = ()
    num_lost_replies: int = 0
    num_changed: int = 0


def encode_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], *, max_tokens: int) -> list[Encoded]:
    """Prompts for generation, each in at most `max_tokens` tokens. All at once is much faster than one by one.

    Raises:
        ModelError: Nothing of a prompt fits.
    """
    policy = policy_format(tokenizer)
    conversations = [parse(prompt) for prompt in prompts]
    policy.prepare(conversations, [])
    return [
        _encode_prompt(policy, prompt, turns, max_tokens) for prompt, turns in zip(prompts, conversations, strict=True)
    ]


def encode_examples(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], *, max_tokens: int
) -> list[Encoded | None]:
    """Prompt, response and its end for training a policy; None where the response alone exceeds `max_tokens`."""
    policy = policy_format(tokenizer)
    conversations = {prompt: parse(prompt) for prompt, _ in examples}
    policy.prepare(conversations.values(), [response for _, response in examples])
    return [_encode_example(policy, conversations[prompt], response, max_tokens) for prompt, response in examples]


def assistant_mask(encoded: Encoded, *, all_turns: bool) -> list[bool]:
    """Which tokens the SFT loss is on, [tokens]: response and its end, with `all_turns` earlier assistant turns too."""
    mask = [index >= encoded.num_prompt_tokens for index in range(len(encoded.tokens))]
    for start, end in encoded.earlier_replies if all_turns else ():
        mask[start:end] = [True] * (end - start)
    return mask


def encode_all_for_scoring(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], *, max_tokens: int
) -> list[Encoding | None]:
    """Conversations for a reward model or classifier; None where the response alone exceeds `max_tokens`."""
    scorer = scorer_format(tokenizer)
    turns = {prompt: parse(prompt) for prompt, _ in examples}
    whole = scorer.conversations([(turns[prompt], response) for prompt, response in examples])
    return [
        encoding
        if len(encoding.tokens) <= max_tokens
        else _cut_for_scoring(scorer, turns[prompt], response, max_tokens)
        for encoding, (prompt, response) in zip(whole, examples, strict=True)
    ]


def _encode_prompt(policy: PolicyFormat, prompt: str, turns: Turns, max_tokens: int) -> Encoded:
    encoded = _fit_prompt(policy, turns, max_tokens)
    if encoded is None:
        raise ModelError(
            f"nothing of a prompt fits into {max_tokens} tokens; raise `sampling.max_prompt_tokens`, or leave out the "
            f"prompt {prompt.strip()[:80]!r}"
        )
    return encoded


def _encode_example(policy: PolicyFormat, turns: Turns, response: str, max_tokens: int) -> Encoded | None:
    response_tokens = policy.response(response)
    prompt = _fit_prompt(policy, turns, max_tokens - len(response_tokens))
    if prompt is None:
        return None
    return replace(prompt, tokens=prompt.tokens + response_tokens)


def _fit_prompt(policy: PolicyFormat, turns: Turns, room: int) -> Encoded | None:
    for suffix in _suffixes(turns):
        prompt = policy.prompt(suffix)
        if len(prompt.tokens) <= room:
            return _encoded(prompt, cut=suffix is not turns)
    shortened = _shortened(lambda left: policy.shorten(left, room), suffix)
    return None if shortened is None else _encoded(shortened, cut=True)


def _encoded(prompt: PromptTokens, *, cut: bool) -> Encoded:
    return Encoded(prompt.tokens, len(prompt.tokens), cut, prompt.replies, prompt.num_lost_replies, prompt.num_changed)


def _cut_for_scoring(scorer: ScorerFormat, turns: Turns, response: str, room: int) -> Encoding | None:
    for suffix in _suffixes(turns):
        (encoding,) = scorer.conversations([(suffix, response)])
        if len(encoding.tokens) <= room:
            return replace(encoding, cut=suffix is not turns)
    return _shortened(lambda left: scorer.shorten(left, response, room), suffix)


def _suffixes(turns: Turns) -> Iterator[Turns]:
    """The whole conversation, then what is left when it begins at a later human turn, behind its system turn."""
    system, _ = split_system(turns)
    yield turns
    for start in range(len(system) + 1, len(turns)):
        if turns[start].role == "human":
            yield (*system, *turns[start:])


def _shortened(shorten: Callable[[Turns], Short | None], turns: Turns) -> Short | None:
    """`turns` cut to fit; without their system turn where that leaves no room."""
    system, others = split_system(turns)
    return shorten(turns) or (shorten(others) if system else None)
