"""The reference table: exact values, keys that must agree, files that must be whole."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from allgood.errors import ReferenceTableError
from pipelines.config.properties import (
    CannedReference,
    ConstantReference,
    DatasetReference,
    MeanReference,
    MedianReference,
    NoReference,
    QuantileReference,
)
from pipelines.config.references import canned_column
from pipelines.data import Demonstration, Pair, PreparedData
from pipelines.output.hashes import sha256_of
from pipelines.references.build import dataset_responses, normality_of, table_rows
from pipelines.references.table import ReferenceTable

REPLIES = ["Sorry.", "No."]
REWARDS = {"p1": [0.0, 1.0, 2.0, 3.0, 4.0], "p2": [1.0, 1.0, 7.0, float("nan"), 1.0]}
KEYS = {"policy": "abc", "sampling.max_new_tokens": 12}


def write_table(folder: Path) -> ReferenceTable:
    folder.mkdir()
    samples = [
        {"prompt_id": prompt, "reward.kind": reward} for prompt, rewards in REWARDS.items() for reward in rewards
    ]
    canned = {"kind": {canned_column(REPLIES): {"p1": -1.0, "p2": -2.0}, "dataset": {"p1": 9.0, "p2": 8.0}}}
    pq.write_table(pa.Table.from_pylist(table_rows(samples, canned, ["kind"])), folder / "table.parquet")
    pq.write_table(pa.Table.from_pylist(samples), folder / "samples.parquet")
    files = {name: sha256_of(folder / name) for name in ("table.parquet", "samples.parquet")}
    (folder / "manifest.json").write_text(json.dumps({"keys": KEYS, "files": files}))
    return ReferenceTable.load(folder)


def test_normality_is_reported_where_prompts_have_enough_samples() -> None:
    generator = np.random.default_rng(0)
    normal = generator.normal(size=(40, 64))
    samples = [
        {
            "prompt_id": f"p{prompt}",
            "reward.normal": normal[prompt, row],
            "reward.skewed": np.exp(3 * normal[prompt, row]),
        }
        for prompt in range(40)
        for row in range(64)
    ]
    samples[0] = samples[0] | {"reward.normal": float("nan")}  # its prompt is left out
    found = normality_of(samples, ["normal", "skewed"])
    assert found["normal"]["num_prompts"] == 39
    assert found["normal"]["share_rejected"] < 0.15
    assert found["skewed"] == {"num_prompts": 40, "share_rejected": 1.0}
    few = [{"prompt_id": prompt, "reward.kind": reward} for prompt, rewards in REWARDS.items() for reward in rewards]
    assert normality_of(few, ["kind"]) == {}


def test_values_are_those_of_the_definitions(tmp_path: Path) -> None:
    table = write_table(tmp_path / "references")

    def values(reference: object) -> list[float]:
        return list(table.reference_values("kind", reference, ["p1", "p2"]).values())

    # p1: mean 2, std (ddof 1) sqrt(2.5); p2 without its failed score: mean 2.5, std 3
    z = NormalDist().inv_cdf(0.85)
    np.testing.assert_allclose(values(MeanReference()), [2.0, 2.5])
    np.testing.assert_allclose(values(QuantileReference()), [2.0 + z * np.sqrt(2.5), 2.5 + z * 3.0])
    # linear interpolation: rank 0.85 * 4 = 3.4 of p1, 0.85 * 3 = 2.55 of p2 (1, 1, 1, 7)
    np.testing.assert_allclose(values(QuantileReference(method="empirical")), [3.4, 1.0 + 0.55 * 6.0])
    # 0.7 is not in the table and comes from the samples: rank 2.8, and 2.1
    np.testing.assert_allclose(values(QuantileReference(quantile=0.7, method="empirical")), [2.8, 1.0 + 0.1 * 6.0])
    np.testing.assert_allclose(values(MedianReference()), [2.0, 1.0])
    np.testing.assert_allclose(values(DatasetReference()), [9.0, 8.0])
    np.testing.assert_allclose(values(CannedReference(replies=REPLIES)), [-1.0, -2.0])
    np.testing.assert_allclose(values(ConstantReference(value=0.5)), [0.5, 0.5])
    np.testing.assert_allclose(values(NoReference()), [0.0, 0.0])


def test_rows_hold_counts_and_standard_errors(tmp_path: Path) -> None:
    row = write_table(tmp_path / "references").rows["kind"]["p1"]
    assert row["n"] == 5
    np.testing.assert_allclose(row["mean_se"], np.sqrt(2.5 / 5))
    assert row["q85_se"] > 0
    assert row["gaussian85_se"] > 0


def test_prompts_without_a_reference_are_counted_and_the_command_is_named(tmp_path: Path) -> None:
    table = write_table(tmp_path / "references")
    with pytest.raises(ReferenceTableError, match=r"2 of 3 prompts have no kind reference .* p8.*allgood reference"):
        table.reference_values("kind", MeanReference(), ["p1", "p8", "p9"])


def test_canned_replies_that_were_not_scored_are_refused(tmp_path: Path) -> None:
    table = write_table(tmp_path / "references")
    with pytest.raises(ReferenceTableError, match="canned replies"):
        table.reference_values("kind", CannedReference(replies=["Other."]), ["p1"])


def test_a_table_of_another_model_is_refused_by_the_key_that_differs(tmp_path: Path) -> None:
    table = write_table(tmp_path / "references")
    table.check(KEYS)
    table.check({"policy": "abc"})  # a run may need fewer properties than the table holds
    with pytest.raises(ReferenceTableError, match=r"belongs to another run: policy: table 'abc', run 'xyz'") as error:
        table.check(KEYS | {"policy": "xyz"})
    assert "max_new_tokens" not in str(error.value)


@pytest.mark.parametrize("name", ["table.parquet", "samples.parquet"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    write_table(tmp_path / "references")
    path = tmp_path / "references" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ReferenceTableError, match=name):
        ReferenceTable.load(tmp_path / "references")


def test_a_missing_table_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ReferenceTableError, match="allgood reference"):
        ReferenceTable.load(tmp_path / "references")


def test_too_few_scored_samples_are_an_error_not_a_number(tmp_path: Path) -> None:
    rows = table_rows(
        [{"prompt_id": "p", "reward.kind": float("nan")}, {"prompt_id": "p", "reward.kind": 1.0}], {}, ["kind"]
    )
    table = ReferenceTable(tmp_path, {"keys": {}}, {"kind": {"p": rows[0]}})
    with pytest.raises(ReferenceTableError, match="non-finite kind reference"):
        table.reference_values("kind", QuantileReference(), ["p"])


def test_draws_are_the_scored_samples_in_order(tmp_path: Path) -> None:
    table = write_table(tmp_path / "references")
    draws = table.draws("kind", 4, ["p1", "p2"])
    assert {prompt: values.tolist() for prompt, values in draws.items()} == {
        "p1": [0.0, 1.0, 2.0, 3.0],
        "p2": [1.0, 1.0, 7.0, 1.0],  # the failed one is left out
    }
    with pytest.raises(ReferenceTableError, match=r"p2 has 4 scored kind samples .* fewer than the 5"):
        table.draws("kind", 5, ["p1", "p2"])


def test_moments_run_over_all_scored_samples(tmp_path: Path) -> None:
    mean, std = write_table(tmp_path / "references").moments("kind")
    everything = [reward for rewards in REWARDS.values() for reward in rewards if np.isfinite(reward)]
    assert (mean, std) == pytest.approx((np.mean(everything), np.std(everything, ddof=1)))


def test_responses_of_the_data_are_the_propertys_own_chosen_ones_else_any() -> None:
    def pair(prompt: str, chosen: str) -> Pair:
        return Pair(prompt, prompt, chosen, "rejected", None, "alignment")

    data = PreparedData(
        prompts=[],
        pairs={"kind": [pair("p1", "a"), pair("p1", "b"), pair("p1", "a")], "safe": [pair("p1", "c"), pair("p2", "d")]},
        demonstrations=[Demonstration("p3", "p3", "e", "sft"), Demonstration("p2", "p2", "f", "sft")],
        report={},
    )
    assert dataset_responses(data, "kind") == {"p1": ["a", "b"], "p2": ["d"], "p3": ["e"]}
    assert dataset_responses(data, "safe") == {"p1": ["c"], "p2": ["d"], "p3": ["e"]}


def test_a_prompt_without_a_response_in_the_data_is_named(tmp_path: Path) -> None:
    table = write_table(tmp_path / "references")
    table.rows["kind"]["p2"]["dataset"] = None
    with pytest.raises(ReferenceTableError, match=r"1 of 2 prompts .* response from the data .* the first is p2"):
        table.reference_values("kind", DatasetReference(), ["p1", "p2"])
