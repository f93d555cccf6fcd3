"""A stage's report as lines for the terminal; the whole of it lies in the run folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Number = str | int | float | None


def report_lines(report: Mapping[str, object], indent: str = "  ") -> Iterator[str]:
    """Single values on a line each; a group of single values on one line; lists (curves, tables) are left out."""
    for key, value in report.items():
        if isinstance(value, Mapping):
            group = {name: item for name, item in value.items() if _is_single(item)}
            if group and len(group) == len(value):
                yield f"{indent}{key}: " + ", ".join(f"{name} {_text(item)}" for name, item in group.items())
            elif value:
                yield f"{indent}{key}:"
                yield from report_lines(value, indent + "  ")
        elif _is_single(value):
            yield f"{indent}{key}: {_text(value)}"


def _is_single(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float))


def _text(value: object) -> str:
    if value is None:
        return "unknown"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
