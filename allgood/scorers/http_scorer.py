"""A reward model that somebody serves, as a scorer: batches over HTTP; NaN with a reason for what is not answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from allgood.conversations import Turn, Turns, join, messages_of_turns, parse, render
from allgood.scorers.dialects import Answer, Question, wire_of
from allgood.scorers.http_client import BadBatchError, HttpClient, NoAnswerError
from allgood.scorers.scorer import Scored
from allgood.scorers.spec import HttpSpec

Writes = Callable[[Turns, str], tuple[str, str]]
"""Turns of a prompt and the response to it -> the text of both, and of the prompt alone."""


class HttpScorer:
    """Asks a server for rewards. A batch that it refuses is halved until only the responses it minds are left.

    Raises:
        ConfigError: The address or the token is wrong.
        ModelError: The tokenizer that is to write conversations cannot be loaded.
    """

    def __init__(self, spec: HttpSpec) -> None:
        self.name = f"{spec.source} at {spec.server.url}"
        self._wire = wire_of(spec)
        self._client = HttpClient(spec.server)
        self._batch_size = spec.server.batch_size if self._wire.batches else 1
        self._connections = spec.server.connections
        self._written = _as_hh if spec.tokenizer is None else _by_template(spec.tokenizer)

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """See `scorer.Scorer.score`.

        Raises:
            RoleError: The server will never answer: it refuses the token, knows no such address, or redirects.
        """
        questions = [self._question(prompt, response) for prompt, response in zip(prompts, responses, strict=True)]
        batches = [questions[start : start + self._batch_size] for start in range(0, len(questions), self._batch_size)]
        with ThreadPoolExecutor(self._connections) as pool:
            answers = [answer for batch in pool.map(self._ask, batches) for answer in batch]
        rewards = [answer if isinstance(answer, float) else np.nan for answer in answers]
        reasons = {row: answer for row, answer in enumerate(answers) if isinstance(answer, str)}
        return Scored(np.array(rewards, dtype=np.float32), reasons=reasons)

    def _ask(self, batch: Sequence[Question]) -> list[Answer]:
        try:
            answer = self._client.post(self._wire.body(batch))
        except NoAnswerError as error:
            return [str(error)] * len(batch)
        except BadBatchError as error:
            if len(batch) == 1:
                return [f"the server refuses it: {error}"]
            middle = len(batch) // 2
            return [*self._ask(batch[:middle]), *self._ask(batch[middle:])]
        try:
            return self._wire.answers(answer, len(batch))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:  # JSON of any other form
            reason = f"the server does not answer in this dialect: {error!s:.120} in {str(answer)[:120]!r}"
            return [reason] * len(batch)

    def _question(self, prompt: str, response: str) -> Question:
        turns = parse(prompt)
        text, before = self._written(turns, response)
        return Question(messages_of_turns(_whole(turns, response)), text, before, response)


def _asked(turns: Turns) -> Turns:
    """What a prompt says, without the empty turn of the answer."""
    return tuple(turn for turn in turns if turn != Turn("assistant", ""))


def _whole(turns: Turns, response: str) -> Turns:
    return (*_asked(turns), Turn("assistant", response))


def _as_hh(turns: Turns, response: str) -> tuple[str, str]:
    prompt = render(turns)
    return join(prompt, response), prompt


def _by_template(source: str) -> Writes:
    """Conversations as a tokenizer's template writes them, without the start token, which the server puts there."""
    from allgood.scorers.chat import ChatTemplate  # transformers takes seconds, and the other ways need none
    from allgood.scorers.models import load_tokenizer

    tokenizer = load_tokenizer(source)
    if not tokenizer.chat_template:
        return _as_hh
    template, start = ChatTemplate(tokenizer), str(tokenizer.bos_token or "")

    def write(turns: Turns, response: str) -> tuple[str, str]:
        whole = template.render(_whole(turns, response), generate=False).text
        prompt = template.render(_asked(turns), generate=True).text
        return whole.removeprefix(start), prompt.removeprefix(start)

    return write
