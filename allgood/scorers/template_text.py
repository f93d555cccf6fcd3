"""Conversations read back from what a chat template wrote, or refused.

What the template writes around turns is read off probes of a few words. The text is taken apart there, and rendered
again: only turns whose rendering is the text itself, up to blanks at its end and a missing BOS, are believed. So text
of another template, of another day's date, or with markup inside what somebody says is refused and never misread.
"""

from __future__ import annotations

from collections.abc import Iterator

from transformers import PreTrainedTokenizerBase

from allgood.conversations import Role, Turn, Turns
from allgood.errors import ModelError
from allgood.scorers.chat import ChatTemplate

_RULE, _ASKED, _SAID, _NEXT = (
    Turn("system", "qz rule"),
    Turn("human", "qz question"),
    Turn("assistant", "qz reply"),
    Turn("human", "qz further"),
)


class TemplateText:
    """Reads renderings of one template that ask for a reply.

    Raises:
        ModelError: The template cannot be used, see `ChatTemplate`.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._template = ChatTemplate(tokenizer)
        self._bos = str(tokenizer.bos_token or "")
        asked = self._written((_ASKED,))
        opening, _, self._request = asked.partition(_ASKED.content)
        with_rule = self._written((_RULE, _ASKED))
        rule_opening, _, rest = with_rule.partition(_RULE.content)
        self._after_rule = rest.partition(_ASKED.content)[0]
        openings: dict[str, Role] = {opening: "human"}
        if rest and rule_opening not in openings:  # some templates put a system text into the human turn: one opening
            openings[rule_opening] = "system"
        # The longest first: one may be how the other begins.
        self._openings = sorted(openings.items(), key=lambda item: -len(item[0]))
        self._to_reply, self._to_next = self._between_turns()

    @property
    def markup(self) -> tuple[str, ...]:
        """Tokens that the template writes; where one stands in a text, the text is no plain one."""
        return tuple(self._template.markup.tokens)

    def is_rendering(self, text: str) -> bool:
        """Whether a text can only be a rendering: it begins or ends as one, or holds a token of the markup."""
        openings = [opening for opening, _ in self._openings if opening.strip()]
        request = self._request.strip()
        return (
            text.startswith(tuple(openings))
            or bool(request and text.rstrip().endswith(request))
            or any(token in text for token in self.markup)
        )

    def turns(self, text: str) -> Turns:
        """The turns that the template wrote as `text`, which ends where it asks for a reply.

        Raises:
            ValueError: They cannot be told for certain.
        """
        for whole in (text, self._bos + text):
            for turns in self._candidates(whole):
                if self._written_safely(turns).rstrip() == whole.rstrip():
                    return turns
        raise ValueError(
            "`prompt` has the markup of a chat template, but is not what the declared policy_template writes when it "
            f"asks for a reply: {text[:60]!r}; send messages, or declare the tokenizer that rendered it"
        )

    def parted(self, text: str) -> tuple[str, str]:
        """A whole conversation as its prompt, a rendering that asks for a reply, and the reply that follows.

        Raises:
            ValueError: No prompt can be told for certain, or turns follow the reply.
        """
        end = len(text)
        while self._request and (start := text.rfind(self._request, 0, end)) >= 0:
            prompt, reply = text[: start + len(self._request)], text[start + len(self._request) :]
            try:
                self.turns(prompt)
            except ValueError:
                end = start + len(self._request) - 1
                continue
            return prompt, reply
        raise ValueError(
            "the text is not what the declared policy_template writes for a conversation that ends in a reply: "
            f"{text[:60]!r}; send prompt and response apart, or messages"
        )

    def _candidates(self, text: str) -> Iterator[Turns]:
        end = text.rstrip()
        request = self._request.rstrip()
        if not request or not end.endswith(request):
            return
        body = end.removesuffix(request)
        for opening, role in self._openings:
            if body.startswith(opening):
                yield from self._taken_apart(body.removeprefix(opening), role)

    def _taken_apart(self, body: str, role: Role) -> Iterator[Turns]:
        turns: list[Turn] = []
        if role == "system":
            rule, found, body = body.partition(self._after_rule)
            if not found:
                return
            turns.append(Turn("system", rule.strip()))
        pieces = body.split(self._to_reply) if self._to_reply else [body]
        human, *others = pieces
        turns.append(Turn("human", human.strip()))
        for piece in others:
            reply, found, human = piece.partition(self._to_next)
            if not found:
                return
            turns += [Turn("assistant", reply.strip()), Turn("human", human.strip())]
        yield tuple(turns)

    def _between_turns(self) -> tuple[str, str]:
        """What stands between a question and a reply, and between that and the next question; empty if refused."""
        try:
            text = self._template.render((_ASKED, _SAID, _NEXT), generate=True).text
        except ModelError:
            return "", ""
        after = text.partition(_ASKED.content)[2]
        to_reply, _, after = after.partition(_SAID.content)
        return to_reply, after.partition(_NEXT.content)[0]

    def _written(self, turns: Turns) -> str:
        return self._template.render(turns, generate=True).text

    def _written_safely(self, turns: Turns) -> str:
        try:
            return self._written(turns)
        except ModelError:  # such as turns that do not alternate
            return ""
