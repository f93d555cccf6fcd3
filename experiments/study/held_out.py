"""What held-out preference models say of every arm of a world, and how far they agree with gold and with the rewards.

Two models per property never met the training reward model's pairs, prompts or seed: `evaluator` learned from the
alignment half of the world's own pairs, `clean` from the same half of the world without shortcuts (same seed, hence the
same facts, prompts and texts). Where they disagree about a policy, that is hacking. All start from the SFT policy: the
world has no second backbone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from actors.cluster.cast import CastRequest, spawn
from actors.reward import RewardSpec
from pipelines.cast.lane import Lane
from pipelines.cast.request import EVALUATOR, evaluator_parts, limits_of, reward_parts
from pipelines.config.run import RunConfig
from pipelines.data import Prompt
from pipelines.evaluation.estimates import PerPrompt
from pipelines.evaluation.findings import agreements
from pipelines.evaluation.measure import DEFAULT_QUANTILE, FloatGrid, PolicySamples
from pipelines.evaluation.scorers import sft_quantile, sft_share_over, share_over
from pipelines.run.folder import RunFolder

SAMPLES_PER_PROMPT = 2  # of each arm; of the SFT policy all, because the bars are quantiles of them
KEY = "study"
REWARD, HELD_OUT, CLEAN, GOLD = "reward", "evaluator", "clean", "gold"

Grids = dict[str, dict[str, FloatGrid]]  # scorer -> property -> [prompts, samples]
Entry = dict[str, Any]


def held_out_entries(
    config: RunConfig,
    clean: RunConfig,
    prompts: Sequence[Prompt],
    sft: PolicySamples,
    policies: Sequence[PolicySamples],
) -> tuple[Entry, list[Entry]]:
    """Of the SFT policy and of each policy: `evaluator_2` win rates per scorer and property, and `agreement` shares.

    `clean` is the same world without shortcuts, whose held-out models were trained. Needs a running Ray session.
    """
    shown = [sft, *(policy.samples(slice(0, SAMPLES_PER_PROMPT)) for policy in policies)]
    grids = _scored(config, clean, prompts, shown)
    quantiles = {name: config.evaluate.quantiles.get(name, DEFAULT_QUANTILE) for name in config.properties}
    bars = {
        scorer: {name: sft_quantile(grids[0][scorer][name], quantile) for name, quantile in quantiles.items()}
        for scorer in (HELD_OUT, CLEAN)
    }
    of_sft = {
        scorer: {name: _mean(sft_share_over(grids[0][scorer][name], quantile)) for name, quantile in quantiles.items()}
        for scorer in bars
    }
    of_policies = [
        {
            scorer: {name: _mean(share_over(of_policy[scorer][name], bar)) for name, bar in own.items()}
            for scorer, own in bars.items()
        }
        for of_policy in grids[1:]
    ]
    entries = [
        {"evaluator_2": rates, "agreement": _agreement(of_policy)}
        for rates, of_policy in zip([of_sft, *of_policies], grids, strict=True)
    ]
    return entries[0], entries[1:]


def _mean(shares: PerPrompt) -> float:
    return float(np.nanmean(shares))


def _agreement(grids: Grids) -> dict[str, dict[str, float]]:
    """Per property, the share of a prompt's sample pairs that two scorers order alike, mean over prompts."""
    return {
        name: {
            pair: _mean(share) for pair, share in agreements({scorer: grids[scorer][name] for scorer in grids}).items()
        }
        for name in grids[GOLD]
    }


def _scored(
    config: RunConfig, clean: RunConfig, prompts: Sequence[Prompt], policies: Sequence[PolicySamples]
) -> list[Grids]:
    """Every policy's scores by every scorer. Equal texts are scored once: aligned policies repeat themselves."""
    asked = [
        [(prompt.text, response) for prompt, row in zip(prompts, policy.responses, strict=True) for response in row]
        for policy in policies
    ]
    texts = list(dict.fromkeys(text for of_policy in asked for text in of_policy))
    position = {text: index for index, text in enumerate(texts)}
    scores = asyncio.run(_score(config, clean, texts))
    grids = []
    for policy, of_policy in zip(policies, asked, strict=True):
        index, shape = np.array([position[text] for text in of_policy]), policy.kl.shape
        found: Grids = {
            scorer: {name: values[index].astype(np.float64).reshape(shape) for name, values in of_scorer.items()}
            for scorer, of_scorer in scores.items()
        }
        grids.append(found | {GOLD: dict(policy.gold)})
    return grids


async def _score(
    config: RunConfig, clean: RunConfig, texts: Sequence[tuple[str, str]]
) -> Mapping[str, Mapping[str, np.ndarray]]:
    parts = reward_parts(config) | evaluator_parts(config)
    for name, part in evaluator_parts(clean).items():
        assert isinstance(part.spec, RewardSpec)
        parts[f"{CLEAN}.{name}"] = replace(part, spec=replace(part.spec, property=f"{CLEAN}.{name}"))
    asked, responses = [prompt for prompt, _ in texts], [response for _, response in texts]
    prefixes = {REWARD: "", HELD_OUT: EVALUATOR, CLEAN: f"{CLEAN}.{EVALUATOR}"}
    with spawn(CastRequest(rewards=parts, timeout_s=config.placement.timeout_s)) as cast:
        lane = Lane(cast, key=KEY, scorers=list(parts), limits=limits_of(config))
        return {
            scorer: {name: await lane.score_texts(f"{prefix}{name}", asked, responses) for name in config.properties}
            for scorer, prefix in prefixes.items()
        }


def is_trained(config: RunConfig) -> bool:
    """Whether the held-out models of a world, the last that are trained, lie in its folder."""
    return all((RunFolder(config.base_folder).evaluator(name) / "best").is_dir() for name in config.properties)
