"""A quick import without torch or Ray, and a mathematics that knows nothing of what stands on it."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "ray", "transformers", "pydantic", "typer")
TRAINERS = {"skyrl": {"skyrl_gym"}, "trl": {"trl"}, "trl_sft": {"trl"}}
FOREIGN = ("ray", "pydantic", "actors", "pipelines", "experiments")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)


def test_import_is_quick_and_loads_neither_torch_nor_ray() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import allgood; print(time.perf_counter() - start, "
        f"[name for name in {HEAVY} if name in sys.modules])"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    seconds, loaded = done.stdout.split(" ", 1)
    assert float(seconds) < 2
    assert loaded.strip() == "[]"


def test_the_mathematics_never_imports_ray_or_the_other_packages() -> None:
    # __main__ is the command, and reaches the pipelines only when it runs.
    code = (
        "import importlib, pkgutil, sys, allgood\n"
        "for module in pkgutil.walk_packages(allgood.__path__, 'allgood.'):\n"
        "    if module.name != 'allgood.__main__' and '.integrations' not in module.name:\n"
        "        importlib.import_module(module.name)\n"
        f"print(sorted({{m.split('.')[0] for m in sys.modules}} & set({FOREIGN})))"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_the_mathematics_imports_only_what_it_declares_and_models_only_where_they_are_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    plain = {"allgood", *names(project["dependencies"])}
    with_models = plain | names(project["optional-dependencies"]["scorers"])
    for path in (ROOT / "allgood").rglob("*.py"):
        if path.name != "__main__.py":
            allowed = with_models if {"scorers", "integrations"} & set(path.parts) else plain
            if "integrations" in path.parts:  # besides, the trainer that the module is for
                allowed = allowed | TRAINERS.get(path.stem, set())
            assert imported(path) - set(sys.stdlib_module_names) <= allowed, path


def imported(path: Path) -> set[str]:
    """Top-level names of everything that a module imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def names(requirements: list[str]) -> set[str]:
    """Distributions of the mathematics are imported by their own names; of `ruamel.yaml` that is `ruamel`."""
    return {Requirement(requirement).name.split(".")[0] for requirement in requirements}


def test_help_answers_within_a_second_and_without_torch() -> None:
    best = min(_timed([sys.executable, "-m", "allgood", "--help"]) for _ in range(5))
    assert best < 1.0
    done = python(
        "import sys; import pipelines.cli; print([m for m in ('torch', 'ray', 'pydantic') if m in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


def _timed(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
    return time.perf_counter() - start
