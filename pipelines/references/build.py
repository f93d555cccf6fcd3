"""`allgood reference`: sample the start policy, score the samples, write the reference table and the samples.

Samples come from the rollout actors and rewards from the reward actors of a run, so that references are made by exactly
what they will be compared with. Canned replies are scored by the same actors. `samples.parquet` keeps every sample with
its log pi_0, rewards, evaluator scores and gold where they exist: preview, best-of-k and evaluation read it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from actors.messages import Experience
from allgood.errors import DataError
from allgood.references import empirical_quantile, gaussian_quantile, mean, normality
from allgood.treatment import Treatment
from pipelines.cast.actors import Actors, cast_for
from pipelines.cast.collect import collect_all, make_chunks, purpose_seed
from pipelines.cast.experience import merged_scores, rewards_of
from pipelines.cast.finished_models import refuse_unfit_models
from pipelines.cast.lane import PROBE, Lane
from pipelines.cast.request import EVALUATOR, limits_of, reference_request
from pipelines.cast.sample_rows import of_property, rollout_columns, sample_rows, score_columns
from pipelines.config.references import QUANTILES, Reference, quantile_column
from pipelines.config.run import RunConfig
from pipelines.data import PreparedData, Prompt, load_prepared
from pipelines.data.prepared import prepared_key
from pipelines.data.prompt_order import prompts_of
from pipelines.objective.gold import gold_of, try_gold
from pipelines.objective.guards import refuse_failing_scorers, refuse_unfit_rewards
from pipelines.output.files import atomic_path
from pipelines.output.hashes import sha256_of
from pipelines.output.progress import say, track
from pipelines.references.judge_keys import JUDGES, judge_keys
from pipelines.references.keys import encoder_keys, table_keys
from pipelines.references.predicted import Predicted, predict_references
from pipelines.references.prompt_fit import check_prompts_fit
from pipelines.references.table import MANIFEST, PREDICTED, SAMPLES, TABLE
from pipelines.run.folder import RunFolder

KEY = "references"
FEWEST_FOR_NORMALITY = 20  # samples per prompt, the test's own limit
FAR_FROM_NORMAL = 0.2  # share of prompts


def build_references(config: RunConfig, cast: Actors | None = None) -> dict[str, Any]:
    """Write `references/` of the base folder and return its manifest. With `cast`, its actors are used and kept.

    Raises:
        DataError: No prompt is in the splits asked for.
        ModelError: Nothing of a prompt fits into `sampling.max_prompt_tokens`.
        RoleError: A property's first rewards do not fit its transform, as `refuse_unfit_rewards` says.
        ConfigError: `evaluate.gold` is no function that knows every response; and as `refuse_unfit_models`.
    """
    folder = RunFolder(config.base_folder)
    refuse_unfit_models(config)
    data = load_prepared(folder.data)
    prompts = reference_prompts(config, data.prompts)
    check_prompts_fit(config, data.prompts)
    try_gold(config, prompts[0].text)
    with cast_for(config, reference_request, cast) as kept:
        samples, fixed, predicted = asyncio.run(_measure(config, kept, prompts, data))
    samples = _with_gold(config, samples)
    tables = {TABLE: table_rows(samples, fixed, list(config.properties)), SAMPLES: samples}
    manifest = manifest_of(config, prompts) | {"normality": normality_of(samples, list(config.properties))}
    for name, found in manifest["normality"].items():
        say(f"{name}: {_shown(found, config.properties[name].reference)}")
    if predicted.rows:
        tables[PREDICTED] = predicted.rows
        manifest["predicted"] = predicted.coverage
    with atomic_path(folder.references) as temporary:
        temporary.mkdir()
        for name, rows in tables.items():
            pq.write_table(pa.Table.from_pylist(rows), temporary / name)
        manifest["files"] = {name: sha256_of(temporary / name) for name in tables}
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    say(f"references of {len(prompts)} prompts x {config.references.num_samples} samples: {folder.references}")
    return manifest


def reference_prompts(config: RunConfig, prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts that get references, split by split."""
    chosen = [prompt for split in config.references.splits for prompt in prompts_of(config, prompts, split)]
    if not chosen:
        raise DataError(
            f"no prompt is in the splits {', '.join(config.references.splits)}; look at the counts of the prepared data"
        )
    return chosen


async def _measure(
    config: RunConfig, cast: Actors, prompts: Sequence[Prompt], data: PreparedData
) -> tuple[list[dict[str, Any]], dict[str, dict[str, dict[str, float]]], Predicted]:
    """Sample rows; per property and column of fixed texts the mean reward per prompt; predicted references."""
    scorers = [name for name in cast.scorers if name in config.properties or name.startswith(EVALUATOR)]
    lane = Lane(cast, key=KEY, scorers=scorers, limits=limits_of(config))
    await lane.treat({name: Treatment(KEY, "identity", 0.0) for name in scorers})
    await lane.check_scores([prompts[0].text] * len(PROBE), PROBE)
    await lane.hold_reference_policy()
    chunks = make_chunks(
        prompts,
        seed=purpose_seed(config.seed, "references"),
        step=0,
        policy_version=0,
        samples_per_prompt=config.references.num_samples,
        prompts_per_chunk=config.references.prompts_per_chunk,
    )
    with track("sampling the start policy for references", len(prompts)) as bar:
        experience = await collect_all(
            chunks,
            await lane.crew_of_reference_policy(),
            bar.advance,
            inspect_first=lambda first: refuse_unfit_rewards(config.properties, rewards_of([first])),
        )
    refuse_failing_scorers(merged_scores(experience), max_share=config.align.max_nan_share)
    fixed = {name: await _fixed(config, lane, name, prompts, data) for name in config.properties}
    samples = cached_rows(experience, prompts)
    everyone = [prompt for prompt in data.prompts if prompt.split in config.references.splits]
    wanted = {name: wanted_references(config, name) for name in config.properties}
    return samples, fixed, await predict_references(config, lane, everyone, samples, wanted)


async def _fixed(
    config: RunConfig, lane: Lane, name: str, prompts: Sequence[Prompt], data: PreparedData
) -> dict[str, dict[str, float]]:
    """Mean rewards of texts that are no samples: canned replies, the data's own responses. Column -> prompt id -> r."""
    found = {}
    for reference in wanted_references(config, name):
        if reference.column is not None:
            texts = texts_of(reference, name, prompts, data)
            found[reference.column] = await mean_rewards(lane, name, prompts, texts)
    return found


def texts_of(
    reference: Reference, name: str, prompts: Sequence[Prompt], data: PreparedData
) -> Mapping[str, Sequence[str]]:
    """The texts per prompt id whose mean reward a reference of a property is: its own replies, or the data's."""
    if reference.needs == "replies":
        return {prompt.id: reference.fixed_replies for prompt in prompts}
    return dataset_responses(data, name)


async def mean_rewards(
    lane: Lane, name: str, prompts: Sequence[Prompt], responses: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Mean reward of each prompt's responses that could be scored; NaN where none could.

    A prompt without a response is left out.
    """
    asked = [(prompt, response) for prompt in prompts for response in responses.get(prompt.id, ())]
    texts = [prompt.text for prompt, _ in asked], [response for _, response in asked]
    with track(f"scoring fixed replies: {name}", len(asked)) as bar:
        rewards = await lane.score_texts(name, *texts, bar.advance)
    failed = int((~np.isfinite(rewards)).sum())
    if failed:
        say(f"{failed} of {len(asked)} fixed replies could not be scored by {name} and were left out")
    by_prompt: dict[str, list[float]] = {}
    for (prompt, _), reward in zip(asked, rewards.tolist(), strict=True):
        by_prompt.setdefault(prompt.id, []).append(reward)
    return {prompt_id: mean_of_known(values) for prompt_id, values in by_prompt.items()}


def mean_of_known(rewards: Sequence[float]) -> float:
    """The mean of the finite rewards; NaN where there is none."""
    known = [reward for reward in rewards if np.isfinite(reward)]
    return float(np.mean(known, dtype=np.float64)) if known else float("nan")


def wanted_references(config: RunConfig, name: str) -> list[Reference]:
    """The references that a property's table must serve: its own, and those of `references.also`."""
    return [config.properties[name].reference, *config.references.also.get(name, ())]


def dataset_responses(data: PreparedData, name: str) -> dict[str, list[str]]:
    """The data's own responses per prompt id: chosen ones of the property's pairs, else of any pairs, else imitated."""
    pairs = data.pairs.get(name, [])
    others = [pair for other, found in data.pairs.items() if other != name for pair in found]
    responses: dict[str, list[str]] = {}
    for source in (
        [(pair.prompt_id, pair.chosen) for pair in pairs],
        [(pair.prompt_id, pair.chosen) for pair in others],
        [(row.prompt_id, row.response) for row in data.demonstrations],
    ):
        taken = set(responses)
        for prompt_id, response in source:
            if prompt_id not in taken and response not in responses.setdefault(prompt_id, []):
                responses[prompt_id].append(response)
    return responses


def cached_rows(experience: Sequence[Experience], prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    """One row per sample: who was asked, what came, what it is worth."""
    splits = {prompt.id: prompt.split for prompt in prompts}
    rollouts = [chunk.rollout for chunk in experience]
    columns = rollout_columns(experience)
    # Seeds have 64 bits unsigned: more than a parquet integer holds.
    seeds = [str(rollout.chunk.seed) for rollout in rollouts for _ in rollout.responses]
    return sample_rows(
        {
            **columns,
            "split": [splits[prompt_id] for prompt_id in columns["prompt_id"]],
            "response_tokens": [tokens.tolist() for rollout in rollouts for tokens in rollout.response_tokens],
            "reference_logprob": [float(row.sum(dtype=np.float64)) for rollout in rollouts for row in rollout.logprobs],
            "chunk_seed": seeds,
            **score_columns(rewards_of(experience)),
        }
    )


def _with_gold(config: RunConfig, samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    gold = gold_of(config)
    if gold is None:
        return samples
    scores = gold.score([row["prompt"] for row in samples], [row["response"] for row in samples])
    gold_rows = sample_rows(of_property("gold", scores))
    return [row | of_gold for row, of_gold in zip(samples, gold_rows, strict=True)]


def table_rows(
    samples: Sequence[Mapping[str, Any]],
    fixed: Mapping[str, Mapping[str, Mapping[str, float]]],
    properties: Sequence[str],
) -> list[dict[str, Any]]:
    """One row per (prompt id, property). `fixed[property][column][prompt_id]` are mean rewards of texts that are no
    samples.
    """
    columns = sorted({column for by_column in fixed.values() for column in by_column})
    rows = []
    for name in properties:
        rewards: dict[str, list[float]] = {}
        for sample in samples:
            rewards.setdefault(sample["prompt_id"], []).append(sample[f"reward.{name}"])
        for prompt_id, numbers in statistics(rewards).items():
            others = {column: fixed.get(name, {}).get(column, {}).get(prompt_id) for column in columns}
            rows.append({"prompt_id": prompt_id, "property": name, **numbers, **others})
    return rows


def statistics(rewards: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """Per prompt: n, mean, std (ddof 1) and quantiles of its finite rewards, with standard errors; NaN below n = 2."""
    finite = {prompt: np.array(values, dtype=np.float64) for prompt, values in rewards.items()}
    finite = {prompt: values[np.isfinite(values)] for prompt, values in finite.items()}
    by_size: dict[int, list[str]] = {}
    for prompt, values in finite.items():
        by_size.setdefault(len(values), []).append(prompt)
    found: dict[str, dict[str, float]] = {}
    for size, prompts in by_size.items():  # prompts of equal n at once; usually that is all of them
        columns = _columns(np.stack([finite[prompt] for prompt in prompts]))
        for index, prompt in enumerate(prompts):
            found[prompt] = {"n": size} | {name: float(column[index]) for name, column in columns.items()}
    return {prompt: found[prompt] for prompt in rewards}


def normality_of(samples: Sequence[Mapping[str, Any]], properties: Sequence[str]) -> dict[str, dict[str, float]]:
    """Per property how many prompts were tested, and the share of them on which rewards are not normal (p < 0.05).

    Only prompts with as many scores as samples, at least 20; a property without any is left out.
    """
    found = {}
    for name in properties:
        rewards: dict[str, list[float]] = {}
        for sample in samples:
            rewards.setdefault(sample["prompt_id"], []).append(sample[f"reward.{name}"])
        size = max(map(len, rewards.values()))
        whole = [values for values in rewards.values() if len(values) == size and np.isfinite(values).all()]
        if whole and size >= FEWEST_FOR_NORMALITY:
            share = normality(torch.tensor(whole, dtype=torch.float64)).share_rejected
            found[name] = {"num_prompts": len(whole), "share_rejected": share}
    return found


def _shown(found: Mapping[str, float], reference: Reference) -> str:
    line = f"rewards are not normal (p < 0.05) on {found['share_rejected']:.0%} of {found['num_prompts']} prompts"
    if reference.assumes_normal_rewards and found["share_rejected"] > FAR_FROM_NORMAL:
        return f"{line}, where chance gives 5 %: the Gaussian quantile is doubtful, see reference.method empirical"
    return line


def _columns(draws: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Statistics of `draws` [prompts, n], each [prompts]."""
    num_prompts, size = draws.shape
    if size < 2:
        names = ["mean", "std", "gaussian85", *(quantile_column(q) for q in QUANTILES)]
        return {column: np.full(num_prompts, np.nan) for name in names for column in (name, f"{name}_se")}
    rewards = torch.from_numpy(draws)
    estimates = {quantile_column(q): empirical_quantile(rewards, q) for q in QUANTILES}
    estimates["gaussian85"] = gaussian_quantile(rewards, 0.85)
    centre = mean(rewards)
    columns = {"mean": centre.value.numpy(), "mean_se": centre.standard_error.numpy(), "std": draws.std(axis=1, ddof=1)}
    for name, estimate in estimates.items():
        columns |= {name: estimate.value.numpy(), f"{name}_se": estimate.standard_error.numpy()}
    return columns


def manifest_of(config: RunConfig, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """Keys of everything that the numbers depend on, and how they were made; the files' checksums come later."""
    keys = table_keys(config, list(config.properties))
    wanted = [reference for name in config.properties for reference in wanted_references(config, name)]
    if any(reference.needs == "data" for reference in wanted):
        keys["data"] = prepared_key(RunFolder(config.base_folder).data)
    for reference in wanted:
        keys |= encoder_keys(reference)
    return {
        "schema": 1,
        "keys": keys,
        JUDGES: judge_keys(config),
        "prompts": {"count": len(prompts), "sha256": prompt_set_hash([prompt.id for prompt in prompts])},
        "made_with": {
            "num_samples": config.references.num_samples,
            "seed": config.seed,
            "splits": list(config.references.splits),
            "max_prompts": config.references.max_prompts,
            "canned": {
                name: list(reference.fixed_replies)
                for name in config.properties
                for reference in wanted_references(config, name)
                if reference.needs == "replies"
            },
        },
    }


def prompt_set_hash(prompt_ids: Iterable[str]) -> str:
    """sha256 of a set of prompt ids; an id is itself the hash of a prompt's text."""
    return hashlib.sha256("\n".join(sorted(prompt_ids)).encode()).hexdigest()
