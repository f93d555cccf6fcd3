"""What a user of the package gets: a quick import without torch or Ray, and a wheel that holds the mathematics only."""

from __future__ import annotations

import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "ray", "transformers", "pydantic", "typer")


def python(code: str, *, executable: str = sys.executable, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder)


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
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'ray', 'actors', 'pipelines'}))"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_help_answers_within_a_second_and_without_torch() -> None:
    best = min(_timed([sys.executable, "-m", "allgood", "--help"]) for _ in range(5))
    assert best < 1.0
    done = python(
        "import sys; import pipelines.cli; print([m for m in ('torch', 'ray', 'pydantic') if m in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.slow
def test_the_wheel_holds_allgood_only_and_works_without_ray(tmp_path: Path) -> None:
    _run(
        sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(ROOT)
    )
    (wheel,) = tmp_path.glob("allgood-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"allgood"}

    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    interpreter = str(environment / "bin" / "python")
    _run(interpreter, "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt"), str(wheel))
    done = python(
        "import allgood; allgood.log_sigmoid; import sys; print('ray' in sys.modules)",
        executable=interpreter,
        folder=tmp_path,
    )
    assert done.stdout.strip() == "False", done.stderr

    command = subprocess.run(
        [environment / "bin" / "allgood", "--help"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert command.returncode == 1
    assert command.stderr.startswith("error: this installation holds allgood's mathematics only")
    assert len(command.stderr.splitlines()) == 1


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _timed(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
    return time.perf_counter() - start
