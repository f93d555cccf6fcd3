"""What another trainer sends, brought to what a run scores: canonical prompts, and responses without end tokens.

A prompt is a list of messages, a text with `Human:`/`Assistant:` labels, what a user says, or what the declared policy
template wrote. Everything else is refused with the reason: a text whose form is not known would be scored as if a human
had said it, and look like any other reward.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

from allgood.conversations import (
    Turn,
    as_content,
    as_prompt,
    is_labelled,
    parse,
    turn_of_message,
    turns_of_messages,
    turns_to_answer,
)
from allgood.scorers.policy_format import response_form
from allgood.scorers.template_text import TemplateText

Text = str | Sequence[Mapping[str, object]]
"""A text, or messages {role, content}."""

# Markup of chat templates in wide use. Only looked for to refuse: it need not be complete, nor free of false alarms.
_MARKUP = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>]{1,40}｜>|</?(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|^\s*<(?:s|bos)>|"
    r"^\s*###\s*(?:Instruction|Human|User|System)\b|\b(?:ASSISTANT|Assistant):\s*\Z|\n\n(?:Human|Assistant|System):"
)
_END = re.compile(r"(?:<\|[^|<>\s]{1,40}\|>|<｜[^｜<>]{1,40}｜>|<end_of_turn>|<eos>|</s>)\s*\Z")
_REPLY = "\n\nAssistant:"
_REMEMBERED = 16_384  # prompts; each is rendered to be read, and comes with every response to it


class PolicyTexts:
    """Reads prompts and responses of one policy; `tokenizer` is the policy's, None where nobody declared it.

    Raises:
        ModelError: Its chat template cannot be used.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase | None) -> None:
        self._template = None if tokenizer is None or not tokenizer.chat_template else TemplateText(tokenizer)
        self._form = None if tokenizer is None else response_form(tokenizer)
        self._ends = None if tokenizer is None else _run_of(_special_tokens(tokenizer))
        self._of_text = lru_cache(_REMEMBERED)(self._prompt_of_text)

    def prompt(self, prompt: Text) -> str:
        """The canonical text of a prompt, as the data of a run hold it.

        Raises:
            ValueError: What it is cannot be told for certain, or there is nothing to answer.
        """
        if isinstance(prompt, str):
            return self._of_text(prompt)
        return as_prompt(turns_to_answer(turns_of_messages(list(prompt), field="prompt"), field="prompt"))

    def response(self, response: Text) -> str:
        """The text of a response, as the rollout actors of a run give it.

        Raises:
            ValueError: It is no single turn of the assistant, or ends in what may be an end token.
        """
        text = response if isinstance(response, str) else _said(response)
        if self._form is None or self._ends is None:
            if found := _END.search(text):
                raise ValueError(
                    f"`response` ends in {found[0]!r}, which may be an end token or text; declare policy_template, so "
                    "that this is known"
                )
            return text.strip()
        return self._form.text(self._ends.sub("", text))

    def parted(self, text: str) -> tuple[str, str]:
        """Prompt and response of a whole conversation in one text, with labels or by the declared policy template.

        Raises:
            ValueError: Where the response begins cannot be told for certain.
        """
        if is_labelled(text):
            prompt, label, response = text.rpartition(_REPLY)
            if not label:
                raise ValueError(f"the conversation {text[:60]!r} has no turn of the assistant")
            prompt += label
        elif self._template is not None:
            prompt, response = self._template.parted(text)
        else:
            raise ValueError(
                f"the text {text[:60]!r} has no Human: and Assistant: labels; send messages, or declare as "
                "policy_template the tokenizer whose chat template rendered it"
            )
        if (found := _MARKUP.search(self.response(response))) is not None:
            raise ValueError(f"the last turn of the conversation has markup in it: {found[0].strip()!r}")
        return prompt, response

    def _prompt_of_text(self, text: str) -> str:
        if is_labelled(text):
            turns = parse(text)
        elif self._template is not None and self._template.is_rendering(text):
            turns = self._template.turns(text)
        elif found := _MARKUP.search(text):
            raise ValueError(
                f"`prompt` is neither a conversation with labels nor what a user says: it has {found[0].strip()!r}; "
                "send messages, or declare as policy_template the tokenizer whose chat template rendered it"
            )
        else:
            turns = (Turn("human", as_content(text)),)
        return as_prompt(turns_to_answer(turns, field="prompt"))


def _said(messages: Sequence[Mapping[str, object]]) -> str:
    if len(messages) != 1:
        raise ValueError(f"`response` must be one message of the assistant, not {len(messages)}")
    turn = turn_of_message(messages[0], field="response")
    if turn.role != "assistant":
        raise ValueError(f"`response` is a message of the {turn.role}, and must be the assistant's")
    content = messages[0].get("content")
    return content if isinstance(content, str) else turn.content  # as it was generated, blanks included


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The named ones, such as EOS, and those that only the vocabulary calls special, such as the end of a turn."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return [token for token in {*tokenizer.all_special_tokens, *added} if token.strip()]


def _run_of(tokens: Sequence[str]) -> re.Pattern[str]:
    """One or more of the tokens at the end of a text; blanks before the first belong to the text."""
    any_of = "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True))
    return re.compile(rf"(?:(?:{any_of})\s*)+\Z") if tokens else re.compile(r"(?!)")
