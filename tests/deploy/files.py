"""The cluster files as values, and what a command in one of them says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from typer.main import get_command

from actors.cluster.cast import CastRequest
from actors.cluster.placement import Request
from pipelines.cast.request import align_request, reference_request
from pipelines.cli import app
from pipelines.config.loading import load_config
from pipelines.config.run import RunConfig

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = tuple(sorted((DEPLOY / "kubernetes").glob("*.yaml")))


def documents(path: Path) -> list[Any]:
    """All YAML documents of a file."""
    return list(YAML(typ="safe").load_all(path))


def objects(kind: str) -> dict[str, Any]:
    """Kubernetes objects of one kind by name, of all manifests."""
    found = [document for path in MANIFESTS for document in documents(path) if document["kind"] == kind]
    return {item["metadata"]["name"]: item for item in found}


def parsed(words: list[str]) -> Any:
    """The context of an `allgood` command line, whose words follow `python -m pipelines.cli`; wrong words raise."""
    group: Any = get_command(app)
    context = group.make_context("allgood", list(words))
    name, command, rest = group.resolve_command(context, list(words))
    return command.make_context(name, rest, parent=context)


def requests_of(config: RunConfig) -> list[list[Request]]:
    """What the stages with the most roles ask a cluster for."""
    return [_requests(request) for request in (align_request(config), reference_request(config))]


def _requests(request: CastRequest) -> list[Request]:
    return [Request(role, part.resources) for role, part in request.parts().items()]


def config_of(text: str, folder: Path) -> RunConfig:
    """The run file with this text."""
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)
