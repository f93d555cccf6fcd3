"""`allgood generate`: responses of pi_0 and the aligned policy to the same prompts, with what properties make of them.

Runs in this process, with the same workers that actors wrap. A prompt that is in the reference table uses its r_ref;
for any other, references are built from pi_0 samples on the spot, and the output says so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from actors.generation.seeds import chunk_seed
from actors.messages import Chunk, Rollout
from actors.reward import RewardSpec, RewardWorker
from actors.rollout import RolloutWorker
from allgood.all_good import AllGood
from allgood.conversations import Turn, as_content, as_prompt, parse, prompt_id
from allgood.errors import ConfigError, DataError, ReferenceTableError
from allgood.treatment import Treatment
from pipelines.answers.side_by_side import Answer, Comparison, show
from pipelines.cast.request import reward_parts, rollout_spec
from pipelines.config.loading import load_run
from pipelines.config.objective_values import objective_of
from pipelines.config.run import RunConfig
from pipelines.evaluation.measure import FloatGrid
from pipelines.output.progress import say
from pipelines.output.quiet import quiet_transformers
from pipelines.references.keys import temperature
from pipelines.references.table import ReferenceTable
from pipelines.references.treatments import fresh_treatment, needs_moments, run_table, treatment_of
from pipelines.run.folder import RunFolder

NUM_REFERENCE_SAMPLES = 16


class Generator:
    """Both policies and all scorers of a finished run, loaded once."""

    def __init__(self, config: RunConfig) -> None:
        folder = RunFolder(config.folder)
        if not folder.model.is_dir():
            raise ConfigError(
                f"{folder.path} holds no aligned model; finish it with `allgood align` or `allgood resume`"
            )
        spec = rollout_spec(config)
        with quiet_transformers():
            self._sft = RolloutWorker(spec)
            self._aligned = RolloutWorker(replace(spec, model=str(folder.model.absolute())))
            self._scorers = {name: _scorer(part.spec) for name, part in reward_parts(config).items()}
        self._config = config
        self._table = _table(config)
        self._objective = objective_of(config.objective, config.properties)
        self._count = 0

    def answer(self, text: str) -> Comparison:
        """Sample both policies once on a prompt, plain text or a conversation."""
        prompt = canonical(text)
        treatments, source = self._treatments(prompt)
        answers = tuple(
            self._judge(policy, prompt, self._sample(worker, prompt, 1, purpose=purpose), treatments)
            for purpose, (policy, worker) in enumerate((("start policy", self._sft), ("aligned", self._aligned)))
        )
        self._count += 1
        return Comparison(prompt, answers, source)

    def _sample(self, worker: RolloutWorker, prompt: str, num_samples: int, *, purpose: int) -> Rollout:
        seed = chunk_seed(self._config.seed, self._count, purpose)
        return worker.generate(Chunk(0, 0, seed, 0, (prompt_id(prompt),), (prompt,), num_samples))

    def _judge(self, policy: str, prompt: str, rollout: Rollout, treatments: Mapping[str, Treatment]) -> Answer:
        response = rollout.responses[0]
        rewards = {name: self._score(name, prompt, [response]).astype(np.float32) for name in treatments}
        all_good = AllGood(treatments, self._objective)  # without the penalty: shown is P(all good) itself
        return Answer(policy, response, all_good.of_rewards(rewards, [prompt_id(prompt)]))

    def _score(self, name: str, prompt: str, responses: Sequence[str]) -> FloatGrid:
        """Raw rewards, [1, responses]."""
        rewards = self._scorers[name].score_texts([prompt] * len(responses), responses)
        return rewards.astype(np.float64)[None, :]

    def _treatments(self, prompt: str) -> tuple[dict[str, Treatment], str]:
        """What is made of each property's rewards, and a sentence about the references' source."""
        names = list(self._config.properties)
        try:
            known = {
                name: treatment_of(self._config, name, self._table, [prompt_id(prompt)], key=prompt) for name in names
            }
            needed = self._table is not None
            return known, f"References {'come from the reference table' if needed else 'need no samples'}."
        except ReferenceTableError:
            pass  # a prompt that is not in the table
        settings = self._config.properties
        sampled = [name for name in names if settings[name].reference.needs_samples]
        drawn = self._sample(self._sft, prompt, NUM_REFERENCE_SAMPLES, purpose=2).responses if sampled else ()
        fresh = {name: self._fresh(name, prompt, drawn if name in sampled else ()) for name in names}
        if not sampled:
            return fresh, "References need no samples."
        return fresh, (
            f"This prompt is not in the reference table: r_ref of {', '.join(sampled)} comes from "
            f"{NUM_REFERENCE_SAMPLES} samples of the start policy, drawn now."
        )

    def _fresh(self, name: str, prompt: str, drawn: Sequence[str]) -> Treatment:
        """The treatment of a prompt that is in no table, from samples drawn now."""
        setting = self._config.properties[name]
        reference = setting.reference.for_any_prompt
        rewards = self._score(name, prompt, drawn) if drawn else np.full((1, 1), np.nan)
        scored = np.isfinite(rewards)
        of_texts = None
        if reference.fixed_replies:
            of_texts = self._score(name, prompt, reference.fixed_replies).mean(axis=1)
        return fresh_treatment(
            setting.model_copy(update={"reference": reference}),
            [prompt_id(prompt)],
            rewards[:, scored[0]] if scored.any() else rewards,
            of_texts,
            key=prompt,
            temperature=temperature(self._config, name),
            moments=self._table.moments(name) if self._table is not None and needs_moments(setting) else None,
        )


def generate(run_folder: Path, prompts: Sequence[str]) -> None:
    """Print both policies' answers to each prompt; without prompts, read lines until an empty one or the end.

    Raises:
        ConfigError: The folder holds no finished run.
        DataError: A prompt is empty or no conversation.
    """
    config = load_run(aligned_folder(run_folder))
    asked = [canonical(prompt) for prompt in prompts]  # complain before anything is loaded
    say(f"loading the policies and {', '.join(config.properties)}")
    generator = Generator(config)
    console = Console()
    for prompt in asked:
        show(generator.answer(prompt), console)
    if not asked:
        _converse(generator, console)


def aligned_folder(run_folder: Path) -> Path:
    """The run itself, or the chosen arm of a comparison."""
    summary = RunFolder(run_folder).summary
    content = json.loads(summary.read_text(encoding="utf-8")) if summary.is_file() else {}
    if "arms" not in content:
        return run_folder
    name = content["arms"][content["chosen_arm"]]["name"]
    say(f"{run_folder} is a comparison; its arm chosen on validation prompts is {name}")
    return run_folder / "arms" / str(name)


def _converse(generator: Generator, console: Console) -> None:
    """Answer prompts as they come; one that cannot be asked is explained, and the next may follow."""
    for prompt in read_prompts():
        try:
            show(generator.answer(prompt), console)
        except DataError as error:
            say(str(error))


def read_prompts() -> Iterator[str]:
    """Lines of standard input until an empty one or its end."""
    is_terminal = sys.stdin.isatty()
    while True:
        if is_terminal:
            print("\nprompt (empty line to end)> ", end="", flush=True)
        line = sys.stdin.readline().strip()
        if not line:
            return
        yield line


def canonical(text: str) -> str:
    r"""A prompt in canonical form. Plain text becomes "\n\nHuman: ...\n\nAssistant:"; a conversation is kept.

    Raises:
        DataError: Nothing is asked, or the conversation ends in an answer.
    """
    if not text.strip():
        raise DataError("the prompt is empty; write what the human says")
    if not text.lstrip().startswith(("Human:", "System:")):
        return as_prompt([Turn("human", as_content(text))])
    turns = parse(text)
    if turns[-1].role == "assistant" and turns[-1].content:
        raise DataError(f"the conversation {text.strip()[:60]!r} ends in an answer; end it with a human turn")
    return as_prompt(turns[:-1] if turns[-1].role == "assistant" else turns)


def _scorer(spec: object) -> RewardWorker:
    assert isinstance(spec, RewardSpec)
    return RewardWorker(spec)


def _table(config: RunConfig) -> ReferenceTable | None:
    """The run's table, checked against its models; without one, references are drawn per prompt."""
    return run_table(config) if RunFolder(config.base_folder).references.is_dir() else None
