"""Names on the hub are fixed to the commit that a run started with: against a stand-in of the hub, and its cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import huggingface_hub.constants
import pytest
from pydantic import ValidationError

from allgood.errors import ConfigError, ModelError
from pipelines.alignment.checkpoints import config_hash
from pipelines.cast.request import scorer_spec
from pipelines.config.loading import load_config, save_config
from pipelines.config.run import RunConfig
from pipelines.output.hub import cached_commit, commit_of, is_commit
from pipelines.run.revisions import RECORD, pinned
from pipelines.run.start_policy import start_policy
from pipelines.sweep.shared import differing
from tests.actors.tiny_models import save_policy, save_scorer
from tests.http_server import serving_in_threads
from tests.pipelines.tiny_run import tiny_config

OLD, NEW = "1" * 40, "2" * 40


@contextmanager
def hub_stand_in(commits: dict[str, str]) -> Iterator[str]:
    """The part of the hub's API that says which commit a revision is: "models/owner/name/revision/main" -> commit."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            commit = commits.get(self.path.removeprefix("/api/"))
            body = json.dumps({"id": "owner/name", "sha": commit}).encode()
            self.send_response(404 if commit is None else 200)
            if commit is None:
                has_name = any(known.startswith(self.path[5:].split("/revision/")[0]) for known in commits)
                self.send_header("X-Error-Code", "RevisionNotFound" if has_name else "RepoNotFound")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving_in_threads(Handler) as url:
        yield url


def cache_model(cache: Path, name: str, commit: str, source: Path, *, kind: str = "models") -> None:
    """Put a folder into a cache of the hub as the files of a commit, which `main` then is."""
    folder = cache / f"{kind}--{name.replace('/', '--')}"
    shutil.copytree(source, folder / "snapshots" / commit)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(commit)


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the hub would say, by "kind name@revision"."""
    commits: dict[str, str] = {}
    monkeypatch.setattr(
        "pipelines.run.revisions.commit_of", lambda kind, name, revision: commits[f"{kind} {name}@{revision}"]
    )
    return commits


def run(folder: Path, **changes: object) -> RunConfig:
    liked = {"kind": "model", "model": "owner/reward", "evaluator": {"model": "owner/judge", "revision": "v2"}}
    settings: dict[str, object] = {
        "base": None,
        "sft": None,
        "policy": {"model": "owner/policy"},
        "data": {"prompts": {"path": "owner/prompts", "revision": "v1"}},
        "properties": {"liked": liked},
        "objective": {"kind": "formula", "expression": "liked"},
    }
    return tiny_config(folder, **(settings | changes))


def test_every_name_gets_the_commit_that_it_has_at_the_start_and_keeps_it(
    tmp_path: Path, resolved: dict[str, str]
) -> None:
    resolved |= {"model owner/policy@main": OLD, "model owner/reward@main": OLD}
    resolved |= {"model owner/judge@v2": NEW, "dataset owner/prompts@v1": NEW}
    config = pinned(run(tmp_path))
    assert config.data.prompts is not None
    assert (config.policy.revision, config.data.prompts.revision) == (OLD, NEW)
    liked = config.properties["liked"]
    assert liked.kind == "model"
    assert liked.evaluator is not None
    assert (liked.revision, liked.evaluator.revision) == (OLD, NEW)
    assert start_policy(config).source == f"owner/policy@{OLD}"
    assert getattr(scorer_spec(config, "liked"), "source", None) == f"owner/reward@{OLD}"
    resolved |= {"model owner/policy@main": NEW, "model owner/reward@main": NEW}  # the hub has moved
    assert pinned(run(tmp_path)) == config
    assert json.loads((config.folder / RECORD).read_text())["model owner/policy@main"] == OLD
    assert pinned(config) == config  # as it is stored, and read by `resume`
    save_config(config, tmp_path / "stored.yaml")
    assert load_config(tmp_path / "stored.yaml") == config


def test_members_and_encoders_carry_their_revision_in_the_name(tmp_path: Path, resolved: dict[str, str]) -> None:
    resolved |= {"model a/one@main": OLD, "model a/two@v3": NEW, "model a/reader@main": NEW}
    reference = {"kind": "predicted", "quantile": 0.85, "encoder": "a/reader"}
    local = save_scorer(tmp_path / "three")
    tone = {"kind": "ensemble", "members": ["a/one", "a/two@v3", local], "reference": reference}
    config = pinned(
        tiny_config(tmp_path, properties={"tone": tone}, objective={"kind": "formula", "expression": "tone"})
    )
    setting = config.properties["tone"]
    assert setting.kind == "ensemble"
    assert setting.members == [f"a/one@{OLD}", f"a/two@{NEW}", local]
    assert setting.reference.encoders == {f"a/reader@{NEW}"}


def test_a_run_on_a_base_takes_its_commits(tmp_path: Path, resolved: dict[str, str]) -> None:
    base = tmp_path / "base"
    (base / "sft" / "best").mkdir(parents=True)
    (base / "data").mkdir()
    (base / RECORD).write_text(json.dumps({"model owner/reward@main": OLD}))
    resolved |= {"model owner/reward@main": NEW, "model owner/judge@v2": NEW}
    config = pinned(run(tmp_path, base=base, sft={}))
    liked = config.properties["liked"]
    assert liked.kind == "model"
    assert liked.revision == OLD
    assert config.policy.revision is None  # the base was made from it before there was a commit
    assert config.data.prompts is not None
    assert config.data.prompts.revision == "v1"


def test_a_run_on_folders_is_left_as_it_is(tmp_path: Path, resolved: dict[str, str]) -> None:
    config = tiny_config(tmp_path)
    assert pinned(config) is config
    assert not (config.folder / RECORD).exists()
    assert config_hash(pinned(config)) == config_hash(config)


def test_a_folder_has_no_revision_and_a_revision_needs_a_name(tmp_path: Path, resolved: dict[str, str]) -> None:
    local = save_policy(tmp_path / "policy")
    with pytest.raises(ConfigError, match=r"lies here, so its `revision` 'v1' says nothing"):
        pinned(run(tmp_path, policy={"model": local, "revision": "v1"}))
    with pytest.raises(ValidationError, match=r"revision 'v1' belongs to a `model`, and this one is trained here"):
        run(tmp_path, properties={"liked": {"kind": "model", "revision": "v1"}})
    with pytest.raises(ValidationError, match=r"the backbone is the start policy"):
        run(tmp_path, properties={"liked": {"kind": "model", "train": {"revision": "v1"}}})


def test_a_base_of_an_earlier_version_is_no_other_base_because_of_commits(tmp_path: Path) -> None:
    made = run(tmp_path)
    wanted = run(tmp_path, policy={"model": "owner/policy", "revision": OLD})
    assert list(differing(made, wanted)) == []
    assert list(differing(wanted, run(tmp_path, policy={"model": "owner/policy", "revision": NEW}))) == ["policy"]


def test_the_hub_or_its_cache_says_what_a_revision_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache_model(tmp_path, "owner/name", OLD, Path(save_policy(tmp_path / "policy")))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert cached_commit("model", "owner/name", "main") == OLD
    assert cached_commit("dataset", "owner/name", "main") is None
    assert commit_of("model", "owner/name", "main") == OLD
    assert is_commit(NEW)
    assert not is_commit("main")
    with pytest.raises(ModelError, match=r"'owner/other' .* the hub cannot be reached"):
        commit_of("model", "owner/other", "main")


PROGRAM = """
import torch
from allgood.errors import ModelError
from allgood.scorers.models import load_policy, load_reward_model
from pipelines.output.hashes import model_hash, tokenizer_hash
from pipelines.output.hub import commit_of
import sys

def shown(call):
    try:
        return call()
    except ModelError as error:
        return f"error: {error}"

cpu = torch.device("cpu")
if sys.argv[1] == "offline":
    for commit in sys.argv[2:]:
        source = f"owner/scorer@{commit}"
        model, tokenizer = load_reward_model(source, device=cpu)
        print(round(float(model.get_input_embeddings().weight[5, 0]), 6), model_hash(source), len(tokenizer))
else:
    for revision in sys.argv[2:]:
        print(shown(lambda: commit_of("model", *revision.split("@"))))
"""


def outputs(*arguments: str, environment: dict[str, str]) -> list[str]:
    settings = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=settings | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_files_of_a_commit_are_read_without_a_network(tmp_path: Path) -> None:
    for commit, seed in ((OLD, 0), (NEW, 1)):
        source = Path(save_scorer(tmp_path / commit, "llama", seed=seed))
        cache_model(tmp_path / "hub", "owner/scorer", commit, source)
    environment = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    old, new = (line.split() for line in outputs("offline", OLD, NEW, environment=environment))
    assert old[0] != new[0]
    assert (old[1], new[1]) == (f"hub:owner/scorer@{OLD}", f"hub:owner/scorer@{NEW}")


def test_the_hub_is_asked_once_and_its_refusals_are_sentences(tmp_path: Path) -> None:
    commits = {"models/owner/name/revision/main": OLD, "models/owner/name/revision/v1": NEW}
    with hub_stand_in(commits) as url:
        environment = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": url}
        names = ("owner/name@main", "owner/name@v1", "owner/name@v9", "owner/mispelt@main")
        found = outputs("online", *names, environment=environment)
    assert found[:2] == [OLD, NEW]
    assert found[2].startswith("error: 'owner/name@v9' has no such revision on the hub")
    assert found[3].startswith("error: there is no model 'owner/mispelt' on the hub that you may see")
