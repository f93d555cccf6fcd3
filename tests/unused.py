"""Which public functions, classes and methods of a package does no program reach?

Names are followed as the interpreter would resolve them, through imports and attributes, from the programs into the
package and on from what they reach there. So neither a test, nor an example in a function's own docstring, nor another
unused function keeps a function alive. Two things are not followed. Types: a method counts as used when anything that
is reached has an attribute of its name. And functions that are looked up by name (`vars(module)[name]`): of a module
that stands as a value, a definition counts as used when its name stands as a text in anything that is reached.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

Definition = tuple[str, str]
"""(module, name at its top level)."""
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Module:
    """Source of one module, taken apart.

    Attributes:
        definitions: Statements by the top-level name that they define.
        imports: Dotted target by the name that an import gives it, in functions too.
        statements: What runs when the module is imported and defines nothing.
    """

    definitions: Mapping[str, ast.stmt]
    imports: Mapping[str, str]
    statements: tuple[ast.stmt, ...]

    @staticmethod
    def of(source: str) -> Module:
        """Parsed.

        Raises:
            SyntaxError: It is no Python.
        """
        tree = ast.parse(source)
        named = [(statement, list(_defined(statement))) for statement in tree.body]
        definitions = {name: statement for statement, names in named for name in names}
        return Module(definitions, dict(_imported(tree)), tuple(statement for statement, names in named if not names))


@dataclass
class Reach:
    """What has been read so far: definitions, names of attributes, texts, and modules that stand as values."""

    definitions: set[Definition] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    opened: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Package:
    """Modules of a package by dotted name; `lazy` are further names of the package itself: name -> module."""

    modules: Mapping[str, Module]
    lazy: Mapping[str, str]

    def unused(self, programs: Iterable[str]) -> list[str]:
        """Public definitions that no program (source text) reaches, as "module.name" or "module.Class.method"."""
        reach = self._reach([Module.of(source) for source in programs])
        found = []
        for module, parts in self.modules.items():
            for name, node in parts.definitions.items():
                if not isinstance(node, (*_FUNCTIONS, ast.ClassDef)) or name.startswith("_"):
                    continue
                if (module, name) not in reach.definitions:
                    found.append(f"{module}.{name}")
                elif isinstance(node, ast.ClassDef):
                    found += [f"{module}.{name}.{method}" for method in _methods(node) - reach.attributes]
        return sorted(found)

    def _reach(self, programs: Iterable[Module]) -> Reach:
        reach = Reach()
        for program in programs:
            for node in (*program.definitions.values(), *program.statements):
                self._read(node, program, "", reach)
        for name, parts in self.modules.items():
            for node in parts.statements:
                self._read(node, parts, name, reach)
        while looked_up := self._looked_up(reach) - reach.definitions:
            for found in looked_up:
                self._enter(found, reach)
        return reach

    def _looked_up(self, reach: Reach) -> set[Definition]:
        return {
            (module, name)
            for module in reach.opened
            for name in self.modules[module].definitions
            if name in reach.texts
        }

    def _read(self, node: ast.stmt, parts: Module, own: str, reach: Reach) -> None:
        """Follow a statement; `own` is the name of its module, if that belongs to the package."""
        chains: list[list[str]] = []
        _collect(node, frozenset(), chains, reach)
        for head, *rest in chains:
            if head in parts.imports:
                path = [*parts.imports[head].split("."), *rest]
                if ".".join(path) in self.modules:
                    reach.opened.add(".".join(path))
                elif found := self._followed(path):
                    self._enter(found, reach)
            elif own and head in parts.definitions:
                self._enter((own, head), reach)

    def _enter(self, found: Definition, reach: Reach) -> None:
        if found not in reach.definitions:
            reach.definitions.add(found)
            parts = self.modules[found[0]]
            self._read(parts.definitions[found[1]], parts, found[0], reach)

    def _followed(self, path: list[str]) -> Definition | None:
        """The definition at an absolute dotted path: the longest module in it, then a name, perhaps imported there."""
        for size in range(len(path) - 1, 0, -1):
            module, name = ".".join(path[:size]), path[size]
            if module not in self.modules:
                continue
            parts = self.modules[module]
            if name in parts.definitions:
                return module, name
            if size == 1 and name in self.lazy:
                return self._followed([module, self.lazy[name], name])
            if name in parts.imports:
                return self._followed([*parts.imports[name].split("."), *path[size + 1 :]])
            return None
        return None


def _defined(statement: ast.stmt) -> Iterator[str]:
    """Names that a top-level statement defines; none for imports."""
    if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (first, first)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def _methods(node: ast.ClassDef) -> set[str]:
    return {item.name for item in node.body if isinstance(item, _FUNCTIONS) and not item.name.startswith("_")}


def _collect(node: ast.AST, hidden: frozenset[str], chains: list[list[str]], reach: Reach) -> None:
    """Add the dotted names that are read, attributes and texts; `hidden` are parameters and local variables."""
    if isinstance(node, (*_FUNCTIONS, ast.Lambda)):
        hidden = hidden | _local_names(node)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        reach.texts.add(node.value)
    elif isinstance(node, ast.Name | ast.Attribute):
        chain = _chain(node)
        reach.attributes.update(chain[1:] if chain else [node.attr] if isinstance(node, ast.Attribute) else [])
        if chain and chain[0] not in hidden and isinstance(node.ctx, ast.Load):
            chains.append(chain)
        if chain:
            return
    for child in ast.iter_child_nodes(node):
        _collect(child, hidden, chains, reach)


def _chain(node: ast.expr) -> list[str]:
    """["a", "b", "c"] of a.b.c; empty where it starts from anything but a name."""
    if isinstance(node, ast.Name):
        return [node.id]
    before = _chain(node.value) if isinstance(node, ast.Attribute) else []
    return [*before, node.attr] if before and isinstance(node, ast.Attribute) else []


def _local_names(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> frozenset[str]:
    found = {part.arg for part in ast.walk(function.args) if isinstance(part, ast.arg)}
    body = function.body if isinstance(function.body, list) else [function.body]
    for part in (part for statement in body for part in ast.walk(statement)):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            found.add(part.id)
    return frozenset(found)
