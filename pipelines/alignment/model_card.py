"""The README.md alongside an aligned model: what it is, how it was made, what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from actors.tables import markdown_table
from allgood.scorers.hub_names import is_hub_name
from pipelines.alignment.loop import State
from pipelines.config.objectives import FormulaObjective, WeightedSumObjective
from pipelines.config.properties import EnsembleProperty, FunctionProperty, HttpProperty
from pipelines.config.run import RunConfig
from pipelines.run.start_policy import start_in_words


def write_model_card(path: Path, config: RunConfig, state: State, validation: Mapping[str, float]) -> None:
    """Write a Hugging Face model card."""
    path.write_text(model_card(config, state, validation), encoding="utf-8")


def model_card(config: RunConfig, state: State, validation: Mapping[str, float]) -> str:
    """The card's text, metadata block included."""
    header = ("property", "scorer", "reference", "transform")
    properties = "\n".join(markdown_table(header, [_property_row(name, config) for name in config.properties]))
    rows = [(name, f"{value:.4f}") for name, value in validation.items()]
    measured = "\n".join(markdown_table(("metric", "value"), rows)) if rows else "Nothing was evaluated."
    ended = f" It ended early: {state.stopped}." if state.stopped else ""
    best = f"The best evaluated step was {state.best.step} (score {state.best.score:.4f})." if state.best else ""
    return f"""---
library_name: transformers
{_base_model(config)}pipeline_tag: text-generation
tags: [allgood, rlhf]
---

# {config.name}

A language model aligned to several preferences at once with allgood, by KL-regularised reinforcement learning
from {start_in_words(config)}.
These are the weights after step {state.step} of {config.align.steps}.{ended} {best}

## How it was made

* Objective: {_objective(config)}
* KL coefficient gamma: {state.kl_coefficient:g} at the end ({config.kl.controller.kind} controller)
* Algorithm: {config.align.algorithm.kind}, {config.align.prompts_per_step} prompts x
  {config.align.samples_per_prompt} samples per step,
  learning rate {config.align.optimizer.learning_rate:g}, seed {config.seed}
* Sampling: temperature 1, at most {config.sampling.max_new_tokens} new tokens,
  prompts of at most {config.sampling.max_prompt_tokens} tokens

{properties}

## Measured on validation prompts

{measured}

Prompts are plain text, "\\n\\nHuman: ...\\n\\nAssistant:", or the tokenizer's chat template where it has one.

"""


def _base_model(config: RunConfig) -> str:
    """The line by which the hub links a model to the one that it was made from."""
    model = config.policy.model
    return f"base_model: {model}\n" if model is not None and is_hub_name(model) else ""


def _objective(config: RunConfig) -> str:
    objective = config.objective
    if isinstance(objective, FormulaObjective):
        return f"log P({objective.expression or ' & '.join(config.properties)})"
    if isinstance(objective, WeightedSumObjective):
        return " + ".join(f"{objective.weights.get(name, 1.0):g} * {name}" for name in config.properties)
    settings = ", ".join(f"{key} {value}" for key, value in objective.model_dump(exclude={"kind"}).items())
    return f"{objective.kind} of {', '.join(config.properties)}" + (f" ({settings})" if settings else "")


def _property_row(name: str, config: RunConfig) -> tuple[str, ...]:
    setting = config.properties[name]
    if isinstance(setting, FunctionProperty):
        scorer = setting.function
    elif isinstance(setting, HttpProperty):
        scorer = setting.source
    elif isinstance(setting, EnsembleProperty):
        scorer = f"{setting.combine.kind} of {', '.join(setting.members)}"
    else:
        scorer = setting.model or "trained with allgood reward"
    return name, f"{setting.kind}: {scorer}", setting.reference.kind, setting.transform.kind
