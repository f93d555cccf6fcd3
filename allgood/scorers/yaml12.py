"""YAML 1.2: `1e-3` is a number, `on` and `yes` are text, a key that stands twice is an error.

(PyYAML reads YAML 1.1, where `1e-3` is text, `on` is true, and the last of two equal keys wins in silence.)
"""

from __future__ import annotations

import io
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

from allgood.errors import ConfigError


class _Constructor(SafeConstructor):
    """YAML 1.2's core schema has no dates: `2026-01-31` is text (a run may be named so)."""


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


class _Representer(SafeRepresenter):
    """Quotes text that has unusual line breaks, which ruamel writes in a way that it reads as spaces."""


def _represent_text(representer: SafeRepresenter, text: str) -> ScalarNode:
    style = '"' if any(char in text for char in "\x85\u2028\u2029") else None
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Representer.add_representer(str, _represent_text)


def parse(text: str, *, source: str) -> Any:
    """The value of one YAML document.

    Raises:
        ConfigError: not YAML, or a key twice; names `source`, line and column.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    try:
        return yaml.load(text)
    except DuplicateKeyError as error:
        raise ConfigError(f"{_place(error, source)}: {_duplicate(error)}; keep one of them") from error
    except MarkedYAMLError as error:
        problem = error.problem or error.context or "cannot be read"
        raise ConfigError(f"{_place(error, source)}: not valid YAML: {problem}") from error
    except YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from error


def parse_one_line(text: str, *, source: str) -> Any:
    """The value of YAML that stands on a command line, where nobody writes comments: `/data/run #2` is that path.

    Raises:
        ConfigError: As `parse`.
    """
    return _with_hashes(parse(text.replace("#", _HASH), source=source))


_HASH = "\ue000"  # of Unicode's private use, so that it stands in no text


def _with_hashes(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(_HASH, "#")
    if isinstance(value, dict):
        return {_with_hashes(name): _with_hashes(item) for name, item in value.items()}
    return [_with_hashes(item) for item in value] if isinstance(value, list) else value


def dump(value: object) -> str:
    """Block-style YAML that `parse` reads back to an equal value."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.allow_unicode = True
    yaml.width = 110
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()


def _place(error: MarkedYAMLError, source: str) -> str:
    mark = error.problem_mark or error.context_mark
    return f"{source}, line {mark.line + 1}, column {mark.column + 1}" if mark else source


def _duplicate(error: MarkedYAMLError) -> str:
    # ruamel: 'found duplicate key "a" with value "2" (original value: "1")'
    return (
        str(error.problem).replace("found duplicate key", "the key", 1).split(" with value", 1)[0]
        + " stands here a second time"
    )
