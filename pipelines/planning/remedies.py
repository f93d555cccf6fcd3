"""What would make a role fit into the memory that it has: settings, tried one after another.

Settings come in the order of what they cost: smaller passes give the same mathematics and a little less speed;
checkpointing one more forward pass; sharding more GPUs; adapters train another set of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from pipelines.config.loading import changed_config
from pipelines.config.run import RunConfig
from pipelines.inspection.roles import Role
from pipelines.planning.loads import Load, process_gb

Roles = Callable[[RunConfig], Mapping[str, Role]]

_FEWEST_TOKENS = 64  # of a micro-batch
_MOST_LEARNERS = 64


def remedies(config: RunConfig, overloaded: Sequence[Load], roles_of: Roles) -> list[str]:
    """A sentence per place that has too little memory, with settings that make it fit where any do.

    Args:
        config: The run.
        overloaded: Places where more is needed than is there.
        roles_of: What one process of each role needs, by role, under some configuration.
    """
    sentences = [_sentence(config, load, roles_of) for load in overloaded]
    return list(dict.fromkeys(sentences))


def _sentence(config: RunConfig, load: Load, roles_of: Roles) -> str:
    assert load.has_gb is not None
    names = list(dict.fromkeys(load.roles))
    where = f"each GPU of {load.node}" if load.gpu is not None else f"main memory of {load.node}"
    what = f"{' and '.join(names)} need about {load.needed_gb:.1f} GB, more than the {load.has_gb:.0f} GB of {where}"
    roles = roles_of(config)
    alone = [name for name in names if process_gb(roles[name]) > load.has_gb]
    if not alone:
        return f"{what}; together they do not fit, so place them on different ones"
    found = [_remedy(config, name, load.has_gb, roles_of) for name in alone]
    return f"{what}; {'; '.join(found)}"


def _remedy(config: RunConfig, name: str, has_gb: float, roles_of: Roles) -> str:
    for overrides in _changes(config, name):
        if process_gb(roles_of(changed_config(config, overrides))[name]) <= has_gb:
            return f"{name} would fit with {' '.join(overrides)}"
    return f"no setting makes {name} fit there: give it a place with {process_gb(roles_of(config)[name]):.0f} GB"


def _changes(config: RunConfig, name: str) -> Iterator[list[str]]:
    if name in ("learner", "reference_policy"):
        smaller = [f"align.micro_batch_tokens={tokens}" for tokens in _smaller(config)]
        yield from ([each] for each in smaller)
        if name == "learner":
            yield from _of_learner(config, smaller[-1:])
    elif name == "rollout":
        yield from _of_rollout(config)


def _smaller(config: RunConfig) -> list[int]:
    """Micro-batches that still hold the longest row."""
    row = config.sampling.max_prompt_tokens + config.sampling.max_new_tokens
    tokens, found = config.align.micro_batch_tokens // 2, []
    while tokens >= max(row, _FEWEST_TOKENS):
        found.append(tokens)
        tokens //= 2
    return found


def _of_learner(config: RunConfig, smallest: list[str]) -> Iterator[list[str]]:
    checkpointing = [*smallest, "align.gradient_checkpointing=true"]
    yield checkpointing
    replicas = 2
    while replicas <= _MOST_LEARNERS:
        yield [*checkpointing, "placement.learners=shard", f"placement.learner.replicas={replicas}"]
        replicas *= 2
    yield [*checkpointing, "align.lora.rank=16"]


def _of_rollout(config: RunConfig) -> Iterator[list[str]]:
    """Smaller chunks; those of the references are the largest by default."""
    training, references = config.sampling.prompts_per_chunk, config.references.prompts_per_chunk
    while max(training, references) > 1:
        training, references = max(1, training // 2), max(1, references // 2)
        yield [f"sampling.prompts_per_chunk={training}", f"references.prompts_per_chunk={references}"]
