"""Write `docs/reference/api/`: a page per module of allgood, from the docstrings; with `--check`, only compare.

Modules are read, not imported, so that the check needs no torch and no optional dependency. A public function, class or
method without a docstring is an error in either mode.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from actors.tables import markdown_table
from docs.docstrings import as_markdown, summary

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "allgood"
FOLDER = Path(__file__).parent / "reference" / "api"
NOTE = "<!-- Written by `python -m docs.generate_api` from the docstrings; do not edit. -->"
WIDTH = 100

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A source file as a page: its dotted name and its syntax tree."""

    name: str
    tree: ast.Module

    @property
    def page(self) -> str:
        """File name of its page."""
        return f"{self.name.removeprefix('allgood.')}.md"

    @property
    def exported(self) -> tuple[str, ...] | None:
        """`__all__`, or None where the module has none."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                return tuple(ast.literal_eval(node.value))
        return None


def main() -> None:
    """Write the pages, or fail when they are out of date or a public name has no docstring."""
    modules = public_modules(PACKAGE)
    undocumented = [name for module in modules for name in names_without_docstring(module)]
    if undocumented:
        sys.exit("without a docstring: " + ", ".join(undocumented))
    pages = {"README.md": index(modules)} | {module.page: "\n".join(page(module, modules)) for module in modules}
    present = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    if "--check" in sys.argv[1:]:
        if wrong := sorted(name for name in pages.keys() | present.keys() if pages.get(name) != present.get(name)):
            sys.exit(f"docs/reference/api is out of date ({', '.join(wrong)}); run `python -m docs.generate_api`")
        return
    FOLDER.mkdir(exist_ok=True)
    for name in present.keys() - pages.keys():
        (FOLDER / name).unlink()
    for name, text in pages.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def public_modules(package: Path) -> list[Module]:
    """Every module of the package whose name has no underscore in front."""
    modules = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        if not any(part.startswith("_") for part in parts):
            modules.append(Module(".".join(parts), ast.parse(path.read_text(encoding="utf-8"))))
    return modules


def names_without_docstring(module: Module) -> Iterator[str]:
    """Public functions, classes and methods that say nothing about themselves."""
    if not ast.get_docstring(module.tree):
        yield module.name
    for node in definitions(module):
        if not ast.get_docstring(node):
            yield f"{module.name}.{node.name}"
        if isinstance(node, ast.ClassDef):
            for method in methods(node):
                if not ast.get_docstring(method):
                    yield f"{module.name}.{node.name}.{method.name}"


def definitions(module: Module) -> list[Function | ast.ClassDef]:
    """Public functions and classes that the module defines itself, in the order of the file."""
    return [
        node for node in module.tree.body if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_")
    ]


def methods(node: ast.ClassDef) -> list[Function]:
    """Public methods and properties of a class."""
    return [part for part in node.body if isinstance(part, Function) and not part.name.startswith("_")]


def index(modules: list[Module]) -> str:
    """The page that lists all others."""
    lines = [
        "# The functions of `allgood`",
        "",
        NOTE,
        "",
        "All of it works without Ray. Left out are names that begin with an underscore.",
        "",
    ]
    rows = [[f"[`{module.name}`]({module.page})", summary(ast.get_docstring(module.tree) or "")] for module in modules]
    return "\n".join([*lines, *markdown_table(["module", "what it is for"], rows)]) + "\n"


def page(module: Module, modules: list[Module]) -> Iterator[str]:
    """The page of a module, line by line."""
    yield f"# `{module.name}`\n\n{NOTE}\n"
    yield as_markdown(ast.get_docstring(module.tree) or "") + "\n"
    if elsewhere := list(_defined_elsewhere(module, modules)):
        yield "Also importable from here: " + ", ".join(elsewhere) + ".\n"
    for node in definitions(module):
        yield from _function(node, "##") if isinstance(node, Function) else _class(node)


def _defined_elsewhere(module: Module, modules: list[Module]) -> Iterator[str]:
    """Links to what `__all__` exports but another module defines."""
    homes = {node.name: home for home in modules for node in definitions(home)}
    own = {node.name for node in definitions(module)}
    for name in module.exported or ():
        if name in homes and name not in own:
            yield f"[`{name}`]({homes[name].page}#{name.lower()})"


def _function(node: Function, heading: str, owner: str = "") -> Iterator[str]:
    is_property = any(ast.unparse(decorator) == "property" for decorator in node.decorator_list)
    yield f"{heading} `{owner}{node.name}`\n"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    if not is_property:
        yield _code(node.name, _arguments(node.args, skip_self=bool(owner)), returns)
    elif returns:
        yield f"Property, `{ast.unparse(node.returns) if node.returns else ''}`.\n"
    yield as_markdown(ast.get_docstring(node) or "") + "\n"


def _class(node: ast.ClassDef) -> Iterator[str]:
    yield f"## `{node.name}`\n"
    decorators = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
    makers = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
    if "dataclass" in decorators:
        frozen = "Frozen dataclass" if "frozen=True" in decorators else "Dataclass"
        yield f"{frozen}:\n\n" + _code(node.name, [ast.unparse(field) for field in _fields(node)], "")
    elif makers:
        yield _code(node.name, _arguments(makers[0].args, skip_self=True), "")
    elif node.bases:
        yield f"Base: `{', '.join(map(ast.unparse, node.bases))}`.\n"
    yield as_markdown(ast.get_docstring(node) or "") + "\n"
    for method in methods(node):
        yield from _function(method, "###", owner=f"{node.name}.")


def _fields(node: ast.ClassDef) -> list[ast.AnnAssign]:
    return [
        part for part in node.body if isinstance(part, ast.AnnAssign) and not ast.unparse(part.target).startswith("_")
    ]


def _arguments(arguments: ast.arguments, *, skip_self: bool) -> list[str]:
    """Each argument as it stands in the source."""
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    shown = [_argument(argument, default) for argument, default in zip(plain, defaults, strict=True)]
    if skip_self and plain and plain[0].arg in ("self", "cls"):
        shown = shown[1:]
    if arguments.vararg:
        shown.append(f"*{ast.unparse(arguments.vararg)}")
    elif arguments.kwonlyargs:
        shown.append("*")
    shown += [_argument(a, default) for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return [*shown, f"**{ast.unparse(arguments.kwarg)}"] if arguments.kwarg else shown


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    equals = " = " if argument.annotation else "="
    return ast.unparse(argument) + (f"{equals}{ast.unparse(default)}" if default else "")


def _code(name: str, arguments: list[str], returns: str) -> str:
    """The call as a code block, on one line where it fits."""
    line = re.sub(r"\s+", " ", f"{name}({', '.join(arguments)}){returns}")
    if len(line) > WIDTH:
        line = f"{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + f"){returns}"
    return f"```python\n{line}\n```\n"


if __name__ == "__main__":
    main()
