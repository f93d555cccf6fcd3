"""`allgood generate`: SFT and aligned responses to the same prompts, with what every property makes of them.

Runs in this process, with the same workers that actors wrap. A prompt that is in the reference table uses its r_ref;
for any other, quantile and mean references are built from SFT samples on the spot, and the output says so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from actors.messages import Chunk, Rollout, Scores
from actors.reward import RewardSpec, RewardWorker
from actors.rollout import RolloutSpec, RolloutWorker
from actors.seeds import chunk_seed
from allgood.conversations import Turn, as_content, as_prompt, parse, prompt_id
from allgood.errors import ConfigError, DataError, ReferenceTableError
from pipelines.cast_request import reward_parts, rollout_part
from pipelines.config.loading import load_config
from pipelines.config.properties import CannedReference
from pipelines.config.rl import FormulaObjective
from pipelines.config.run import RunConfig
from pipelines.evaluation.measure import FloatGrid
from pipelines.evaluation.scorers import fresh_references, treated
from pipelines.objective import combined_utility
from pipelines.progress import say
from pipelines.reference_table import ReferenceTable, needs_table
from pipelines.run_folder import RunFolder
from pipelines.side_by_side import Answer, Comparison, Judged, show
from pipelines.table_keys import temperature
from pipelines.training.quiet import quiet_transformers

NUM_REFERENCE_SAMPLES = 16


class Generator:
    """Both policies and all scorers of a finished run, loaded once."""

    def __init__(self, config: RunConfig) -> None:
        folder = RunFolder(config.folder)
        if not folder.model.is_dir():
            raise ConfigError(
                f"{folder.path} holds no aligned model; finish it with `allgood align` or `allgood resume`"
            )
        spec = rollout_part(config).spec
        assert isinstance(spec, RolloutSpec)
        with quiet_transformers():
            self._sft = RolloutWorker(spec)
            self._aligned = RolloutWorker(replace(spec, model=str(folder.model.absolute())))
            self._scorers = {name: _scorer(part.spec) for name, part in reward_parts(config).items()}
        self._config = config
        self._table = _table(config)
        self._utility = combined_utility(config.objective, config.properties, missing_eos_penalty=0.0)
        self._count = 0

    def answer(self, text: str) -> Comparison:
        """Sample both policies once on a prompt, plain text or a conversation."""
        prompt = canonical(text)
        references, source = self._references(prompt)
        answers = tuple(
            self._judge(policy, prompt, self._sample(worker, prompt, 1, purpose=purpose), references)
            for purpose, (policy, worker) in enumerate((("SFT", self._sft), ("aligned", self._aligned)))
        )
        self._count += 1
        return Comparison(prompt, answers, source)

    def _sample(self, worker: RolloutWorker, prompt: str, num_samples: int, *, purpose: int) -> Rollout:
        seed = chunk_seed(self._config.seed, self._count, purpose)
        return worker.generate(Chunk(0, 0, seed, 0, (prompt_id(prompt),), (prompt,), num_samples))

    def _judge(self, policy: str, prompt: str, rollout: Rollout, references: dict[str, float]) -> Answer:
        response = rollout.responses[0]
        scores = {
            name: self._scores(name, self._score(name, prompt, [response]), reference)
            for name, reference in references.items()
        }
        judged = {name: _judged(part, is_log_prob=self._is_log_prob(name)) for name, part in scores.items()}
        p_all_good = None
        if isinstance(self._config.objective, FormulaObjective):
            p_all_good = float(np.exp(self._utility(scores, rollout.finish_reasons)[0]))
        return Answer(policy, response, judged, p_all_good)

    def _score(self, name: str, prompt: str, responses: Sequence[str]) -> FloatGrid:
        """Raw rewards, [1, responses]."""
        rewards = self._scorers[name].score_texts([prompt] * len(responses), responses)
        return rewards.astype(np.float64)[None, :]

    def _scores(self, name: str, rewards: FloatGrid, reference: float) -> Scores:
        setting = self._config.properties[name]
        return treated(name, setting, rewards, np.array([reference]), temperature=temperature(self._config, name))

    def _is_log_prob(self, name: str) -> bool:
        return self._config.properties[name].transform.kind == "log_prob"

    def _references(self, prompt: str) -> tuple[dict[str, float], str]:
        """r_ref per property, and a sentence about their source."""
        settings = {name: setting.reference for name, setting in self._config.properties.items()}
        if self._table is not None:
            try:
                values = {
                    name: self._table.reference_values(name, reference, [prompt_id(prompt)])[prompt_id(prompt)]
                    for name, reference in settings.items()
                }
                return values, "References come from the reference table."
            except ReferenceTableError:
                pass  # a prompt that is not in the table
        sampled = [name for name, reference in settings.items() if needs_table(reference) and not _is_canned(reference)]
        drawn = self._sample(self._sft, prompt, NUM_REFERENCE_SAMPLES, purpose=2) if sampled else None
        fresh = {}
        for name, reference in settings.items():
            rewards = (
                self._score(name, prompt, drawn.responses) if drawn and name in sampled else np.full((1, 1), np.nan)
            )
            canned = None
            if isinstance(reference, CannedReference):
                canned = self._score(name, prompt, reference.replies).mean(axis=1)
            fresh[name] = float(fresh_references(reference, rewards, canned)[0])
        if not sampled:
            return fresh, "References need no samples."
        return fresh, (
            f"This prompt is not in the reference table: r_ref of {', '.join(sampled)} comes from "
            f"{NUM_REFERENCE_SAMPLES} samples of the SFT policy, drawn now."
        )


def generate(run_folder: Path, prompts: Sequence[str]) -> None:
    """Print both policies' answers to each prompt; without prompts, read lines until an empty one or the end.

    Raises:
        ConfigError: The folder holds no finished run.
        DataError: A prompt is empty or no conversation.
    """
    folder = RunFolder(run_folder)
    if not folder.config.is_file():
        raise ConfigError(f"{run_folder} holds no run (there is no {folder.config.name}); give a run folder")
    place = aligned_folder(run_folder).resolve()  # the folder may have been moved since the run
    config = load_config(RunFolder(place).config, [])
    config = config.model_copy(update={"output_dir": place.parent, "name": place.name})
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


def _judged(scores: Scores, *, is_log_prob: bool) -> Judged:
    margin, utility = float(scores.margins[0]), float(scores.utilities[0])
    p_good = float(np.exp(utility)) if is_log_prob else 0.5 * (1 + float(np.tanh(0.5 * margin)))
    return Judged(float(scores.rewards[0]), float(scores.references[0]), p_good)


def _is_canned(reference: object) -> bool:
    return isinstance(reference, CannedReference)


def _scorer(spec: object) -> RewardWorker:
    assert isinstance(spec, RewardSpec)
    return RewardWorker(spec)


def _table(config: RunConfig) -> ReferenceTable | None:
    folder = RunFolder(config.base_folder).references
    needed = any(needs_table(setting.reference) for setting in config.properties.values())
    return ReferenceTable.load(folder) if needed and folder.is_dir() else None
