"""References of the tiny run without actors: random responses, the real reward functions, the real table and keys."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.config.run import RunConfig
from pipelines.data import load_prepared
from pipelines.output.hashes import sha256_of
from pipelines.references.build import manifest_of, reference_prompts, table_rows
from pipelines.run.folder import RunFolder
from tests.pipelines import tiny_rewards

WORDS = ("bread", "river", "a", "of", "tea", "cold", "eau", "sky", "rhythm", "Danube")


def write_references(config: RunConfig, *, change: Callable[[pa.Table], pa.Table] = lambda rows: rows) -> None:
    """Write `references/` of the base; `change` alters the samples before the table is made."""
    folder = RunFolder(config.base_folder)
    prompts = reference_prompts(config, load_prepared(folder.data).prompts)
    random = np.random.default_rng(0)
    rows = [
        _row(prompt.id, prompt.split, prompt.text, sample, random)
        for prompt in prompts
        for sample in range(config.references.num_samples)
    ]
    samples = change(pa.Table.from_pylist(rows))
    folder.references.mkdir(parents=True, exist_ok=True)
    pq.write_table(samples, folder.references / "samples.parquet")
    table = table_rows(samples.to_pylist(), {}, list(config.properties))
    pq.write_table(pa.Table.from_pylist(table), folder.references / "table.parquet")
    manifest = manifest_of(config, prompts)
    manifest["files"] = {name: sha256_of(folder.references / name) for name in ("table.parquet", "samples.parquet")}
    (folder.references / "manifest.json").write_text(json.dumps(manifest))


def _row(prompt_id: str, split: str, prompt: str, sample: int, random: np.random.Generator) -> dict[str, object]:
    response = " ".join(random.choice(WORDS, size=random.integers(1, 9)))
    scores = {
        "short": tiny_rewards.short([prompt], [response])[0],
        "vowels": tiny_rewards.vowels([prompt], [response])[0],
    }
    return {
        "prompt_id": prompt_id,
        "split": split,
        "sample": sample,
        "prompt": prompt,
        "response": response,
        "finish_reason": str(random.choice(["eos", "length"])),
        "num_tokens": len(response.split()),
        **{f"reward.{name}": float(np.float32(score)) for name, score in scores.items()},
        **{f"gold.{name}": score for name, score in scores.items()},
    }
