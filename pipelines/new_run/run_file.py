"""`allgood init`: a short, commented run file for finished models, with settings that fit them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from actors.cluster.placement import Resources
from allgood.errors import ConfigError
from allgood.scorers import yaml12
from pipelines.config.loading import stored_config
from pipelines.new_run import choices
from pipelines.new_run.choices import Lengths
from pipelines.new_run.facts import Machine, PolicyFacts, ScorerFacts, policy_facts, scorer_facts, this_machine
from pipelines.new_run.prompts import LIMIT, PromptFacts, prompt_facts

_MODEL_ROLES = ("learner", "rollout", "reference_policy")


def new_run_file(policy: str, prompts: str, rewards: Sequence[str]) -> str:
    """The text of a run file.

    Args:
        policy: Name or folder of a finished policy.
        prompts: File of prompts, or dataset on the hub.
        rewards: "property=model" each.

    Raises:
        ConfigError: A reward is no "property=model", or a name of a property cannot stand in a run file.
        ModelError, DataError: A model or dataset cannot be used.
    """
    named = _named(rewards)
    facts = policy_facts(policy)
    scorers = [scorer_facts(name, model) for name, model in named.items()]
    text = "\n".join(_lines(facts, scorers, prompt_facts(prompts), this_machine())) + "\n"
    stored_config(yaml12.parse(text, source="the new run file"), source="the new run file")
    return text


def _named(rewards: Sequence[str]) -> Mapping[str, str]:
    named: dict[str, str] = {}
    for reward in rewards:
        name, equals, model = reward.partition("=")
        if not (name and equals and model):
            raise ConfigError(f"--reward {reward!r} must read property=model, such as helpful=some/reward-model")
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise ConfigError(f"--reward {reward!r}: {name!r} is no name of a property; use letters, digits and _")
        if name in named:
            raise ConfigError(f"--reward gives {name!r} twice; several reward models as one are `kind: ensemble`")
        named[name] = model
    return named


def _lines(
    policy: PolicyFacts, scorers: Sequence[ScorerFacts], prompts: PromptFacts, machine: Machine
) -> Iterator[str]:
    limits = choices.lengths(policy.context)
    places = choices.places([*_MODEL_ROLES, *(scorer.property_name for scorer in scorers)], machine)
    yield "# Written by `allgood init`. Look at it with `allgood inspect`, then run it with `allgood chain`."
    yield "# Every key: docs/reference/configuration.md."
    yield f"name: {_name(policy.model)}"
    yield "seed: 0"
    if not machine.num_gpus:
        yield "device: cpu  # no GPU was seen; elsewhere leave this out, and give the roles `gpus` in `placement`"
    yield ""
    yield f"policy: {{model: {_scalar(policy.model)}}}  # {_size(policy.shape.num_parameters)}; {_format(policy)}"
    yield "sft: null  # the policy is aligned as it is"
    yield ""
    yield from _prompt_lines(prompts)
    yield ""
    yield "properties:"
    for scorer in scorers:
        yield from _scorer_lines(scorer, limits, places[scorer.property_name])
    yield ""
    yield "objective: {kind: formula}  # log P(" + " & ".join(scorer.property_name for scorer in scorers) + ")"
    yield "kl: {coefficient: 0.1}  # nats of utility that a nat of KL costs; `allgood preview` compares several"
    yield ""
    yield f"sampling:  # {_ending(policy)}"
    yield f"  max_prompt_tokens: {limits.prompt}  # {_context(policy)}"
    yield f"  max_new_tokens: {limits.response}"
    yield "references: {num_samples: 16}  # samples of the start policy per prompt; more are better, and take longer"
    yield ""
    yield "align:"
    yield "  steps: 100"
    yield "  prompts_per_step: 32"
    yield "  samples_per_prompt: 4"
    yield from _learner_lines(policy, machine, places["learner"])
    yield ""
    yield "placement:"
    yield from (f"  {role}: {_resources(places[role])}" for role in _MODEL_ROLES)


def _prompt_lines(prompts: PromptFacts) -> Iterator[str]:
    yield "data:"
    yield "  prompts:"
    yield f"    path: {_scalar(prompts.path)}"
    if prompts.hub_subset is not None:
        yield f"    hub_subset: {_scalar(prompts.hub_subset)}"
    if prompts.hub_split not in (None, "train"):
        yield f"    hub_split: {_scalar(str(prompts.hub_split))}"
    if prompts.column != "prompt":
        yield f"    columns: {{prompt: {_scalar(prompts.column)}}}"
    yield f"    limit: {LIMIT}  # rows to read" + (f"; {prompts.unsure}" if prompts.unsure else "")


def _scorer_lines(scorer: ScorerFacts, policy: Lengths, place: Resources) -> Iterator[str]:
    limit = choices.scoring_limit(policy, scorer.context)
    yield f"  {scorer.property_name}:"
    yield f"    kind: {'classifier' if scorer.is_classifier else 'model'}"
    yield f"    model: {_scalar(scorer.model)}  # {_size(scorer.shape.num_parameters)}"
    if scorer.is_classifier:
        labels = ", ".join(f"{index} is {label}" for index, label in enumerate(scorer.labels))
        label = choices.good_label(scorer.property_name, scorer.labels)
        yield f"    label: {label}  # the one that means good; check it: {labels}"
    else:
        yield "    reference: {kind: quantile, quantile: 0.85}  # good is what beats 85 % of the start policy's samples"
        yield "    # evaluator: {model: NAME}  # a held-out judge; without one nothing is called better"
    shorter = "  # all that it reads; longer prompts are cut for it" if limit < policy.total else ""
    yield f"    max_tokens: {limit}{shorter}"
    yield f"    placement: {_resources(place)}"


def _learner_lines(policy: PolicyFacts, machine: Machine, place: Resources) -> Iterator[str]:
    memory = choices.learner_memory(machine, place)
    tokens = choices.micro_batch_tokens(policy.shape, memory=memory, width=2 if place.gpus else 4)
    why = (
        f"fits into {memory / 1e9:.0f} GB, by the formula of `allgood inspect`"
        if tokens
        else f"even so the learner does not fit into {memory / 1e9:.0f} GB; see the memory of `allgood inspect`"
    )
    yield f"  micro_batch_tokens: {tokens or 256}  # {why}"
    yield f"  optimizer: {{learning_rate: {choices.learning_rate(policy.shape.num_parameters)}, warmup_steps: 10}}"


def _resources(place: Resources) -> str:
    gpus = f", gpus: {place.gpus:g}" if place.gpus else ""
    return f"{{cpus: {place.cpus:g}{gpus}}}"


def _format(policy: PolicyFacts) -> str:
    return "reads through its chat template" if policy.has_template else "has no chat template, so it reads plain text"


def _context(policy: PolicyFacts) -> str:
    return "nothing limits what it reads" if policy.context is None else f"the policy reads {policy.context} at most"


def _ending(policy: PolicyFacts) -> str:
    words = [token.text for token in policy.ending.tokens] + [repr(text) for text in policy.ending.stop]
    return "a response ends at " + " or ".join(words)


def _size(num_parameters: int) -> str:
    """Of parameters, as people say it: 0.49B, 12M."""
    if num_parameters >= 100_000_000:
        return f"{num_parameters / 1e9:.2g}B parameters"
    return f"{num_parameters / 1e6:.2g}M parameters"


def _name(model: str) -> str:
    words = re.sub(r"[^\w.-]+", "-", model.rstrip("/").rpartition("/")[2]).strip("-._")
    return f"{words or 'policy'}-aligned"


def _scalar(text: str) -> str:
    """Text as one YAML value, in quotes where it could be read as something else."""
    return (
        text
        if re.fullmatch(r"[A-Za-z/][\w./@-]*", text) and yaml12.parse(text, source=text) == text
        else json.dumps(text)
    )
