"""The rooms of the house: imports run one way, from what a user runs down to the mathematics.

CONTRIBUTING.md and docs/explanation/how_it_flows.md describe the same order in words.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A room may import from rooms further left only; rooms of one group stand side by side and do not import each other.
HOUSE = (
    ("allgood",),
    ("actors",),
    ("output",),
    ("config",),
    ("run",),
    ("storage",),
    ("world", "data"),
    ("training", "cast", "objective"),
    ("references",),
    ("alignment", "evaluation"),
    ("reporting", "answers"),
    ("preview", "best_of_k", "comparison", "inspection", "export", "serve"),
    ("chain", "sweep", "new_run", "planning"),
    ("cli",),
    ("experiments",),  # everything is below it, and nothing imports it
)

# The console script lies in `allgood`, because the wheel holds nothing else; it imports the commands only when run.
CONSOLE_SCRIPT = ("allgood/__main__.py", "pipelines.cli")

# The same inside `actors`: what travels, then the parts of roles, the roles, and who starts and asks them.
ACTORS = (
    ("packing",),
    ("messages", "location", "meeting", "tables", "faults", "sources"),
    ("weights", "scoring"),
    ("generation", "learning"),
    ("rollout", "reward", "reference_policy", "learner"),
    ("start_policy",),
    ("cluster",),
)


def room(module: str) -> str:
    """The room of a module of the house: `pipelines.x.y` lies in x, everything else in its top-level package."""
    parts = module.split(".")
    return parts[1] if parts[0] == "pipelines" else parts[0]


def imports(packages: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """(file, its module, a module that it imports) of every import in the packages, also inside functions."""
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            file = path.relative_to(ROOT)
            importer = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                yield from ((str(file), importer, module) for module in _imported(node))


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        assert node.level == 0, "imports name their room in full"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def runs_up(importer: str, imported: str, order: Sequence[Sequence[str]]) -> bool:
    """Whether an import goes to a room that does not lie below the importer's."""
    floor = {name: number for number, names in enumerate(order) for name in names}
    return importer != imported and floor[imported] >= floor[importer]


def test_imports_run_one_way() -> None:
    packages = ("allgood", "actors", "pipelines", "experiments")
    wrong = [
        f"{file} imports {module}"
        for file, importer, module in imports(packages)
        if module.split(".")[0] in packages
        and runs_up(room(importer), room(module), HOUSE)
        and (file, module.rpartition(".")[0]) != CONSOLE_SCRIPT
    ]
    assert wrong == []


def test_imports_inside_actors_run_one_way() -> None:
    wrong = [
        f"{file} imports {module}"
        for file, importer, module in imports(["actors"])
        if module.startswith("actors.")
        and importer != "actors"
        and runs_up(importer.split(".")[1], module.split(".")[1], ACTORS)
    ]
    assert wrong == []


def test_every_room_has_its_place_in_the_order() -> None:
    pipelines = {path.stem for path in (ROOT / "pipelines").glob("*") if path.is_dir() or path.suffix == ".py"}
    rooms = {name for names in HOUSE for name in names} - {"allgood", "actors", "experiments"}
    assert pipelines - {"__init__", "__pycache__"} == rooms


@pytest.mark.parametrize(
    ("importer", "imported", "up"),
    [("cli", "sweep", False), ("output", "cast", True), ("reporting", "answers", True), ("data", "data", False)],
)
def test_a_room_imports_from_the_floors_below_only(importer: str, imported: str, up: bool) -> None:
    assert runs_up(importer, imported, HOUSE) == up
