"""The reference table: what the start policy's own samples earn per prompt and property, and whose samples they were.

`references/` of the base folder holds three files, or four. `table.parquet` has one row per (prompt id, property): n,
mean, std (ddof 1), empirical quantiles and the Gaussian 85 % quantile with standard errors, one column per set of
canned replies with their mean reward, and one with that of the data's own responses. `samples.parquet` has one row per
(prompt id, split, sample). `predicted.parquet`, where a property asks for it, has the predicted mean and std of every
prompt, sampled or not. `manifest.json` holds the keys of everything the numbers depend on, and the checksums of the
others; a table whose keys differ is refused.
Rewards in the table are raw; with `calibrate` they are divided by the temperature where they are used.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from allgood.errors import ReferenceTableError
from pipelines.config.references import Reference
from pipelines.output.hashes import sha256_of

TABLE, SAMPLES, MANIFEST = "table.parquet", "samples.parquet", "manifest.json"
PREDICTED = "predicted.parquet"

Keys = Mapping[str, Any]


@dataclass(frozen=True)
class ReferenceTable:
    """A table as read from disk. `rows[property][prompt_id]` is a row as a dict of columns."""

    folder: Path
    manifest: dict[str, Any]
    rows: dict[str, dict[str, dict[str, Any]]]

    @staticmethod
    def load(folder: Path) -> ReferenceTable:
        """Read and verify. ReferenceTableError names the file that is missing or does not match its checksum."""
        manifest_path = folder / MANIFEST
        if not manifest_path.is_file():
            raise ReferenceTableError(
                f"there is no reference table in {folder}; make it with `allgood reference CONFIG`"
            )
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        for name, checksum in manifest["files"].items():
            if not (folder / name).is_file() or sha256_of(folder / name) != checksum:
                raise ReferenceTableError(
                    f"{folder / name} is missing or damaged (its checksum differs from {MANIFEST}); "
                    "make the table again with `allgood reference CONFIG`"
                )
        rows: dict[str, dict[str, dict[str, Any]]] = {}
        for row in pq.read_table(folder / TABLE).to_pylist():
            rows.setdefault(row["property"], {})[row["prompt_id"]] = row
        return ReferenceTable(folder, manifest, rows)

    def check(self, expected: Keys) -> None:
        """Refuse a table of other models, templates or settings; ReferenceTableError names each key that differs."""
        held = self.manifest["keys"]
        differing = [name for name, value in expected.items() if held.get(name) != value]
        if differing:
            shown = "; ".join(f"{name}: table {held.get(name)!r}, run {expected[name]!r}" for name in differing)
            raise ReferenceTableError(
                f"the reference table in {self.folder} belongs to another run: {shown}. "
                "Make it again with `allgood reference CONFIG`"
            )

    def reference_values(self, property_name: str, reference: Reference, prompt_ids: Iterable[str]) -> dict[str, float]:
        """r_ref per prompt, raw (not divided by a temperature). ReferenceTableError says how many prompts miss."""
        ids = list(dict.fromkeys(prompt_ids))
        if reference.fixed is not None:
            return dict.fromkeys(ids, reference.fixed)
        if reference.needs == "head":
            return self._predicted(property_name, reference, ids)
        known = self.rows.get(property_name, {})
        missing = [prompt for prompt in ids if prompt not in known]
        if missing:
            raise ReferenceTableError(
                f"{len(missing)} of {len(ids)} prompts have no {property_name} reference in {self.folder}, "
                f"the first is {missing[0]}; make them with `allgood reference CONFIG`"
            )
        values = self._values(property_name, reference, {prompt: known[prompt] for prompt in ids})
        failed = [prompt for prompt, value in values.items() if not np.isfinite(value)]
        if failed:
            raise ReferenceTableError(
                f"{len(failed)} of {len(ids)} prompts have a non-finite {property_name} reference in {self.folder}, "
                f"the first is {failed[0]}: {reference.why_failed}"
            )
        return values

    def known_references(self, property_name: str, reference: Reference) -> dict[str, float]:
        """r_ref of every prompt that has a finite one here, raw; for a reference that is not one fixed number."""
        rows = self._heads(property_name, reference) if reference.needs == "head" else self.rows.get(property_name, {})
        found = {prompt: reference.from_table(row) for prompt, row in rows.items()}
        if reference.needs == "samples" and None in found.values():
            return _finite(self._from_samples(property_name, reference, list(rows)))
        return _finite({prompt: value for prompt, value in found.items() if value is not None})

    def known_draws(self, property_name: str, num: int) -> dict[str, NDArray[np.float32]]:
        """Rewards of `num` samples of every prompt that has so many scored ones; the same as `draws` gives."""
        scored = self._scored(property_name)
        return {prompt: values[:num].astype(np.float32) for prompt, values in scored.items() if len(values) >= num}

    def draws(self, property_name: str, num: int, prompt_ids: Iterable[str]) -> dict[str, NDArray[np.float32]]:
        """Rewards of `num` random samples of each prompt: its first scored ones, as samples are independent."""
        rewards = self._scored(property_name)
        found = {}
        for prompt_id in dict.fromkeys(prompt_ids):
            scored = rewards.get(prompt_id, np.empty(0))
            if len(scored) < num:
                raise ReferenceTableError(
                    f"prompt {prompt_id} has {len(scored)} scored {property_name} samples in {self.folder}, "
                    f"fewer than the {num} that reference draws needs; lower its num, or raise references.num_samples "
                    "and run `allgood reference` again"
                )
            found[prompt_id] = scored[:num].astype(np.float32)
        return found

    def moments(self, property_name: str) -> tuple[float, float]:
        """Mean and standard deviation (ddof 1) of a property over all pi_0 samples of all prompts, in raw rewards."""
        rewards = _rewards(self.folder / SAMPLES, f"reward.{property_name}", self._samples_checksum())
        everything = np.concatenate(list(rewards.values()))
        finite = everything[np.isfinite(everything)]
        if len(finite) < 2 or not finite.std(ddof=1) > 0:
            raise ReferenceTableError(
                f"the rewards of property {property_name} in {self.folder} are all equal or failed, so they have no "
                "standard deviation to divide by; use another transform or objective"
            )
        return float(finite.mean()), float(finite.std(ddof=1))

    def _samples_checksum(self) -> str:
        checksum: str = self.manifest["files"][SAMPLES]
        return checksum

    def _scored(self, property_name: str) -> dict[str, NDArray[np.float64]]:
        """Rewards of every prompt's samples that could be scored, in order of samples."""
        rewards = _rewards(self.folder / SAMPLES, f"reward.{property_name}", self._samples_checksum())
        return {prompt: values[np.isfinite(values)] for prompt, values in rewards.items()}

    def _predicted(self, property_name: str, reference: Reference, ids: list[str]) -> dict[str, float]:
        known = self._heads(property_name, reference)
        missing = [prompt for prompt in ids if prompt not in known]
        if missing:
            raise ReferenceTableError(
                f"{len(missing)} of {len(ids)} prompts have no predicted {property_name} reference in {self.folder}; "
                "make them with `allgood reference CONFIG`, with reference predicted in the config, as the property's "
                f"own or in `references.also.{property_name}`"
            )
        return self._values(property_name, reference, {prompt: known[prompt] for prompt in ids})

    def _heads(self, property_name: str, reference: Reference) -> dict[str, dict[str, Any]]:
        """What the head of a predicted reference gave, by prompt id."""
        path = self.folder / PREDICTED
        rows = pq.read_table(path).to_pylist() if PREDICTED in self.manifest["files"] else []
        (encoder,) = reference.encoders
        head = (property_name, encoder)
        return {row["prompt_id"]: row for row in rows if (row["property"], row.get("encoder")) == head}

    def _values(
        self, property_name: str, reference: Reference, rows: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, float]:
        """r_ref per prompt from its row, or from its samples where the rows do not hold such a value."""
        found = {prompt: reference.from_table(row) for prompt, row in rows.items()}
        absent = [prompt for prompt, value in found.items() if value is None]
        if absent and reference.needs == "samples":
            return self._from_samples(property_name, reference, list(rows))
        if absent:
            raise ReferenceTableError(
                f"for {len(absent)} of {len(rows)} prompts {self.folder} holds no rewards of "
                f"{reference.texts_in_words} for the reference of property {property_name}, the first is "
                f"{absent[0]}; run `allgood reference CONFIG` with this reference in the config, as the property's own "
                f"or in `references.also.{property_name}`, or use another reference"
            )
        return {prompt: value for prompt, value in found.items() if value is not None}

    def _from_samples(self, property_name: str, reference: Reference, prompt_ids: list[str]) -> dict[str, float]:
        rewards = _rewards(self.folder / SAMPLES, f"reward.{property_name}", self._samples_checksum())
        width = max(len(rewards[prompt]) for prompt in prompt_ids)
        grid = np.full((len(prompt_ids), width), np.nan)
        for row, prompt in enumerate(prompt_ids):
            grid[row, : len(rewards[prompt])] = rewards[prompt]
        return dict(zip(prompt_ids, reference.from_samples(grid, None).tolist(), strict=True))


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {prompt: value for prompt, value in values.items() if np.isfinite(value)}


@lru_cache(maxsize=16)  # preview asks for the same column for thousands of settings
def _rewards(path: Path, column: str, checksum: str) -> dict[str, NDArray[np.float64]]:
    """Rewards per prompt in order of samples, NaN = failed. `checksum` tells files of one path apart."""
    samples = pq.read_table(path, columns=["prompt_id", column])
    rewards = pc.fill_null(pc.cast(samples[column], "float64"), float("nan")).to_numpy()
    rows: dict[str, list[int]] = {}
    for row, prompt in enumerate(samples["prompt_id"].to_pylist()):
        rows.setdefault(prompt, []).append(row)
    return {prompt: rewards[indices] for prompt, indices in rows.items()}
