"""Side-by-side answers of a tiny run, in process."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from allgood.all_good import AllGood
from allgood.errors import ConfigError, DataError, ReferenceTableError
from allgood.formula import Formula
from allgood.objectives import FormulaUtility
from allgood.treatment import Treatment
from pipelines.answers.generate import Generator, canonical, generate
from pipelines.answers.side_by_side import Answer, Comparison, show
from pipelines.config.loading import load_run, save_config
from tests.pipelines.references.test_table import write_table
from tests.pipelines.tiny_run import make_base


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose aligned policy is the SFT policy."""
    folder = tmp_path_factory.mktemp("generate")
    config = make_base(folder)
    save_config(config, config.folder / "config.yaml")
    shutil.copytree(folder / "base" / "sft" / "best", config.folder / "model")
    return config.folder


def test_plain_text_becomes_a_prompt_and_a_conversation_stays() -> None:
    assert canonical(" How? ") == "\n\nHuman: How?\n\nAssistant:"
    assert canonical("\n\nHuman: How?\n\nAssistant:") == "\n\nHuman: How?\n\nAssistant:"
    assert canonical("Human: Hi\n\nAssistant: Yes?\n\nHuman: How?") == (
        "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: How?\n\nAssistant:"
    )


@pytest.mark.parametrize("text", ["", "  \n", "Human: Hi\n\nAssistant: Done."])
def test_nothing_to_answer_is_refused(text: str) -> None:
    with pytest.raises(DataError):
        canonical(text)


def test_both_answers_carry_reward_reference_and_probability(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate(run_folder, ["How do I bake bread?"])
    printed = capsys.readouterr().out
    assert printed.count("  short: r ") == 2
    assert printed.count("  vowels: r ") == 2
    assert printed.count("P(all good)") == 2
    assert "16 samples of the start policy" in printed


def test_a_tempered_formula_has_no_probability_to_show(run_folder: Path) -> None:
    tempered = load_run(run_folder, ["objective.expression=short^0.5 & vowels"])
    assert all(answer.p_all_good is None for answer in Generator(tempered).answer("How?").answers)


def test_a_reference_table_of_another_policy_is_refused(tmp_path: Path) -> None:
    config = make_base(tmp_path)
    shutil.copytree(tmp_path / "base" / "sft" / "best", config.folder / "model")
    write_table(config.base_folder / "references")
    with pytest.raises(ReferenceTableError, match=r"belongs to another run: policy: table 'abc'"):
        Generator(config)


def test_margins_explain_the_probability(run_folder: Path) -> None:
    from pipelines.config.loading import load_config

    config = load_config(run_folder / "config.yaml", [])
    found = Generator(config).answer("How?")
    for answer in found.answers:
        reward, reference, p_good = answer.numbers()["short"]
        assert reward == pytest.approx(2.0 - 0.1 * len(answer.response), abs=1e-5)
        assert 0 < p_good < 1
        assert (p_good > 0.5) == (reward > reference)
        assert answer.p_all_good == pytest.approx(p_good * answer.numbers()["vowels"][2], rel=1e-4)
    assert found.answers[0].numbers()["short"][1] == found.answers[1].numbers()["short"][1]


def test_prompts_are_read_until_an_empty_line(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("First?\nHuman: x\nSecond?\n\nNever asked\n"))
    generate(run_folder, [])
    printed = capsys.readouterr().out
    assert "Human: First?" in printed
    assert "Human: Second?" in printed
    assert "Never asked" not in printed


def test_a_terminal_gets_a_table_and_brackets_stay_brackets() -> None:
    all_good = AllGood({"helpful": Treatment(references=0.5)}, FormulaUtility(Formula("helpful")))
    judged = all_good.of_rewards({"helpful": np.float32([1.0])}, ["x"])  # sigma(0.5) = 0.62
    answers = tuple(Answer(name, f"[b]{name}[/b] says", judged) for name in ("SFT", "aligned"))
    stream = io.StringIO()
    show(
        Comparison("\n\nHuman: [x]\n\nAssistant:", answers, "References come from the reference table."),
        Console(file=stream, force_terminal=True, width=100, color_system=None),
    )
    shown = stream.getvalue()
    assert "[b]SFT[/b] says" in shown
    assert "Human: [x]" in shown
    assert "P(good) 0.62" in shown


def test_a_run_without_model_or_config_is_refused(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no run"):
        generate(tmp_path, ["x"])
    shutil.copy(run_folder / "config.yaml", tmp_path)
    with pytest.raises(ConfigError, match="no aligned model"):
        generate(tmp_path, ["x"])
