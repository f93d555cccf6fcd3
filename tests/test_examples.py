"""The programs in `examples/` run and print what they promise."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from allgood.scorers.loading import load_scorer
from allgood.scorers.spec import ModelSpec
from tests.actors.tiny_models import save_scorer

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "combine_rewards.py",
        "nemo_rl_environment.py",  # needs NeMo-RL
        "openrlhf_reward.py",  # each adapter's with its other tests
        "score_exported.py",
        "score_texts.py",
        "skyrl_train.py",
        "slime_train.py",
        "trl_offline.py",
        "trl_rloo.py",
        "verl_rloo.py",
    }


def test_rewards_become_utilities_and_advantages_that_sum_to_zero(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "combine_rewards.py"))["main"]()
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["prompt", "log", "P(all", "good)", "advantages"]
    assert [line.split()[0] for line in lines] == ["kettle", "river", "bread"]
    numbers = np.array([[float(word) for word in line.split()[1:]] for line in lines])
    assert (numbers[:, :4] < 0).all()  # logarithms of probabilities
    np.testing.assert_allclose(numbers[:, 4:].sum(1), 0, atol=0.003)  # RLOO, as printed


def test_two_models_judge_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = {
        name: save_scorer(tmp_path / name, "llama", seed=seed) for seed, name in enumerate(["helpful", "harmless"])
    }
    example = runpy.run_path(str(EXAMPLES / "score_texts.py"))
    example["main"]([f"{name}={folder}" for name, folder in folders.items()])
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split("  ") == ["P(helpful)", "P(harmless)", "P(all good)", "answer"]
    assert [line.split("  ")[-1] for line in lines] == example["ANSWERS"]
    shares = np.array([[float(word) for word in line.split("  ")[:-1]] for line in lines])
    assert shares[-1].tolist() == [0.5, 0.5, 0.25]  # the plain reply itself is the reference point
    np.testing.assert_allclose(shares[:, 2], shares[:, 0] * shares[:, 1], atol=0.002)
    scorer = load_scorer(ModelSpec(folders["helpful"]))
    rewards = scorer.score([example["QUESTION"]] * 3, example["ANSWERS"]).rewards
    assert len(set(shares[:, 0].tolist())) == 3
    np.testing.assert_allclose(shares[:, 0], 1 / (1 + np.exp(rewards[2] - rewards)), atol=0.001)


def test_answers_are_scored_by_a_file_of_rewards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_scorer(tmp_path / "models" / "helpful")
    reference = "{kind: constant, value: 0.5}"
    (tmp_path / "rewards.yaml").write_text(
        f"properties: {{helpful: {{model: models/helpful, device: cpu, reference: {reference}}}}}\n"
    )
    answers = ["Boil vinegar in it.", "word " * 2000]
    runpy.run_path(str(EXAMPLES / "score_exported.py"))["main"]([str(tmp_path), "How do I descale a kettle?", *answers])
    header, first, second, last = capsys.readouterr().out.splitlines()
    assert header.split() == ["utility", "helpful", "answer"]
    prompt = "\n\nHuman: How do I descale a kettle?\n\nAssistant:"
    reward = load_scorer(ModelSpec(str(tmp_path / "models" / "helpful"))).score([prompt], answers[:1]).rewards[0]
    np.testing.assert_allclose(float(first.split()[0]), -np.logaddexp(0, 0.5 - reward), atol=0.001)
    assert first.endswith("(constant)  Boil vinegar in it.")
    assert second.startswith("failed (helpful: the response is longer than the model reads")
    assert last == "1 of 2 rows failed"
