"""Where a policy's response starts and ends: as its chat template writes it, or as plain text has it.

A template ends an assistant's turn with a token (`<|im_end|>`, `<|eot_id|>`, EOS); that token is what training teaches,
and where generation stops besides at EOS. One that writes no token ends turns with words, behind the reply or in the
header of the next turn: generation stops at those. One that writes nothing between turns is refused, for nobody could
say where a response ends.
"""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from allgood.errors import ModelError
from allgood.scorers.chat import ChatTemplate
from allgood.scorers.markup import Markup, MarkupTokens

PLAIN_STOP = "\n\nHuman:"
"""Ends a response in plain text, for policies that were trained elsewhere: the next turn begins."""


@dataclass(frozen=True)
class ResponseForm:
    """Where a response starts and ends.

    Attributes:
        lead: White space between the prompt and the response; no part of the response's text.
        end: Token ids that training puts behind a response, and has its loss on.
        end_token: The last of them, at which generation stops; None where words end a turn.
        before_end: What stands between a response and that token; no part of the response's text.
        stop: Texts that end a response in generation unless the run names others.
        verbatim: Whether the text of a response is kept as generated; plain text is stripped.
    """

    lead: str
    end: tuple[int, ...]
    end_token: int | None
    stop: tuple[str, ...]
    verbatim: bool
    before_end: str = ""

    def text(self, decoded: str) -> str:
        """The response in what was decoded without special tokens, cut at none of the stop texts."""
        return decoded.removeprefix(self.lead).removesuffix(self.before_end) if self.verbatim else decoded.strip()


def plain_form(tokenizer: PreTrainedTokenizerBase) -> ResponseForm:
    """A space, the response, EOS."""
    eos = tokenizer.eos_token_id
    return ResponseForm(lead=" ", end=(eos,), end_token=eos, stop=(PLAIN_STOP,), verbatim=False)


def chat_form(tokenizer: PreTrainedTokenizerBase, template: ChatTemplate, tokens: MarkupTokens) -> ResponseForm:
    """What the template writes around a reply.

    Raises:
        ModelError: It writes nothing between a reply and the next turn.
    """
    behind, between = template.after_reply, template.between_turns
    words, token = _first_token(behind, template.markup)
    if token is None and not behind.strip():  # some end a turn with the token that begins the next one
        words, token = _first_token(between, template.markup)
        token = None if words.strip() else token
    if token is not None:
        end = (*tokens.continued(words), token)
        return ResponseForm(template.lead, end, token, stop=(), verbatim=True, before_end=words)
    if behind.strip():
        end = tuple(tokens.continued(behind.rstrip()))
        return ResponseForm(template.lead, end, end_token=None, stop=(behind.strip(),), verbatim=True)
    if between.strip():
        eos = tokenizer.eos_token_id
        return ResponseForm(template.lead, (eos,), end_token=eos, stop=(between.rstrip(),), verbatim=True)
    raise ModelError(
        f"the chat template of {tokenizer.name_or_path!r} ends an assistant's turn with {between!r}, neither a special "
        f"token nor words at which generation could stop, and never writes the EOS token {tokenizer.eos_token!r}; let "
        "the template write it behind each reply"
    )


def _first_token(written: str, markup: Markup) -> tuple[str, int | None]:
    """The words before the first token of the markup, and that token."""
    words, token = markup.split(written)[0]
    return words, markup.tokens.get(token)
