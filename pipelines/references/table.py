"""The reference table: what the SFT policy's own samples earn per prompt and property, and whose samples they were.

`references/` of the base folder holds three files, or four. `table.parquet` has one row per (prompt id, property): n,
mean, std (ddof 1), empirical quantiles and the Gaussian 85 % quantile with standard errors, one column per set of
canned replies with their mean reward, and one with that of the data's own responses. `samples.parquet` has one row per
(prompt id, split, sample). `predicted.parquet`, where a property asks for it, has the predicted mean and std of every
prompt, sampled or not. `manifest.json` holds the keys of everything the numbers depend on, and the checksums of the
others; a table whose keys differ is refused.
Rewards in the table are raw; with `calibrate` they are divided by the temperature where they are used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from allgood.errors import ReferenceTableError
from pipelines.config.properties import (
    CannedReference,
    ConstantReference,
    DatasetReference,
    MeanReference,
    MedianReference,
    NoReference,
    PredictedReference,
    QuantileReference,
    Reference,
)
from pipelines.output.hashes import sha256_of

QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.85, 0.95)
TABLE, SAMPLES, MANIFEST = "table.parquet", "samples.parquet", "manifest.json"
PREDICTED = "predicted.parquet"
DATASET = "dataset"  # the table's column with the mean reward of the data's own responses

Keys = Mapping[str, Any]


def quantile_column(quantile: float) -> str:
    """The table's column of an empirical quantile, "q85" for 0.85."""
    return f"q{round(100 * quantile):02d}"


def canned_key(replies: Sequence[str]) -> str:
    """Names a set of canned replies: the same texts in the same order have the same key."""
    return hashlib.sha256(json.dumps(list(replies), ensure_ascii=False).encode()).hexdigest()[:16]


def needs_table(reference: Reference) -> bool:
    """Whether the reference differs by prompt, so that a run needs the table."""
    return not isinstance(reference, NoReference | ConstantReference)


def needs_samples(reference: Reference) -> bool:
    """Whether a prompt that is in no table needs samples of the SFT policy for it."""
    return needs_table(reference) and not isinstance(reference, CannedReference)


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
        if isinstance(reference, NoReference | ConstantReference):
            value = reference.value if isinstance(reference, ConstantReference) else 0.0
            return dict.fromkeys(ids, value)
        if isinstance(reference, PredictedReference):
            return self._predicted(property_name, reference, ids)
        known = self.rows.get(property_name, {})
        missing = [prompt for prompt in ids if prompt not in known]
        if missing:
            raise ReferenceTableError(
                f"{len(missing)} of {len(ids)} prompts have no {property_name} reference in {self.folder}, "
                f"the first is {missing[0]}; make them with `allgood reference CONFIG`"
            )
        rows = [known[prompt] for prompt in ids]
        values = dict(zip(ids, self._values(property_name, reference, rows), strict=True))
        failed = [prompt for prompt, value in values.items() if not np.isfinite(value)]
        if failed:
            raise ReferenceTableError(
                f"{len(failed)} of {len(ids)} prompts have a non-finite {property_name} reference in {self.folder}, "
                f"the first is {failed[0]}: {_why_failed(reference)}"
            )
        return values

    def draws(self, property_name: str, num: int, prompt_ids: Iterable[str]) -> dict[str, NDArray[np.float32]]:
        """Rewards of `num` random samples of each prompt: its first scored ones, as samples are independent."""
        rewards = _rewards(self.folder / SAMPLES, f"reward.{property_name}", self._samples_checksum())
        found = {}
        for prompt_id in dict.fromkeys(prompt_ids):
            scored = rewards.get(prompt_id, np.empty(0))
            scored = scored[np.isfinite(scored)]
            if len(scored) < num:
                raise ReferenceTableError(
                    f"prompt {prompt_id} has {len(scored)} scored {property_name} samples in {self.folder}, "
                    f"fewer than the {num} that reference draws needs; lower its num, or raise references.num_samples "
                    "and run `allgood reference` again"
                )
            found[prompt_id] = scored[:num].astype(np.float32)
        return found

    def moments(self, property_name: str) -> tuple[float, float]:
        """Mean and standard deviation (ddof 1) of a property over all SFT samples of all prompts, in raw rewards."""
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

    def _predicted(self, property_name: str, reference: PredictedReference, ids: list[str]) -> dict[str, float]:
        path = self.folder / PREDICTED
        rows = pq.read_table(path).to_pylist() if PREDICTED in self.manifest["files"] else []
        head = (property_name, reference.encoder)
        known = {row["prompt_id"]: row for row in rows if (row["property"], row.get("encoder")) == head}
        missing = [prompt for prompt in ids if prompt not in known]
        if missing:
            raise ReferenceTableError(
                f"{len(missing)} of {len(ids)} prompts have no predicted {property_name} reference in {self.folder}; "
                "make them with `allgood reference CONFIG`, with reference predicted in the config, as the property's "
                f"own or in `references.also.{property_name}`"
            )
        z = NormalDist().inv_cdf(reference.quantile)
        return {prompt: known[prompt]["mean"] + z * known[prompt]["std"] for prompt in ids}

    def _values(self, property_name: str, reference: Reference, rows: list[dict[str, Any]]) -> list[float]:
        if isinstance(reference, CannedReference):
            column = canned_column(reference.replies)
            if any(row.get(column) is None for row in rows):
                raise ReferenceTableError(
                    f"{self.folder} holds no rewards of these canned replies for property {property_name} "
                    f"(set {canned_key(reference.replies)}); make the table again with `allgood reference CONFIG`, "
                    f"where the property's own reference or `references.also.{property_name}` has these replies"
                )
            return [row[column] for row in rows]
        if isinstance(reference, DatasetReference):
            return self._dataset(property_name, rows)
        if isinstance(reference, MeanReference):
            return [row["mean"] for row in rows]
        if isinstance(reference, MedianReference):
            return [row["q50"] for row in rows]
        assert isinstance(reference, QuantileReference)
        if reference.method == "gaussian":
            z = NormalDist().inv_cdf(reference.quantile)
            return [row["mean"] + z * row["std"] for row in rows]
        if reference.quantile in QUANTILES:
            return [row[quantile_column(reference.quantile)] for row in rows]
        return self._empirical(property_name, reference.quantile, [row["prompt_id"] for row in rows])

    def _dataset(self, property_name: str, rows: list[dict[str, Any]]) -> list[float]:
        missing = [row["prompt_id"] for row in rows if row.get(DATASET) is None]
        if missing:
            raise ReferenceTableError(
                f"{len(missing)} of {len(rows)} prompts have no {property_name} reward of a response from the data in "
                f"{self.folder}, the first is {missing[0]}; run `allgood reference CONFIG` with "
                "reference dataset in the config, or use another reference where the data hold prompts alone"
            )
        return [row[DATASET] for row in rows]

    def _empirical(self, property_name: str, quantile: float, prompt_ids: list[str]) -> list[float]:
        """A quantile that the table does not hold, from the samples."""
        rewards = _rewards(self.folder / SAMPLES, f"reward.{property_name}", self._samples_checksum())
        return [float(np.nanquantile(rewards[prompt], quantile)) for prompt in prompt_ids]


def _why_failed(reference: Reference) -> str:
    if isinstance(reference, CannedReference):
        return "no canned reply could be scored with them: too long for the property's max_tokens, or failed"
    if isinstance(reference, DatasetReference):
        return "none of the data's own responses to them could be scored; raise the property's max_tokens"
    return "fewer than 2 of their samples could be scored; raise references.num_samples"


@lru_cache(maxsize=16)  # preview asks for the same column for thousands of settings
def _rewards(path: Path, column: str, checksum: str) -> dict[str, NDArray[np.float64]]:
    """Rewards per prompt in order of samples, NaN = failed. `checksum` tells files of one path apart."""
    samples = pq.read_table(path, columns=["prompt_id", column])
    rewards = pc.fill_null(pc.cast(samples[column], "float64"), float("nan")).to_numpy()
    rows: dict[str, list[int]] = {}
    for row, prompt in enumerate(samples["prompt_id"].to_pylist()):
        rows.setdefault(prompt, []).append(row)
    return {prompt: rewards[indices] for prompt, indices in rows.items()}


def canned_column(replies: Sequence[str]) -> str:
    """The table's column with the mean reward of a set of canned replies."""
    return f"canned.{canned_key(replies)}"
