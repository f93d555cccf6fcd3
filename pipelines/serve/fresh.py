"""References from fresh samples of pi_0, for the event loop that answers requests.

A prompt is sampled once, however many requests ask for it meanwhile, and for all properties of the objective together.
Whoever gives up (the request's deadline) does not end the work: the next request finds its result. What is in work is
bounded, and so is what is remembered: the prompts that were asked for last.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from allgood.errors import ModelError, RoleError
from allgood.scorers.asked import Asked
from allgood.scorers.fresh_references import merged, reference_of_samples
from allgood.scorers.reference_files import References
from allgood.scorers.rewards_spec import SamplesSpec
from allgood.scorers.scorer import Scored
from pipelines.serve.remote import BusyError
from pipelines.serve.settings import SamplesSettings

Sample = Callable[[str, str], Awaitable[Sequence[str]]]
"""(prompt id, prompt) -> responses of pi_0."""
Score = Callable[[Sequence[str], Sequence[str]], Awaitable[Scored]]
"""(prompts, responses) -> their rewards."""

Found = Mapping[str, References]
"""By property r_ref of one prompt; empty where too few of its samples could be scored."""


class FreshReferences:
    """References of an objective's properties that take them from samples; `scorers` are those of these properties."""

    def __init__(
        self,
        samples: Mapping[str, SamplesSpec],
        sample: Sample,
        scorers: Mapping[str, Score],
        settings: SamplesSettings,
        *,
        on_sampled: Callable[[], None],
    ) -> None:
        self._samples, self._sample, self._scorers, self._settings = samples, sample, scorers, settings
        self._on_sampled = on_sampled
        self._known: OrderedDict[str, Found] = OrderedDict()
        self._in_work: dict[str, asyncio.Task[Found]] = {}

    async def completed(self, asked: Asked) -> Asked:
        """With references of the prompts that no other source but a fallback knows.

        Raises:
            BusyError: Too many prompts are being sampled.
            ValueError: The call has more such prompts than may be in work at all.
            RoleError: The policy or a scorer failed, or gave no answer in time.
        """
        wanted = {name: asked.without_reference(name) for name in self._samples}
        prompts = {key: text for each in wanted.values() for key, text in each.items()}
        found = await self._of(prompts) if prompts else {}
        for name, unknown in wanted.items():
            asked = asked.with_samples(name, merged([found[key][name] for key in unknown]))
        return asked

    async def _of(self, prompts: Mapping[str, str]) -> dict[str, Found]:
        found = {key: self._known[key] for key in prompts if key in self._known}
        for key in found:
            self._known.move_to_end(key)
        self._begin({key: text for key, text in prompts.items() if key not in found and key not in self._in_work})
        waiting = {key: asyncio.shield(self._in_work[key]) for key in prompts if key not in found}
        return found | dict(zip(waiting, await asyncio.gather(*waiting.values()), strict=True))

    def _begin(self, new: Mapping[str, str]) -> None:
        limit = self._settings.waiting_prompts
        if len(new) > limit:
            raise ValueError(
                f"{len(new)} prompts need fresh samples, and samples.waiting_prompts is {limit}; send fewer at a time"
            )
        if len(self._in_work) + len(new) > limit:
            raise BusyError(f"{len(self._in_work)} prompts are being sampled already")
        for key, text in new.items():
            task = asyncio.create_task(self._measured(key, text))
            self._in_work[key] = task
            task.add_done_callback(partial(self._ended, key))

    def _ended(self, key: str, task: asyncio.Task[Found]) -> None:
        """A failure is not remembered: whoever waits for it is told, and the next request tries again."""
        del self._in_work[key]
        if task.cancelled() or task.exception() is not None:
            return
        self._known[key] = task.result()
        while len(self._known) > self._settings.cached_prompts:
            self._known.popitem(last=False)

    async def _measured(self, prompt_id: str, prompt: str) -> Found:
        timeout_s = self._settings.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                return await self._references(prompt_id, prompt)
        except TimeoutError as error:
            raise RoleError(
                f"fresh samples of a prompt took more than samples.timeout_s = {timeout_s:g} s; raise it, or give "
                "the start policy more replicas or a GPU"
            ) from error

    async def _references(self, prompt_id: str, prompt: str) -> Found:
        try:
            responses = await self._sample(prompt_id, prompt)
        except ModelError:  # nothing of it fits the policy
            return dict.fromkeys(self._samples, References({}))
        self._on_sampled()
        prompts = [prompt] * len(responses)
        scored = await asyncio.gather(*(self._scorers[name](prompts, responses) for name in self._samples))
        return {
            name: reference_of_samples(samples, prompt_id, part.rewards)
            for (name, samples), part in zip(self._samples.items(), scored, strict=True)
        }
