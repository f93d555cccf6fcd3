from dataclasses import replace
from pathlib import Path

import pytest

from allgood.errors import ModelError
from pipelines.config.run import RunConfig
from pipelines.data import Prompt
from pipelines.references.prompt_fit import check_prompts_fit
from tests.pipelines.data.files import prompts_config
from tests.templates import template_tokenizer

SHORT = Prompt("a", "\n\nHuman: What is tea?\n\nAssistant:", "alignment", "prompts")
LONG = Prompt("b", f"\n\nHuman: {'What is tea? ' * 50}\n\nAssistant:", "test", "prompts")


def run_of(folder: Path, kind: str, max_prompt_tokens: int) -> RunConfig:
    """A run without SFT on a policy of which only the tokenizer is there."""
    template_tokenizer(kind).save_pretrained(folder / "policy")
    raw = prompts_config(folder, folder / "prompts.jsonl").model_dump(exclude_unset=True)
    sampling = {"max_prompt_tokens": max_prompt_tokens}
    return RunConfig.model_validate({**raw, "policy": {"model": str(folder / "policy")}, "sampling": sampling})


def test_prompts_that_are_cut_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = run_of(tmp_path, "chatml", 120)
    check_prompts_fit(config, [SHORT])
    assert capsys.readouterr().out == ""
    check_prompts_fit(config, [SHORT, LONG])
    assert (
        "1 of 2 prompts are longer than sampling.max_prompt_tokens = 120 tokens and are cut" in capsys.readouterr().out
    )


def test_a_prompt_of_which_nothing_fits_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing of a prompt fits into 5 tokens; .* the prompt .Human: What is"):
        check_prompts_fit(run_of(tmp_path, "chatml", 5), [SHORT])


def test_a_policy_without_chat_template_is_said_to_read_labelled_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    system = replace(SHORT, text=f"\n\nSystem: Be brief.{SHORT.text}")
    check_prompts_fit(run_of(tmp_path, "none", 120), [system])
    assert "has no chat template: it reads conversations as text" in capsys.readouterr().out
