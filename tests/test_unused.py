"""What is published is what runs: every public function of `allgood` is reached by the product or by an example."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.pages import python_of_pages, source_of
from tests.unused import Module, Package

ROOT = Path(__file__).resolve().parent.parent
ENTRY_POINT = re.compile(r"\b(allgood\.integrations\.\w+)[.:](\w+)")
PROGRAMS = ("actors", "pipelines", "experiments", "examples")


def allgood() -> Package:
    modules = {}
    for path in sorted((ROOT / "allgood").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        modules[name] = Module.of(path.read_text(encoding="utf-8"))
    names = modules["allgood"].definitions["_NAMES"]
    assert isinstance(names, ast.Assign)
    return Package(modules, ast.literal_eval(names.value))


def programs() -> Iterator[str]:
    """Sources of the product, its examples, the Python of the documentation's pages, and what trainers call."""
    for folder in PROGRAMS:
        yield from (path.read_text(encoding="utf-8") for path in sorted((ROOT / folder).rglob("*.py")))
    yield from (source_of(block) for _, block in python_of_pages())
    yield from entry_points()


def entry_points() -> Iterator[str]:
    """Trainers import an adapter by the name that their configuration has, and call all methods that it shows."""
    texts = [(ROOT / "docs" / "how-to" / "trainers.md").read_text(encoding="utf-8")]
    texts += [path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").glob("*.py"))]
    modules = allgood().modules
    for module, name in {found for text in texts for found in ENTRY_POINT.findall(text)}:
        yield f"from {module} import {name}\n{name}"
        definition = modules[module].definitions.get(name)
        for part in definition.body if isinstance(definition, ast.ClassDef) else []:
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"from {module} import {name}\n{name}.{part.name}"


def test_every_public_function_of_the_mathematics_is_used() -> None:
    assert set(allgood().unused(programs())) == set()


SOURCES = {
    "maths": "",
    "maths.means": """
        from maths.sums import total

        def mean(values):
            return total(values) / len(values)

        def median(values):
            return sorted(values)[len(values) // 2]
    """,
    "maths.sums": """
        def total(values):
            return sum(values)

        class Running:
            def add(self, value):
                self.value = value

            def forget(self):
                self.value = 0.0
    """,
    "maths.named": """
        from maths import transforms

        TABLE = ("square",)

        def named(name):
            return vars(transforms)[name if name in TABLE else None]
    """,
    "maths.transforms": """
        def square(x):
            return x * x

        def cube(x):
            return x * x * x
    """,
}
EVERYTHING = {
    *("maths.means.mean", "maths.means.median", "maths.sums.total", "maths.sums.Running"),
    *("maths.named.named", "maths.transforms.square", "maths.transforms.cube"),
}


def unused(*programs: str) -> set[str]:
    package = Package({name: Module.of(dedent(text)) for name, text in SOURCES.items()}, {"middle": "means"})
    return set(package.unused([dedent(program) for program in programs]))


def test_without_a_program_everything_is_unused() -> None:
    assert unused() == unused("mean = total = 3\nprint('median')") == EVERYTHING


@pytest.mark.parametrize(
    "program",
    [
        "from maths.means import mean\nmean([1])",
        "from maths.means import mean as average\nprint(map(average, []))",
        "from maths import means\nmeans.mean([1])",
        "import maths.means\nmaths.means.mean([1])",
        "import maths.means as m\ndef late():\n    return m.mean([1])",
        "def late():\n    from maths.means import mean\n    return mean([1])",
    ],
)
def test_a_caller_keeps_a_function_and_what_it_calls(program: str) -> None:
    assert unused(program) == EVERYTHING - {"maths.means.mean", "maths.sums.total"}


@pytest.mark.parametrize(
    "program",
    [
        "from maths.means import mean",  # imported and never called
        "def mean(values):\n    return values\nmean([1])",  # another function of that name
        "from maths import means\ndef f(means):\n    return means.mean([1])",  # a parameter of the module's name
    ],
)
def test_a_name_that_stands_for_something_else_keeps_nothing(program: str) -> None:
    assert unused(program) == EVERYTHING


def test_names_that_another_module_imports_are_followed_to_their_home() -> None:
    assert unused("from maths import means\nmeans.total([1])") == EVERYTHING - {"maths.sums.total"}


def test_a_method_is_used_when_anything_has_an_attribute_of_its_name() -> None:
    program = "from maths.sums import Running\nRunning().add(1)"
    assert unused(program) == EVERYTHING - {"maths.sums.Running"} | {"maths.sums.Running.forget"}


def test_functions_that_are_looked_up_by_name_are_used_where_the_name_is_written() -> None:
    found = unused("from maths.named import named\nnamed('square')(2)")
    assert found == EVERYTHING - {"maths.named.named", "maths.transforms.square"}
