"""Building references with real actors: the files, their numbers against plain recomputation, their keys."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM

from actors.cluster.cast import Cast
from allgood.errors import ReferenceTableError, RoleError
from pipelines.alignment.setup import set_up
from pipelines.config.run import RunConfig
from pipelines.references.build import build_references
from pipelines.references.table import ReferenceTable
from tests.pipelines import tiny_rewards
from tests.pipelines.tiny_run import make_base, tiny_config

REPLIES = ["I cannot help with that.", "Sorry."]
GOLD = {"gold": "tests.pipelines.tiny_rewards:gold", "bars": {"short": 0.0, "vowels": 1.0}}


def properties(config: RunConfig) -> dict[str, object]:
    canned = {"kind": "canned", "replies": REPLIES}
    sections = config.model_dump(mode="json")["properties"]
    return {"short": sections["short"], "vowels": sections["vowels"] | {"reference": canned}}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    folder = tmp_path_factory.mktemp("references")
    return tiny_config(folder, properties=properties(make_base(folder)), evaluate=GOLD)


@pytest.fixture(scope="module")
def built(config: RunConfig, tiny_cast: Cast) -> RunConfig:
    build_references(config, tiny_cast)
    return config


def test_every_prompt_of_the_splits_has_all_samples_with_their_rewards(built: RunConfig) -> None:
    samples = pq.read_table(built.base_folder / "references" / "samples.parquet").to_pandas()
    assert len(samples) == (10 + 4) * 8  # alignment and validation prompts x samples
    assert set(samples["split"]) == {"alignment", "validation"}
    assert samples.groupby("prompt_id")["sample"].apply(sorted).apply(tuple).unique().tolist() == [tuple(range(8))]
    for name, score in (("short", tiny_rewards.short), ("vowels", tiny_rewards.vowels)):
        expected = score(samples["prompt"].tolist(), samples["response"].tolist())
        np.testing.assert_allclose(samples[f"reward.{name}"], expected, rtol=1e-6)
        np.testing.assert_allclose(samples[f"gold.{name}"], expected, rtol=1e-6)
    assert (samples["num_tokens"] == samples["response_tokens"].apply(len)).all()


def test_the_sum_of_log_pi_0_is_that_of_the_model(built: RunConfig) -> None:
    from allgood.scorers.models import load_tokenizer
    from tests.allgood.scorers.one_by_one import encode_prompt

    folder = str(built.base_folder / "sft" / "best")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), load_tokenizer(folder)
    for sample in pq.read_table(built.base_folder / "references" / "samples.parquet").to_pylist()[:5]:
        prompt = list(encode_prompt(tokenizer, sample["prompt"], max_tokens=64).tokens)
        tokens = torch.tensor([prompt + sample["response_tokens"]])
        with torch.no_grad():
            logprobs = model(tokens).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        total = logprobs.gather(-1, tokens[0, len(prompt) :, None]).sum().item()
        assert sample["reference_logprob"] == pytest.approx(total, abs=1e-3)


def test_the_table_is_recomputed_from_the_samples(built: RunConfig) -> None:
    table = ReferenceTable.load(built.base_folder / "references")
    samples = pq.read_table(built.base_folder / "references" / "samples.parquet").to_pandas()
    for prompt, rewards in samples.groupby("prompt_id")["reward.short"]:
        row = table.rows["short"][prompt]
        assert row["n"] == 8
        np.testing.assert_allclose(
            [row["mean"], row["std"], row["q85"]],
            [rewards.mean(), rewards.std(ddof=1), np.quantile(rewards, 0.85)],
            rtol=1e-6,
        )
    reference = built.properties["vowels"].reference
    values = table.reference_values("vowels", reference, list(table.rows["vowels"]))
    np.testing.assert_allclose(list(values.values()), np.mean(tiny_rewards.vowels([""] * 2, REPLIES)), rtol=1e-6)


def test_the_same_config_makes_the_same_samples(
    built: RunConfig, tiny_cast: Cast, capsys: pytest.CaptureFixture[str]
) -> None:
    before = pq.read_table(built.base_folder / "references" / "samples.parquet")
    build_references(built, tiny_cast)
    assert "scoring fixed replies: vowels: 28/28 (100 %)" in capsys.readouterr().err  # 2 replies to each of 14 prompts
    assert pq.read_table(built.base_folder / "references" / "samples.parquet").equals(before)


def test_a_run_with_another_sampling_limit_is_refused_by_key(built: RunConfig) -> None:
    set_up(built)
    other = built.model_copy(update={"sampling": built.sampling.model_copy(update={"max_new_tokens": 11})})
    with pytest.raises(ReferenceTableError, match=r"sampling\.max_new_tokens: table 12, run 11"):
        set_up(other)
    other = built.model_copy(update={"sampling": built.sampling.model_copy(update={"stop": ["!"]})})
    with pytest.raises(ReferenceTableError, match=r"sampling\.stop: table .*, run \['!'\]"):
        set_up(other)


def test_a_run_on_another_policy_is_refused_by_key(built: RunConfig) -> None:
    config_file = built.base_folder / "sft" / "best" / "config.json"
    content = config_file.read_text()
    config_file.write_text(content + "\n")
    try:
        with pytest.raises(ReferenceTableError, match=r"belongs to another run: policy:"):
            set_up(built)
    finally:
        config_file.write_text(content)


def test_prompts_without_a_reference_are_counted(built: RunConfig, tiny_cast: Cast) -> None:
    limited = built.model_copy(
        update={"references": built.references.model_copy(update={"max_prompts": {"alignment": 3}})}
    )
    assert len(set_up(limited).prompts) == 3
    build_references(limited, tiny_cast)
    with pytest.raises(ReferenceTableError, match=r"7 of 13 prompts have no short reference"):
        set_up(built)
    build_references(built, tiny_cast)


def test_a_reward_that_is_no_logit_is_refused_after_the_first_chunk(built: RunConfig) -> None:
    share = {
        "kind": "function",
        "function": "tests.pipelines.tiny_rewards:share_of_vowels",
        "placement": {"cpus": 0.1},
    }
    config = tiny_config(built.base_folder.parent, properties={"share": share})
    with pytest.raises(RoleError, match=r"property share: rewards all lie in \[0, 1\] \(56 of them"):  # 7 prompts x 8
        build_references(config)
