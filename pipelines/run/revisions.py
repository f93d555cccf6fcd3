"""Names on the hub, fixed to the commits that a run started with.

A branch such as `main` moves while a run goes through its stages. Here every name of a run's configuration gets its
commit, once: `hub_revisions.json` in the run folder keeps what was resolved, so that each later command and every
process of the run reads the same files. Runs on a `base` take its commits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from allgood.errors import ConfigError
from allgood.scorers.hub_names import at_revision, is_hub_name, split_revision
from pipelines.config.data import FILE_ENDINGS
from pipelines.config.run import RunConfig
from pipelines.output.files import write_json
from pipelines.output.hub import Kind, commit_of, is_commit

RECORD = "hub_revisions.json"
_MAIN = "main"
_START = "sft"  # a backbone that is the start policy

Raw = dict[str, Any]


def pinned(config: RunConfig) -> RunConfig:
    """The configuration with a commit for every name on the hub that the run reads; itself where there is none.

    Raises:
        ConfigError: A folder or file is given with a `revision`.
        ModelError: A name or revision is not on the hub, or nobody can say what it is now.
    """
    record = _Record(config)
    raw: Raw = config.model_dump(mode="json")
    for section, key, made in _models(raw):
        if not record.came_too_late("model", section[key], section["revision"], made):
            _pin(section, key, record, "model")
    for names in _lists_of_models(raw):
        names[:] = [_pinned_name(name, record) for name in names]
    for section in _with_encoders(raw):
        section["encoder"] = _pinned_name(section["encoder"], record)
    for source in _datasets(raw):
        if not record.came_too_late("dataset", source["path"], source["revision"], "data"):
            _pin(source, "path", record, "dataset")
    record.save()
    return RunConfig.model_validate(raw) if raw != config.model_dump(mode="json") else config


def _pin(section: Raw, key: str, record: _Record, kind: Kind) -> None:
    """Put the commit of `section[key]` into its `revision`."""
    source, revision = section[key], section.get("revision")
    if not _is_on_hub(source):
        if revision is not None:
            raise ConfigError(
                f"{key} {source!r} lies here, so its `revision` {revision!r} says nothing; leave it out, or give "
                "a name on the hub"
            )
        return
    name, written = split_revision(source)
    section[key], section["revision"] = name, record.commit(kind, name, revision or written or _MAIN)


def _pinned_name(source: str, record: _Record) -> str:
    """`owner/name@commit`, where there is no key for the revision."""
    if not _is_on_hub(source):
        return source
    name, revision = split_revision(source)
    return at_revision(name, record.commit("model", name, revision or _MAIN))


def _is_on_hub(source: str) -> bool:
    return is_hub_name(source) and not source.endswith(FILE_ENDINGS)


def _models(raw: Raw) -> Iterator[tuple[Raw, str, str | None]]:
    """Sections with `revision`, the key of the name that it belongs to, and where in the base its training is kept."""
    if raw["policy"]["model"] is not None:
        yield raw["policy"], "model", None if raw["sft"] is None else "sft/best"
    for name, setting in raw["properties"].items():
        if setting["kind"] == "http":  # a name at its server, and no name on the hub
            continue
        if setting.get("model") is not None:
            yield setting, "model", None
        elif setting["kind"] == "model" and setting["train"]["backbone"] != _START:
            yield setting["train"], "backbone", f"reward/{name}/best"
        evaluator = setting.get("evaluator") or {}
        if evaluator.get("model") is not None:
            yield evaluator, "model", None
        elif evaluator.get("backbone", _START) != _START:
            yield evaluator, "backbone", f"evaluator/{name}/best"


def _lists_of_models(raw: Raw) -> Iterator[list[str]]:
    yield from (setting["members"] for setting in raw["properties"].values() if setting["kind"] == "ensemble")


def _with_encoders(raw: Raw) -> Iterator[Raw]:
    references = [setting["reference"] for setting in raw["properties"].values()]
    references += [reference for also in raw["references"]["also"].values() for reference in also]
    yield from (reference for reference in references if reference.get("encoder") is not None)


def _datasets(raw: Raw) -> Iterator[Raw]:
    data = raw["data"]
    yield from (source for source in (*data["pairs"].values(), data["demonstrations"], data["prompts"]) if source)


class _Record:
    """What was resolved for a run and for its base: "model owner/name@revision" -> commit."""

    def __init__(self, config: RunConfig) -> None:
        self._path = config.folder / RECORD
        self._known = _read(config.base_folder / RECORD) | _read(self._path)
        self._before = dict(self._known)
        self._base = config.base_folder

    def commit(self, kind: Kind, name: str, revision: str) -> str:
        """The commit of a revision: the one that was found first."""
        if is_commit(revision):
            return revision
        key = f"{kind} {at_revision(name, revision)}"
        if key not in self._known:
            self._known[key] = commit_of(kind, name, revision)
        return self._known[key]

    def came_too_late(self, kind: Kind, name: str, revision: str | None, made: str | None) -> bool:
        """Whether `made`, a part of the base, was made from this name before there was a commit for it.

        It stays as it is, whatever the hub has now; and it may be where there is no network any more.
        """
        is_there = made is not None and (self._base / made).is_dir()
        return is_there and f"{kind} {at_revision(name, revision or _MAIN)}" not in self._known

    def save(self) -> None:
        """Keep what is new."""
        if self._known != self._before:
            write_json(self._path, self._known)


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    content: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return content
