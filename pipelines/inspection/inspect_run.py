"""`allgood inspect`: what every model of a run will read, what rewards look like, how much memory each role needs.

Nothing is trained, nothing but the page is written, no Ray is started. What a stage has still to make is left out and
named; texts, tokens and memory are known before, from what the training starts from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from allgood.errors import DataError, naming
from allgood.scorers.encoding import Example
from pipelines.config.run import RunConfig
from pipelines.data import PreparedData, Prompt, look_at_data, prepared_key
from pipelines.data.prompt_order import of_split
from pipelines.inspection.ending import ending
from pipelines.inspection.inspection import POLICY, Conversation, Inspection, Rewarded
from pipelines.inspection.models import ScorerModel
from pipelines.inspection.reading import Reader, count_cuts, generating_reader, learning_reader, spelled
from pipelines.inspection.rewards import reward_range, suspicions
from pipelines.inspection.roles import roles
from pipelines.inspection.run_models import RunModels, run_models
from pipelines.inspection.sampling import Samples, sample_start_policy, score_samples
from pipelines.output.progress import Bar, track
from pipelines.run.folder import RunFolder
from pipelines.world.write import write_world

_ROWS = 200  # of each source, of which it is counted how many are cut
_EXAMPLE = "This stands for an answer."


def inspect_run(config: RunConfig, *, num_prompts: int, samples_per_prompt: int) -> Inspection:
    """Everything that can be shown of a run as it lies there now.

    Raises:
        DataError, ConfigError: A source of text cannot be read.
        ModelError: A model cannot be used; names the property.
    """
    with track("inspect: text", None):
        data = data_of(config)
    with track("inspect: tokenizers and configurations", None):
        models = run_models(config, data)
    samples = None
    if models.policy.stage is None:
        with track("inspect: samples of pi_0", None):
            prompts = _prompts(data)[:num_prompts]
            samples = sample_start_policy(config, prompts, samples_per_prompt=samples_per_prompt)
    with track("inspect: rewards", len(models.scorers)) as bar:
        rewards = _rewards(config, models.scorers, samples, bar)
    with track("inspect: what every model reads", None):
        conversations = [
            _prompt_conversation(config, data, models, samples),
            *_learned_conversations(config, data, models),
        ]
    return Inspection(
        name=config.name,
        conversations=conversations,
        ending=ending(models.policy.source, models.policy_skeleton.config, models.tokenizer, config.sampling.stop),
        num_prompts=len(samples.rollout.chunk.prompts) if samples else 0,
        samples_per_prompt=samples_per_prompt if samples else 0,
        rewards=rewards,
        roles=roles(config, models.policy_skeleton, list(zip(models.scorers, models.scorer_skeletons, strict=True))),
        missing=list(_missing(models)),
    )


def data_of(config: RunConfig) -> PreparedData:
    """The text of the run; a world that was not written yet is made for a moment."""
    folder = RunFolder(config.base_folder)
    if config.world is None or folder.world.is_dir() or prepared_key(folder.data) is not None:
        return look_at_data(config)
    with TemporaryDirectory(prefix="allgood-inspect-") as temporary:
        elsewhere = config.model_copy(update={"output_dir": Path(temporary), "base": None})
        write_world(elsewhere)
        return look_at_data(elsewhere)


def _prompts(data: PreparedData) -> list[Prompt]:
    prompts = of_split(data.prompts, "alignment")
    if not prompts:
        raise DataError("there are no prompts to align on; look at the counts that `allgood data` prints")
    return prompts


def _prompt_conversation(
    config: RunConfig, data: PreparedData, models: RunModels, samples: Samples | None
) -> Conversation:
    """A prompt to align on: what the policy reads and wrote, and what every scorer reads of that."""
    prompts = _prompts(data)
    prompt, response = (samples.prompt, samples.response) if samples else (prompts[0].text, _EXAMPLE)
    policy = generating_reader(POLICY, models.tokenizer, max_tokens=config.sampling.max_prompt_tokens)
    rows = [(one.text, response) for one in prompts[:_ROWS]]
    said_by = "sampled from pi_0" if samples else "an example, as pi_0 has still to be trained"
    readings = _read([policy, *models.scorer_readers()], "prompts", (prompt, response), rows, said_by)
    if samples is None:
        return readings
    written = spelled(models.tokenizer, samples.tokens)
    policy_reading = replace(readings.readings[POLICY], tokens=written)
    return replace(readings, readings={**readings.readings, POLICY: policy_reading})


def _learned_conversations(config: RunConfig, data: PreparedData, models: RunModels) -> Iterator[Conversation]:
    """The better response of a pair per source of pairs, and a demonstration."""
    sampling = config.sampling
    limit = sampling.max_prompt_tokens + sampling.max_new_tokens if config.sft is None else config.sft.max_tokens
    readers = [learning_reader(POLICY, models.tokenizer, max_tokens=limit), *models.scorer_readers()]
    for name, pairs in data.pairs.items():
        rows = [(pair.prompt, pair.chosen) for pair in pairs[:_ROWS]]
        yield _read(readers, f"pairs.{name}", rows[0], rows, "the preferred response of a pair")
    rows = [(row.prompt, row.response) for row in data.demonstrations[:_ROWS]]
    if rows:
        yield _read(readers, "demonstrations", rows[0], rows, "a demonstration")


def _read(
    readers: Sequence[Reader], source: str, shown: Example, rows: Sequence[Example], said_by: str
) -> Conversation:
    prompt, response = shown
    return Conversation(
        source=source,
        prompt=prompt,
        response=response,
        said_by=said_by,
        readings={reader.name: reader.read(prompt, response) for reader in readers},
        cuts={reader.name: count_cuts(reader, rows) for reader in readers},
    )


def _rewards(
    config: RunConfig, scorers: Sequence[ScorerModel], samples: Samples | None, bar: Bar
) -> Mapping[str, Rewarded]:
    """Of every scorer that exists; empty without samples."""
    found = {}
    for scorer in scorers:
        if samples is not None and scorer.spec is not None:
            with naming(f"property {scorer.name!r}"):
                rewards = score_samples(scorer.spec, samples)
            measured = reward_range(rewards.grid)
            facts = config.properties[scorer.property].transform.facts
            found[scorer.name] = Rewarded(measured, rewards.shown, list(suspicions(measured, facts)))
        bar.advance(status=scorer.name)
    return found


def _missing(models: RunModels) -> Iterator[str]:
    if models.policy.stage is not None:
        yield (
            f"no samples of pi_0, and so no rewards: `allgood {models.policy.stage}` has to train it first; "
            "what it reads is shown with the tokenizer that the training starts with"
        )
    for scorer in models.scorers:
        if scorer.stage is not None:
            yield f"no rewards of {scorer.name}: `allgood {scorer.stage}` has to train its model first"
