"""Check the documentation: links resolve, and every command that is shown exists. `python -m docs.check`.

Checked are all Markdown files of the repository: relative links and their anchors, `make` targets, and `allgood ...`
commands, which must parse; where a command names a run file of the repository, its overrides must be valid too.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from typer.main import get_command

from allgood.errors import ConfigError
from pipelines.cli import app
from pipelines.config.loading import load_config
from pipelines.config.sweep_loading import load_sweep

ROOT = Path(__file__).parent.parent
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SHELL_BLOCK = re.compile(r"^```(?:bash|console|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(allgood [a-z][^`]*|make [a-z][^`]*)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def main() -> None:
    """Print every problem, and fail if there is one."""
    pages = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
    problems = [f"{page.relative_to(ROOT)}: {problem}" for page in pages for problem in problems_of(page)]
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"docs: {len(pages)} pages, {len(problems)} problems")
    sys.exit(bool(problems))


def problems_of(page: Path) -> Iterator[str]:
    """What is wrong with a page."""
    text = page.read_text(encoding="utf-8")
    for target in LINK.findall(FENCED.sub("", text)):
        yield from _link(page, target)
    for command in commands_of(text):
        yield from _command(command)
    for mention in INLINE.findall(FENCED.sub("", text)):
        yield from _mention(mention)


def commands_of(text: str) -> Iterator[str]:
    """The `allgood` and `make` commands of shell blocks."""
    for block in SHELL_BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            found = re.match(r"\s*\$?\s*(?:\.venv/bin/)?((?:allgood|make) .*)", line)
            if found:
                yield found[1]


def _link(page: Path, target: str) -> Iterator[str]:
    if re.match(r"[a-z]+:", target):
        return  # another site: not checked, so that the check needs no network
    name, _, anchor = target.partition("#")
    path = (page.parent / name) if name else page
    if not path.exists():
        yield f"link to {target}: there is no {name}"
    elif anchor and path.suffix == ".md" and anchor not in _anchors(path):
        yield f"link to {target}: there is no heading #{anchor}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def _command(line: str) -> Iterator[str]:
    words = shlex.split(line.partition(" > ")[0], comments=True)
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        wrong = [word for word in words[1:] if "=" not in word and word not in targets]
        if wrong:
            yield f"`{line}`: the Makefile has no target {wrong[0]}"
        return
    try:
        _parse(words[1:])
        _check_overrides(words[1:])
    except (Exception, SystemExit) as error:  # whatever the parser raises is a wrong command
        yield f"`{line}`: {type(error).__name__} {error}"


def _mention(text: str) -> Iterator[str]:
    """Inline code may leave arguments out, but the command or target must exist."""
    words = text.split()
    if words[0] == "make":
        yield from _command(text)
    elif words[1] not in get_command(app).commands:  # type: ignore[attr-defined]
        yield f"`{text}`: there is no command {words[1]}"


def _parse(words: list[str]) -> None:
    group = get_command(app)
    context = group.make_context("allgood", list(words), resilient_parsing=words[0].startswith("-"))
    if words[0].startswith("-"):
        return
    name, command, rest = group.resolve_command(context, list(words))  # type: ignore[attr-defined]
    command.make_context(name, rest, parent=context)


def _check_overrides(words: list[str]) -> None:
    files = [ROOT / word for word in words if word.endswith(".yaml")]
    if len(files) != 1 or not files[0].exists():
        return
    options = {words[i] for i in range(1, len(words)) if words[i - 1].startswith("--")}
    overrides = [word for word in words if "=" in word and not word.startswith("-") and word not in options]
    try:
        if words[0] == "sweep":
            load_sweep(files[0], overrides)
        else:
            load_config(files[0], overrides)
    except ConfigError as error:
        raise ValueError(str(error)) from error


if __name__ == "__main__":
    main()
