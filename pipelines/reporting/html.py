"""A page from parts: everything escaped, styles and pictures inside, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5f6670; --line: #d9dde2; --paper: #ffffff; --shade: #f4f6f8;
  --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #a4abb5; --line: #3a4048; --paper: #16181b;
  --shade: #202429; --accent: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1060px; margin: 0 auto; padding: 28px 24px 80px; }
h1 { font-size: 26px; margin: 0 0 2px; } h2 { font-size: 19px; margin: 44px 0 10px; padding-top: 14px;
  border-top: 1px solid var(--line); } h3 { font-size: 15.5px; margin: 22px 0 6px; }
p { margin: 8px 0; max-width: 78ch; } .soft, figcaption { color: var(--soft); font-size: 13.5px; }
nav { margin: 14px 0 0; font-size: 13.5px; display: flex; flex-wrap: wrap; gap: 4px 16px; }
nav a { color: var(--accent); text-decoration: none; white-space: nowrap; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: 10px 0; font-size: 13.5px;
  font-variant-numeric: tabular-nums; } p.above { margin: 18px 0 -4px; }
th, td { padding: 5px 11px 5px 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { font-weight: 600; border-bottom: 2px solid var(--line); }
td.number, th.number { text-align: right; white-space: nowrap; }
tr.chosen td { background: var(--shade); font-weight: 600; }
figure { margin: 16px 0; } img { max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line);
  border-radius: 6px; padding: 6px; }
code { background: var(--shade); padding: 1px 4px; border-radius: 4px; font-size: 0.9em; }
pre { background: var(--shade); padding: 12px; border-radius: 6px; overflow-x: auto; font-size: 12.5px;
  line-height: 1.45; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; min-width: 180px; max-width: 360px; }
.tokens { font: 12.5px/2 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.tokens span { background: var(--shade); border-radius: 3px; margin-right: 2px; padding: 1px 2px;
  white-space: pre-wrap; }
.tokens .markup { color: #fff; background: var(--accent); } .tokens .start { border-left: 3px solid #d55e00; }
ul { max-width: 78ch; padding-left: 20px; } details summary { cursor: pointer; color: var(--accent); }
"""
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # the browser loads nothing, whatever a text says
)
_POLICY_WITH_SCRIPTS = (
    f"{_POLICY}; script-src 'unsafe-inline'"  # ours, which stand in the page; still nothing is loaded
)


@dataclass(frozen=True)
class Markup:
    """A piece of finished HTML. Text becomes one only through the functions below, which escape it."""

    html: str


@dataclass(frozen=True)
class Picture:
    """A plot: in the page, and as `plots/<name>.png`. `alt` says what it shows to those who cannot see it."""

    name: str
    png: bytes
    alt: str
    caption: str


@dataclass(frozen=True)
class Interactive:
    """A plot to point at: HTML with scripts, made by a plotting library from numbers and escaped text only."""

    html: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the page with its own heading."""

    title: str
    body: Sequence[Markup | Picture | Interactive]


def paragraph(text: str) -> Markup:
    """A paragraph of plain text; what stands in `backticks` is set as code."""
    return Markup(f"<p>{_prose(text)}</p>")


def links(targets: Mapping[str, str]) -> Markup:
    """A list of links by their texts; what they lead to stands outside the page and is not loaded."""
    rows = (f'<li><a href="{escape(target)}">{escape(text)}</a></li>' for text, target in targets.items())
    return Markup(f"<ul>{''.join(rows)}</ul>")


def heading(text: str) -> Markup:
    """A heading inside a section."""
    return Markup(f"<h3>{escape(text)}</h3>")


def items(texts: Iterable[str]) -> Markup:
    """A list of plain texts; what stands in `backticks` is set as code."""
    return Markup("<ul>" + "".join(f"<li>{_prose(text)}</li>" for text in texts) + "</ul>")


def code(text: str, *, summary: str) -> Markup:
    """Preformatted text behind a line to click on."""
    return Markup(f"<details><summary>{_prose(summary)}</summary><pre>{escape(text)}</pre></details>")


def token_row(tokens: Iterable[tuple[str, bool, str]], *, response_start: int | None) -> Markup:
    """Tokens as fields, each (text, whether it is markup, what pointing at it shows); a bar before the response."""
    spans = [_token(*token, starts=index == response_start) for index, token in enumerate(tokens)]
    if response_start == len(spans):
        spans.append('<span class="start"> </span>')
    return Markup(f'<div class="tokens">{"".join(spans)}</div>')


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str | float | None]],
    *,
    caption: str = "",
    chosen: int | None = None,
    long_text: bool = False,
) -> Markup:
    """A table; numbers stand right-aligned, a missing one as a dash. Row `chosen` is marked."""
    is_number = [
        any(isinstance(row[i], int | float) or _looks_numeric(row[i]) for row in rows) for i in range(len(columns))
    ]
    head = "".join(f"<th{_class(number)}>{escape(name)}</th>" for name, number in zip(columns, is_number, strict=True))
    lines = []
    for index, row in enumerate(rows):
        cells = "".join(
            f"<td{_class(number)}>{_cell(value, long_text=long_text)}</td>"
            for value, number in zip(row, is_number, strict=True)
        )
        lines.append(f"<tr{' class=chosen' if index == chosen else ''}>{cells}</tr>")
    top = f'<p class="soft above">{escape(caption)}</p>' if caption else ""
    return Markup(
        f'{top}<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )


def page(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The whole page; scripts are allowed in it only where an interactive plot stands."""
    has_scripts = any(isinstance(part, Interactive) for section in sections for part in section.body)
    links = "".join(f'<a href="#s{i}">{escape(section.title)}</a>' for i, section in enumerate(sections))
    body = "".join(
        f'<section id="s{i}"><h2>{escape(section.title)}</h2>{"".join(_html(part) for part in section.body)}</section>'
        for i, section in enumerate(sections)
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY_WITH_SCRIPTS if has_scripts else _POLICY}">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>"
        f'<h1>{escape(title)}</h1><p class="soft">{escape(subtitle)}</p><nav>{links}</nav>{body}</main></body></html>\n'
    )


def number(value: float | None, digits: int = 3) -> str:
    """A number with fixed digits; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def with_interval(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    """`0.612 [0.590, 0.634]`."""
    if value is None:
        return "–"
    return (
        number(value, digits)
        if low is None or high is None
        else f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
    )


def _prose(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _html(part: Markup | Picture | Interactive) -> str:
    if isinstance(part, Markup):
        return part.html
    if isinstance(part, Interactive):
        return f"<figure>{part.html}<figcaption>{escape(part.caption)}</figcaption></figure>"
    data = base64.b64encode(part.png).decode()
    return (
        f'<figure><img alt="{escape(part.alt)}" width="{_shown_width(part.png)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(part.caption)}</figcaption></figure>"
    )


def _shown_width(png: bytes) -> int:
    """Width in CSS pixels: pictures are drawn half as fine again, for sharp print and screens."""
    return int.from_bytes(png[16:20], "big") * 2 // 3  # the first chunk of a PNG is its size


def _cell(value: str | float | None, *, long_text: bool) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}"
    text = escape(str(value))
    return f'<div class="text">{text}</div>' if long_text and len(text) > 40 else text


def _token(text: str, is_markup: bool, hint: str, *, starts: bool) -> str:
    names = [name for name, holds in (("markup", is_markup), ("start", starts)) if holds]
    kind = f' class="{" ".join(names)}"' if names else ""
    shown = escape(text).replace("\n", "⏎\n")
    return f'<span{kind} title="{escape(hint)}">{shown}</span><wbr>'


def _looks_numeric(value: str | float | None) -> bool:
    text = str(value).replace("–", "-").lstrip("-+")
    return bool(text) and text[0].isdigit() and len(text) < 40 and not any(letter.isalpha() for letter in text)


def _class(is_number: bool) -> str:
    return ' class="number"' if is_number else ""
