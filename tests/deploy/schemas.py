"""The published schemas of the Kubernetes objects in `deploy/`, as one small file, so that tests need no network.

Made by `python -m tests.deploy.schemas CRDS DEFINITIONS` from KubeRay 1.7.0 and Kubernetes 1.34 (Apache-2.0). CRDS is
`ray-operator/config/crd/bases` of KubeRay's repository. DEFINITIONS is the folder `v1.34.0-local-strict` of the package
kubernetes-validate 1.37.0, made of the API of Kubernetes. Descriptions are left out, references are written out, and an
object takes only the keys that its schema names: the API server drops others without a word.
"""

from __future__ import annotations

import json
import lzma
import sys
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

FILE = Path(__file__).with_name("schemas.json.xz")

_RAY = {"RayJob": "rayjobs"}
_CORE = {
    "ConfigMap": "configmap-v1",
    "Deployment": "deployment-apps-v1",
    "NetworkPolicy": "networkpolicy-networking-v1",
    "PersistentVolumeClaim": "persistentvolumeclaim-v1",
    "PodDisruptionBudget": "poddisruptionbudget-policy-v1",
    "Service": "service-v1",
}
_META = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}


@cache
def schemas() -> dict[str, Any]:
    """JSON schema by kind."""
    stored: dict[str, Any] = json.loads(lzma.decompress(FILE.read_bytes()))
    return stored


def _of_crd(path: Path) -> Any:
    versions = YAML(typ="safe").load(path)["spec"]["versions"]
    (schema,) = (version["schema"]["openAPIV3Schema"] for version in versions if version["name"] == "v1")
    schema["properties"]["metadata"] = _META
    return _closed(schema)


def _closed(schema: Any) -> Any:
    """Without descriptions, and without room for unknown keys."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if not key.startswith(("description", "x-kubernetes"))}
    if "properties" in kept:
        kept["properties"] = {name: _closed(value) for name, value in schema["properties"].items()}
        if "x-kubernetes-preserve-unknown-fields" not in schema:
            kept.setdefault("additionalProperties", False)
    return {key: value if key == "properties" else _closed(value) for key, value in kept.items()}


def _of_core(folder: Path, name: str) -> Any:
    definitions = json.loads((folder / "_definitions.json").read_text(encoding="utf-8"))["$defs"]

    def written_out(schema: Any) -> Any:
        if isinstance(schema, list):
            return [written_out(item) for item in schema]
        if not isinstance(schema, dict):
            return schema
        if "$ref" in schema:
            return written_out(definitions[schema["$ref"].rpartition("/")[2]])
        return {key: written_out(value) for key, value in schema.items()}

    return _closed(written_out(json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))))


def _write(crds: Path, definitions: Path) -> None:
    found = {kind: _of_crd(crds / f"ray.io_{name}.yaml") for kind, name in _RAY.items()}
    found |= {kind: _of_core(definitions, name) for kind, name in _CORE.items()}
    text = json.dumps(found, sort_keys=True, separators=(",", ":"))
    FILE.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    _write(Path(sys.argv[1]), Path(sys.argv[2]))
