import gzip
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from allgood.errors import DataError
from pipelines.config.data import DataSource, PromptSource
from pipelines.data.sources import read_rows, source_identity
from tests.pipelines.data.files import write_jsonl

ROWS = [{"a": "ä"}, {"a": "b"}, {"a": "c"}]


def test_the_three_kinds_of_file_give_the_same_rows(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    paths = [
        write_jsonl(tmp_path / "rows.jsonl", ROWS),
        write_jsonl(tmp_path / "rows.jsonl.gz", ROWS),
        tmp_path / "rows.parquet",
    ]
    for path in paths:
        rows = read_rows(DataSource(path=str(path)))
        assert [row.values for row in rows] == ROWS
        unit = "row" if path.suffix == ".parquet" else "line"
        assert [row.place for row in rows] == [f"{path}, {unit} {number}" for number in (1, 2, 3)]


def test_blank_lines_are_skipped_and_still_counted_in_line_numbers(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [ROWS[0], "", "  ", ROWS[1]])
    assert [row.place for row in read_rows(DataSource(path=str(path)))] == [f"{path}, line 1", f"{path}, line 4"]


def test_a_character_of_two_escapes_is_read(tmp_path: Path) -> None:
    (tmp_path / "emoji.jsonl").write_bytes(b'{"a": "\\ud83d\\ude00"}\n')
    assert read_rows(DataSource(path=str(tmp_path / "emoji.jsonl")))[0].values == {"a": "\U0001f600"}


def test_limit_reads_the_first_rows_only(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [*ROWS, "broken"])
    assert len(read_rows(DataSource(path=str(path), limit=2))) == 2


def test_a_dataset_of_the_datasets_library_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "team" / "rows" / "part" / "train.jsonl", ROWS)
    monkeypatch.setattr("pipelines.data.sources.is_file", lambda source: False)  # a folder stands in for the hub
    rows = read_rows(DataSource(path="team/rows", hub_subset="part"))
    assert [row.values for row in rows] == ROWS
    assert rows[2].place == "team/rows[train], row 3"


def test_an_unknown_hub_dataset_is_one_clear_error() -> None:
    with pytest.raises(DataError, match="'nobody/nothing-at-all' cannot be loaded from the hub"):
        read_rows(DataSource(path="nobody/nothing-at-all"))


def test_identity_follows_the_content_of_files_and_the_name_of_hub_datasets(tmp_path: Path) -> None:
    first, copy = write_jsonl(tmp_path / "a.jsonl", ROWS), write_jsonl(tmp_path / "b.jsonl", ROWS)
    other = write_jsonl(tmp_path / "c.jsonl", ROWS[:2])
    identities = [source_identity(DataSource(path=str(path))) for path in (first, copy, other)]
    assert identities[0] == identities[1] != identities[2]
    assert source_identity(DataSource(path="team/rows", hub_subset="x")) == {
        "hub": "team/rows",
        "subset": "x",
        "split": "train",
    }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jsonl", b"", r"empty\.jsonl is empty"),
        ("blank.jsonl", b"\n\n", r"blank\.jsonl has no rows"),
        ("empty.jsonl.gz", gzip.compress(b"", mtime=0), r"empty\.jsonl\.gz has no rows"),
        ("broken.jsonl", b'{"a": 1}\n{"a": \n', r"broken\.jsonl, line 2: broken JSON at column \d+: Expecting value"),
        ("list.jsonl", b'{"a": 1}\n[1]\n', r"list\.jsonl, line 2: each line must be a JSON object, not list"),
        ("latin.jsonl", b'{"a": "\xe4"}\n', r"latin\.jsonl, line 1: byte 8 is not UTF-8"),
        ("plain.jsonl.gz", b'{"a": 1}\n', r"plain\.jsonl\.gz cannot be read after line 0: Not a gzipped file"),
        (
            "half.jsonl.gz",
            gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-9],
            r"half\.jsonl\.gz cannot be read after line",
        ),
        (
            "half.jsonl",
            b'{"a": 1}\n{"a": ["cut \\ud83d"]}\n',
            r"half\.jsonl, line 2: a text holds half .* .\\ud83d without",
        ),
        (
            "deep.jsonl",
            b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
            r"deep\.jsonl, line 1: lists or objects stand",
        ),
        ("text.parquet", b"hello", r"text\.parquet is not a readable parquet file"),
        ("data.csv", b"a,b", r"data\.csv has an unknown ending; data files are \.jsonl"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_rows(DataSource(path=str(tmp_path / name)))


def bad_columns(path: Path) -> Path:
    """A parquet file whose `note` is no UTF-8, and whose `when` is a date that Python does not have."""
    note = pa.array([b"fine", b"\xff"]).cast(pa.binary()).view(pa.string())
    when = pa.array([0, 2**60], type=pa.int64()).cast(pa.timestamp("ms"))
    pq.write_table(pa.table({"prompt": ["a", "b"], "note": note, "when": when}), path)
    return path


def test_columns_that_nobody_reads_may_hold_anything(tmp_path: Path) -> None:
    rows = [
        '{"prompt": "a", "number": ' + "9" * 5_000 + ', "half": "\\ud83d"}',
        '{"prompt": "b", "when": "99999-01-01"}',
    ]
    for path in (bad_columns(tmp_path / "a.parquet"), write_jsonl(tmp_path / "a.jsonl", rows)):
        read = read_rows(PromptSource(path=str(path)))
        assert [row.values for row in read] == [{"prompt": "a"}, {"prompt": "b"}]
        assert len(read[0].unread) == 2


def test_a_bad_column_that_is_read_is_named_with_its_row(tmp_path: Path) -> None:
    path = bad_columns(tmp_path / "a.parquet")
    for name in ("note", "when"):
        with pytest.raises(DataError, match=rf"a\.parquet, row 2: the column '{name}' cannot be read"):
            read_rows(PromptSource(path=str(path), columns={"prompt": name}))
    with pytest.raises(DataError, match=r"row 2: the column 'note' cannot be read"):
        read_rows(DataSource(path=str(path)))


def test_a_missing_file_or_a_folder_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.jsonl", tmp_path / "absent", Path("absent.parquet")):
        with pytest.raises(DataError, match=f"there is no data file .*{path.name}"):
            read_rows(DataSource(path=str(path)))
    with pytest.raises(DataError, match="is a folder; give one of its files"):
        read_rows(DataSource(path=str(tmp_path)))
