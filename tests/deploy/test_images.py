"""The Dockerfiles: nobody builds them in a test, so what they copy is laid out here and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from tests.deploy.files import DEPLOY, ROOT, objects

FILES = sorted((DEPLOY / "docker").glob("Dockerfile.*"))
COPIES = re.compile(r"^COPY (.+) (\S+)$", re.MULTILINE)


def lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_image_installs_the_tested_versions_on_a_supported_python_and_runs_without_privilege(file: Path) -> None:
    (base,) = (line for line in lines(file) if line.startswith("FROM "))
    version = re.fullmatch(r"FROM python:(\d+\.\d+)-slim-\w+", base)
    assert version
    supported = re.search(r'requires-python = "(.*)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert supported
    assert f"{version[1]}.5" in SpecifierSet(supported[1])
    assert any("-c constraints.txt" in line for line in lines(file) if line.startswith("RUN"))
    assert [line for line in lines(file) if line.startswith("USER")] == ["USER 1000"]
    assert "RAY_AUTH_MODE=token" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_an_image_copies_is_there_and_not_kept_out(file: Path) -> None:
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"
    }
    sources = {source for line in COPIES.findall(file.read_text(encoding="utf-8")) for source in line[0].split()}
    assert sources == allowed
    assert all((ROOT / source).exists() for source in sources)


@pytest.mark.slow
def test_what_is_copied_is_enough_to_run(tmp_path: Path) -> None:
    for sources, target in COPIES.findall(FILES[0].read_text(encoding="utf-8")):
        for source in sources.split():
            place = tmp_path / (source if target == "./" else target)
            place.parent.mkdir(exist_ok=True, parents=True)
            (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, place)
    (imports,) = re.findall(r"^ENV PYTHONPATH=(.*)$", FILES[0].read_text(encoding="utf-8"), re.MULTILINE)
    assert imports in FILES[0].read_text(encoding="utf-8").split("WORKDIR ")[1]
    command = [sys.executable, "-m", "pipelines.cli", "config", "configs/quickstart.yaml"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "shortcut_strength" in done.stdout


def test_pods_run_these_images_where_their_code_lies() -> None:
    clusters = [job["spec"]["rayClusterSpec"] for job in objects("RayJob").values()]
    groups = [group for cluster in clusters for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    groups += [objects("Deployment")["allgood-rewards"]["spec"]]
    (folder,) = {line.removeprefix("WORKDIR ") for file in FILES for line in lines(file) if line.startswith("WORKDIR")}
    for group in groups:
        (container,) = group["template"]["spec"]["containers"]
        assert container["workingDir"] == folder
        assert (DEPLOY / "docker" / f"Dockerfile.{container['image'].rpartition(':')[2]}").is_file()
