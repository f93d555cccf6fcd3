"""What a user of another trainer gets: a wheel that holds `allgood` only, and with the extra `scorers` loads models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from actors.messages import Chunk, Rollout
from actors.reward import RewardSpec, RewardWorker
from allgood.formula import Formula
from allgood.objectives import FormulaUtility
from allgood.scorers.spec import ModelSpec
from allgood.treatment import Treatment
from allgood.views import PropertyView
from tests.actors.tiny_models import PROMPTS, RESPONSES, save_scorer

ROOT = Path(__file__).parent.parent
FOREIGN = ("ray", "pydantic", "actors", "pipelines", "experiments")
REFERENCES = {"helpful": {"a": 0.5, "b": -0.25, "c": 0.0}, "harmless": {"a": 1.0, "b": 0.0, "c": -1.0}}

# Run where only the wheel and what its extra asks for can be imported: folders of two models in, JSON out.
IN_ANOTHER_TRAINER = f"""
import importlib.util, json, sys
import torch
from allgood import AllGood, Formula, ModelSpec, load_scorer
from allgood.objectives import FormulaUtility
from allgood.treatment import Treatment

torch.set_num_threads(1)
given = json.load(sys.stdin)
scorers = {{name: load_scorer(ModelSpec(folder)) for name, folder in given["models"].items()}}
treatments = {{name: Treatment(references=references) for name, references in given["references"].items()}}
all_good = AllGood(treatments, FormulaUtility(Formula("helpful & harmless")))
judged = all_good.of_texts(scorers, given["prompts"], given["responses"], prompt_ids=["a", "b", "c"])
foreign = [name for name in {FOREIGN} if importlib.util.find_spec(name) is not None]
print(json.dumps({{
    "utilities": {{name: view.utilities.tolist() for name, view in judged.properties.items()}},
    "log_p_all_good": judged.utilities.tolist(),
    "foreign": foreign,
}}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT))
    (path,) = folder.glob("allgood-*.whl")
    return path


def test_it_holds_allgood_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"allgood"}


def test_it_scores_texts_and_combines_them_to_the_bits_of_reward_actors(wheel: Path, tmp_path: Path) -> None:
    models = {name: save_scorer(tmp_path / name, seed=seed) for seed, name in enumerate(REFERENCES)}
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    interpreter = str(environment / "bin" / "python")
    (site,) = environment.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)  # all that an installer does with a wheel of Python files
    show_requirements_only(site, extra="scorers")

    given = {"models": models, "references": REFERENCES, "prompts": PROMPTS, "responses": RESPONSES}
    found = json.loads(run(interpreter, "-c", IN_ANOTHER_TRAINER, folder=tmp_path, given=json.dumps(given)))

    assert found["foreign"] == []
    views = {name: of_actor(name, folder) for name, folder in models.items()}
    for name, view in views.items():
        assert found["utilities"][name] == view.utilities.tolist()
    assert found["log_p_all_good"] == FormulaUtility(Formula("helpful & harmless")).combine(views).tolist()


def of_actor(name: str, folder: str) -> PropertyView:
    """What a run's reward actor makes of the responses."""
    worker = RewardWorker(RewardSpec(name, ModelSpec(folder)))
    worker.set_treatment(Treatment("mine", "log_sigmoid", REFERENCES[name]))
    chunk = Chunk(0, 0, 0, 0, ("a", "b", "c"), tuple(PROMPTS), 1)
    return worker.score(Rollout(chunk, (), (), (), (), tuple(RESPONSES), (), 0, 0.0), "mine").view


def show_requirements_only(site: Path, *, extra: str) -> None:
    """Let an environment import what the wheel requires from that of the tests, and nothing else."""
    visible = site.parent / "visible"
    visible.mkdir()
    (site / "visible.pth").write_text(f"{visible}\n")
    (wheel,) = site.glob("allgood-*.dist-info")
    waiting = needed_by(metadata.Distribution.at(wheel), extra)
    seen = set(FOREIGN)  # the command line of the hub's client brings pydantic; scoring must not need it
    while waiting:
        distribution = metadata.distribution(waiting.pop())
        if distribution.name in seen:
            continue
        seen.add(distribution.name)
        waiting += needed_by(distribution)
        for top in {Path(file).parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (visible / top).exists():
                (visible / top).symlink_to(distribution.locate_file(top))


def needed_by(distribution: metadata.Distribution, extra: str = "") -> list[str]:
    requirements = map(Requirement, distribution.requires or ())
    return [r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": extra})]


@pytest.mark.slow
def test_it_installs_with_the_pinned_versions_and_the_command_says_how_to_get_the_rest(
    wheel: Path, tmp_path: Path
) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    interpreter = str(environment / "bin" / "python")
    run(interpreter, "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt"), f"{wheel}[scorers]")
    code = "import allgood; allgood.log_sigmoid; allgood.load_scorer; import sys; print('ray' in sys.modules)"
    assert run(interpreter, "-c", code, folder=tmp_path).strip() == "False"

    command = subprocess.run(
        [environment / "bin" / "allgood", "--help"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=without_checkout(),
    )
    assert command.returncode == 1
    assert command.stderr.startswith("error: this installation holds allgood's mathematics only")
    assert len(command.stderr.splitlines()) == 1


def run(*command: str, folder: Path = ROOT, given: str = "") -> str:
    """What a command prints, outside of this checkout's import path."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, input=given, env=without_checkout()
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def without_checkout() -> dict[str, str]:
    """The environment of the tests, less the import path through which packages of the checkout would be found."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
