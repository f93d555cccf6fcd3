"""Rewards that the tests of all adapters use: a model and a function, with reference points that only a table knows.

`min_share_in_table` is 1, so that a row that is read in another way than in a run is an error and no other number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from allgood.conversations import prompt_id
from allgood.formula import Formula
from allgood.objectives import FormulaUtility
from allgood.scorers.all_good_scorer import AllGoodScorer
from allgood.scorers.reference_files import References, save_references
from allgood.scorers.rewards_file import rewards_yaml
from allgood.scorers.rewards_spec import PropertySpec, ReferenceSpec, RewardsSpec
from allgood.scorers.spec import FunctionSpec, ModelSpec
from tests.actors.tiny_models import save_scorer
from tests.templates import template_tokenizer

QUESTIONS = ["How do I bake bread?", "Name a river."]
CANONICAL = [f"\n\nHuman: {question}\n\nAssistant:" for question in QUESTIONS]
MESSAGES = [[{"role": "user", "content": question}] for question in QUESTIONS]
RUN_IDS = [prompt_id(text) for text in CANONICAL]


def even(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """A tenth of the letters; fails on an odd number of them."""
    return [math.nan if len(response) % 2 else len(response) / 10 for response in responses]


@cache
def template_of_a_run(folder: Path) -> Any:
    """The policy's tokenizer with its chat template, saved where `name_or_path` says."""
    found = template_tokenizer("chatml")
    found.save_pretrained(folder / "template")
    found.name_or_path = str(folder / "template")
    return found


def folder_of_a_run(folder: Path, **settings: Any) -> str:
    """The same as a folder with `rewards.yaml`."""
    folder.mkdir(exist_ok=True)
    (folder / "rewards.yaml").write_text(rewards_yaml(scorer_of_a_run(folder, **settings).spec))
    return str(folder)


def scorer_of_a_run(
    folder: Path, *, missing_eos_penalty: float = 0.0, policy_template: str | None = None
) -> AllGoodScorer:
    """log P(liked & even), with the table that a run would have made."""
    for name, values in {"liked": (0.5, -0.25), "even": (1.0, 2.0)}.items():
        save_references(References(dict(zip(RUN_IDS, values, strict=True))), folder / f"{name}.safetensors")
    scorers = {
        "liked": ModelSpec(save_scorer(folder / "liked"), device="cpu"),
        "even": FunctionSpec("tests.allgood.integrations.rewards_for_trainers:even"),
    }
    properties = {
        name: PropertySpec(scorer, ReferenceSpec(table=str(folder / f"{name}.safetensors")))
        for name, scorer in scorers.items()
    }
    objective = FormulaUtility(Formula("liked & even"))
    return AllGoodScorer(RewardsSpec(properties, objective, missing_eos_penalty, policy_template, 1.0))
