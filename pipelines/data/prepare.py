"""From data sources to prepared data: prompts with splits, preference pairs per property, demonstrations, counts.

Preparing is idempotent: the result is kept in `<base folder>/data` under a key of the sources' content and the
settings, and read back as long as the key fits.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from allgood.conversations import prompt_id
from allgood.errors import ConfigError, DataError
from pipelines.config.data import DataSource
from pipelines.config.run import RunConfig
from pipelines.data.empty_splits import refuse_empty_splits, refuse_nothing_to_imitate
from pipelines.data.formats import RawDemonstration, RawPair
from pipelines.data.inputs import Inputs, data_inputs, read_demonstrations
from pipelines.data.pairs import read_pairs
from pipelines.data.prepared import (
    SPLITS,
    Demonstration,
    Pair,
    PreparedData,
    Prompt,
    Report,
    Split,
    load_prepared,
    prepared_key,
    save_prepared,
)
from pipelines.data.prompts import RawPrompt, read_prompts
from pipelines.data.sources import source_identity
from pipelines.data.splits import DEMONSTRATIONS, PROMPTS, SplitPrompt, Splits, split_prompts
from pipelines.output.progress import say
from pipelines.run.folder import RunFolder

_VERSION = 1  # of what this module makes of the same sources
_LATER = ("columns", "attribute", "revision")  # settings of a source that the first key did not have


def prepare(config: RunConfig) -> PreparedData:
    """The data of a run: read back if they are there, else made and saved.

    A run on another run's `base` uses what lies there, whatever its own data settings say.

    Raises:
        DataError: A source is missing or wrong; names file and row.
        ConfigError: The data settings contradict each other, or would split the data anew under trained models.
    """
    return _prepared(config, anew=False)


def prepare_anew(config: RunConfig) -> PreparedData:
    """As `prepare`, at the start of a chain: data may be split anew, since all models are trained after it."""
    return _prepared(config, anew=True)


def look_at_data(config: RunConfig) -> PreparedData:
    """As `prepare`, but nothing is written: what does not lie there is made in memory."""
    base = RunFolder(config.base_folder)
    known = prepared_key(base.data)
    if config.base is not None and known is not None:
        return load_prepared(base.data)
    inputs = data_inputs(config)
    return load_prepared(base.data) if known == _key(config, inputs) else make_prepared(config, inputs)


def _prepared(config: RunConfig, *, anew: bool) -> PreparedData:
    base = RunFolder(config.base_folder)
    known = prepared_key(base.data)
    if config.base is not None and known is not None:
        return load_prepared(base.data)
    inputs = data_inputs(config)
    key = _key(config, inputs)
    if known != key:
        if known is not None and base.has_models():
            if not anew:
                _refuse_another_split(base)
            say(f"the data are split anew: models in {base.path} learned from another split; train them again")
        save_prepared(make_prepared(config, inputs), base.data, key=key)
    return load_prepared(base.data)


def _refuse_another_split(base: RunFolder) -> None:
    raise ConfigError(
        f"{base.path} holds models and prepared data, and this run would split its data otherwise (another `seed` or "
        "`data`, or a source whose content has changed): prompts that the models have learned from would come into "
        "validation and test. Give it another `name`, put seed and data back, or start over with `allgood data` and "
        "train all models again"
    )


def make_prepared(config: RunConfig, inputs: Inputs) -> PreparedData:
    """Read all sources, split by prompt, build the rows.

    Raises:
        DataError: A source is wrong, or a split that the run needs stays empty.
    """
    read = {name: read_pairs(source) for name, source in inputs.pairs.items()}
    raw_pairs = {name: pairs for name, (pairs, _) in read.items()}
    raw_demonstrations, demonstration_rows = (
        read_demonstrations(inputs.demonstrations) if inputs.demonstrations else ([], {})
    )
    raw_prompts, prompt_rows = read_prompts(inputs.prompts) if inputs.prompts else ([], {})
    known = _distinct_prompts(inputs, raw_pairs, raw_demonstrations, raw_prompts)
    splits = split_prompts(known, config.data.splits, seed=config.seed)
    ids = {prompt.text: prompt_id(prompt.text) for prompt in known}

    prompts = [
        Prompt(ids[prompt.text], prompt.text, splits.of_prompt[prompt.text], _source(prompt, inputs))
        for prompt in known
        if prompt.aligned
    ]
    if config.data.prompts is not None:
        refuse_empty_splits(prompts, splits)
    pairs = {
        name: [
            Pair(ids[raw.prompt], raw.prompt, raw.chosen, raw.rejected, raw.margin, splits.of_prompt[raw.prompt])
            for raw in raws
        ]
        for name, raws in raw_pairs.items()
    }
    imitated = [
        *((raw.prompt, raw.response) for raw in raw_demonstrations),
        *((raw.prompt, raw.chosen) for name in inputs.demonstrations_from for raw in raw_pairs[name]),
    ]
    demonstrations = _demonstrations(imitated, ids, splits)
    if config.sft is not None and not demonstrations:
        refuse_nothing_to_imitate(imitated, splits)
    report = {
        "seed": config.seed,
        "prompts": _prompt_report(prompts, known, splits, is_world=config.world is not None),
        **({"prompt_rows": prompt_rows} if inputs.prompts else {}),
        "pairs": {name: report | {"by_split": _by_split(pairs[name])} for name, (_, report) in read.items()},
        **(
            {"demonstrations": _demonstration_report(imitated, demonstrations) | demonstration_rows} if imitated else {}
        ),
    }
    return PreparedData(prompts, pairs, demonstrations, report)


def _key(config: RunConfig, inputs: Inputs) -> str:
    content = {
        "version": _VERSION,
        "sources": {
            name: {**source.model_dump(exclude=_not_in_the_key(source)), **source_identity(source)}
            for name, source in inputs.sources().items()
        },
        "demonstrations_from": inputs.demonstrations_from,
        "prompts_from": inputs.prompts_from,
        "splits": config.data.splits.model_dump(),
        "seed": config.seed,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _not_in_the_key(source: DataSource) -> set[str]:
    """The path, since the content counts; and what was added later, where it is not given."""
    return {"path"} | {name for name in _LATER if not getattr(source, name, None)}


def _distinct_prompts(
    inputs: Inputs,
    pairs: Mapping[str, Sequence[RawPair]],
    demonstrations: Iterable[RawDemonstration],
    prompts: Iterable[RawPrompt],
) -> list[SplitPrompt]:
    """Every prompt text once, in order of first appearance, with all sources that it stands in."""
    sources: dict[str, dict[str, None]] = {}
    given: dict[str, Split | None] = {}
    aligned: set[str] = set()
    rows = [
        *((prompt.text, PROMPTS, prompt.split) for prompt in prompts),
        *((pair.prompt, name, pair.split) for name, rows in pairs.items() for pair in rows),
        *((row.prompt, DEMONSTRATIONS, row.split) for row in demonstrations),
    ]
    for text, source, split in rows:
        sources.setdefault(text, {})[source] = None
        if given.setdefault(text, split) is None:
            given[text] = split
        elif split not in (None, given[text]):
            raise DataError(f"{source}: the prompt {text[:80]!r} stands in the splits {given[text]!r} and {split!r}")
        if source == PROMPTS or source in inputs.prompts_from:
            aligned.add(text)
    return [SplitPrompt(text, tuple(names), text in aligned, given[text]) for text, names in sources.items()]


def _source(prompt: SplitPrompt, inputs: Inputs) -> str:
    return "+".join(name for name in prompt.sources if name in inputs.pairs) or PROMPTS


def _demonstrations(rows: Iterable[tuple[str, str]], ids: Mapping[str, str], splits: Splits) -> list[Demonstration]:
    """Rows of the SFT split to train on, and of the validation split to evaluate on; no other prompt reaches SFT."""
    return [
        Demonstration(ids[prompt], prompt, response, splits.of_prompt[prompt])
        for prompt, response in rows
        if response and splits.of_prompt[prompt] in ("sft", "validation")
    ]


def _prompt_report(
    prompts: Sequence[Prompt], known: Sequence[SplitPrompt], splits: Splits, *, is_world: bool
) -> Report:
    """In the world all prompts stand in its file of prompts, so that only the other sources say something."""
    shared = ([name for name in prompt.sources if name != PROMPTS or not is_world] for prompt in known)
    overlaps = Counter("+".join(sorted(names)) for names in shared if len(names) > 1)
    return {
        "aligned": len(prompts),
        "by_split": _by_split(prompts),
        "distinct": len(known),
        "groups": splits.num_groups,
        "near_duplicates": splits.num_near_duplicates,
        "in_several_sources": dict(sorted(overlaps.items())),
    }


def _demonstration_report(rows: Sequence[tuple[str, str]], kept: Sequence[Demonstration]) -> Report:
    return {
        "rows": len(rows),
        "by_split": _by_split(kept),
        "dropped_empty": sum(not response for _, response in rows),
        "left_out_by_split": len(rows) - len(kept) - sum(not response for _, response in rows),
        "repeated": len(kept) - len({(row.prompt, row.response) for row in kept}),
    }


def _by_split(rows: Iterable[Prompt | Pair | Demonstration]) -> dict[str, int]:
    counts = Counter(row.split for row in rows)
    return {split: counts[split] for split in SPLITS}
