"""An inspection of whole tiny runs: finished models, and models that are still to be trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from allgood.errors import ModelError
from allgood.scorers.models import load_tokenizer
from pipelines.config.loading import load_config
from pipelines.inspection.inspect_run import inspect_run
from pipelines.inspection.inspection import Inspection
from pipelines.inspection.page import write_page
from pipelines.inspection.reading import Reading
from pipelines.inspection.terminal import lines
from pipelines.inspection.words import warnings
from tests.pipelines.inspection.instruct_run import instruct_config, save_classifier
from tests.pipelines.tiny_rewards import centred_short, short


def text_of(reading: Reading) -> str:
    return "".join(token.text for token in reading.tokens)


def printed(found: Inspection) -> str:
    return "\n".join(line.plain for line in lines(found))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inspection")


@pytest.fixture(scope="module")
def finished(folder: Path) -> Inspection:
    return inspect_run(instruct_config(folder), num_prompts=3, samples_per_prompt=2)


def test_every_model_reads_the_sampled_answer_through_its_own_template(finished: Inspection, folder: Path) -> None:
    (conversation,) = finished.conversations
    assert conversation.source == "prompts"
    policy, helpful = conversation.readings["policy"], conversation.readings["helpful"]
    assert "<|im_start|>assistant" in text_of(policy)
    assert "<bos><|start_header_id|>" in text_of(helpful)
    assert policy.response_start is not None
    assert helpful.response_start is not None
    assert len(policy.tokens) > policy.response_start  # the answer as it was sampled
    tokenizer = load_tokenizer(folder / "helpful")
    read = [token.id for token in helpful.tokens[helpful.response_start : -1]]
    assert tokenizer.decode(read) == conversation.response.strip()  # this template trims what it is given


def test_a_response_ends_at_the_eos_and_at_the_end_of_a_turn(finished: Inspection) -> None:
    assert {token.text for token in finished.ending.tokens} == {"<eos>", "<|im_end|>"}
    assert finished.ending.stop == ()


def test_rewards_alone_and_in_a_batch_agree(finished: Inspection) -> None:
    assert set(finished.rewards) == {"helpful", "harmless"}
    assert all(rewarded.shown.agree for rewarded in finished.rewards.values())
    assert (finished.num_prompts, finished.samples_per_prompt) == (3, 2)
    assert finished.missing == []


def test_terminal_and_page_show_the_same(finished: Inspection, folder: Path) -> None:
    text = printed(finished)
    write_page(finished, folder / "runs" / "own" / "inspect.html")
    page = (folder / "runs" / "own" / "inspect.html").read_text(encoding="utf-8")
    for sought in ("helpful", "harmless", "learner", "rollout", "std within"):
        assert sought in text
        assert sought in page
    assert "⟦<|im_end|>⟧" in text
    assert 'class="markup" title="4">&lt;|im_end|&gt;</span>' in page
    assert "<script" not in page


def test_nothing_but_the_page_is_written(finished: Inspection, folder: Path) -> None:
    assert {path.name for path in (folder / "runs").rglob("*") if path.is_file()} <= {"inspect.html"}


def test_a_reward_that_depends_on_its_neighbours_is_warned_of(folder: Path) -> None:
    properties = {"short": {"kind": "function", "function": f"{centred_short.__module__}:centred_short"}}
    found = inspect_run(instruct_config(folder, properties=properties), num_prompts=4, samples_per_prompt=2)
    assert not found.rewards["short"].shown.agree
    assert any("depends on its neighbours" in sentence for sentence in warnings(found))


def test_functions_and_classifiers_are_inspected_too(folder: Path) -> None:
    properties = {
        "short": {"kind": "function", "function": f"{short.__module__}:short", "zero_is_a_score": True},
        "harmless": {
            "kind": "classifier",
            "model": save_classifier(folder / "classifier"),
            "max_tokens": 200,
        },
    }
    found = inspect_run(instruct_config(folder, properties=properties), num_prompts=2, samples_per_prompt=2)
    assert set(found.rewards) == {"short", "harmless"}
    assert found.rewards["harmless"].range.maximum < 0
    assert set(found.conversations[0].readings) == {"policy", "harmless"}
    assert next(role for role in found.roles if role.name == "scorer short").total == 0


def test_a_scorer_that_cannot_be_read_is_named(folder: Path) -> None:
    properties = {"helpful": {"kind": "model", "model": str(folder / "absent")}}
    with pytest.raises(ModelError, match=r"property 'helpful': .*absent"):
        inspect_run(instruct_config(folder, properties=properties), num_prompts=1, samples_per_prompt=1)


def test_before_anything_was_trained_texts_and_memory_are_shown(tmp_path: Path) -> None:
    overrides = [f"output_dir={tmp_path}", "world.num_prompts=100", "world.pairs_per_prompt=1"]
    config = load_config(Path("configs/quickstart.yaml"), overrides)
    found = inspect_run(config, num_prompts=2, samples_per_prompt=2)
    assert not (tmp_path / "quickstart").exists()
    assert [conversation.source for conversation in found.conversations] == [
        "prompts", "pairs.harmless", "pairs.helpful", "demonstrations",
    ]  # fmt: skip
    assert set(found.conversations[1].readings) == {"policy", "helpful", "harmless"}
    assert found.rewards == {}
    assert [sentence.partition(":")[0] for sentence in found.missing] == [
        "no samples of pi_0, and so no rewards",
        "no rewards of helpful",
        "no rewards of harmless",
    ]
    assert "allgood reward RUN.yaml helpful" in printed(found)
    assert [role.name for role in found.roles] == [
        "SFT", "training of helpful", "training of harmless", "rollout", "scorer helpful", "scorer harmless",
        "reference policy", "learner",
    ]  # fmt: skip
