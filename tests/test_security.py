"""What SECURITY.md promises of the code: nothing runs what it reads, and nothing switches Ray's token off."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("allgood", "actors", "pipelines", "examples", "experiments")
LOADERS = {
    "pickle.load",
    "pickle.loads",
    "cloudpickle.loads",
    "torch.load",
    "yaml.load",
    "marshal.loads",
    "eval",
    "exec",
}


def calls() -> Iterator[tuple[str, ast.Call]]:
    """(place, call) of every call in the product."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


CALLS = list(calls())


def keyword(call: ast.Call, name: str) -> list[ast.expr]:
    return [given.value for given in call.keywords if given.arg == name]


def test_code_that_comes_with_a_model_is_never_run() -> None:
    given = [(place, value) for place, call in CALLS for value in keyword(call, "trust_remote_code")]
    assert len(given) >= 4
    assert [place for place, value in given if not (isinstance(value, ast.Constant) and value.value is False)] == []


def test_nothing_that_is_read_can_run_code() -> None:
    named = [(place, ast.unparse(call.func)) for place, call in CALLS]
    # The one `yaml.load` is ruamel's safe loader, in a module of its own.
    assert [(place.partition(":")[0], name) for place, name in named if name in LOADERS] == [
        ("allgood/scorers/yaml12.py", "yaml.load")
    ]
    kinds = {ast.unparse(call) for _, call in CALLS if ast.unparse(call.func) == "YAML"}
    assert kinds <= {"YAML(typ='safe')", "YAML(typ='safe', pure=True)", "YAML(typ='rt')", "YAML()"}  # none is 'unsafe'
    assert [place for place, call in CALLS if keyword(call, "allow_pickle")] == []


def test_nothing_switches_rays_token_off() -> None:
    files = [path for folder in (*PACKAGES, "deploy") for path in (ROOT / folder).rglob("*") if path.is_file()]
    files += [ROOT / "Makefile", ROOT / ".ci" / "run", ROOT / "tests" / "conftest.py"]
    modes = [
        (str(path.relative_to(ROOT)), mode)
        for path in files
        if path.suffix != ".pyc"
        for mode in re.findall(r"RAY_AUTH_MODE\"?(?:=|: |\] = \"|, value: )(\w+)", path.read_text(encoding="utf-8"))
    ]
    assert modes, "the cluster files set it"
    assert [place for place, mode in modes if mode != "token"] == []


@pytest.mark.parametrize("option", ["runtime_env", "api_key", "dashboard_host"])
def test_no_secret_goes_into_what_ray_shows_and_no_dashboard_leaves_loopback(option: str) -> None:
    given = [(place, ast.unparse(value)) for place, call in CALLS for value in keyword(call, option)]
    allowed = {"dashboard_host": {"'127.0.0.1'"}, "api_key": set()}
    if option == "runtime_env":
        assert not [place for place, value in given if re.search("(?i)token|key|secret|password|os.environ", value)]
    else:
        assert [place for place, value in given if value not in allowed[option]] == []
