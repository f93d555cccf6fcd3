"""Scorers from what they are made of: against plain transformers, with their limits and refusals."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from allgood.errors import ConfigError, ModelError
from allgood.scorers.combination import LowerBound, Mean, Median, Min
from allgood.scorers.loading import load_scorer, members_of
from allgood.scorers.spec import ClassifierSpec, EnsembleSpec, FunctionSpec, ModelSpec
from tests.actors.tiny_models import PROMPTS, RESPONSES, save_scorer


def rewards_of(spec, prompts=PROMPTS, responses=RESPONSES):
    return load_scorer(spec).score(prompts, responses).rewards


def length_reward(prompts, responses):
    return [len(response) / 10 for response in responses]


@pytest.mark.parametrize("architecture", ["bert", "llama", "gpt2"])
def test_raw_rewards_are_those_of_plain_transformers(tmp_path, architecture):
    folder = save_scorer(tmp_path, architecture)
    rewards = rewards_of(ModelSpec(folder, micro_batch_tokens=100))
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for reward, prompt, response in zip(rewards, PROMPTS, RESPONSES, strict=True):
        ids = tokenizer(f"{prompt} {response}", return_tensors="pt").input_ids
        ids = torch.cat([ids, torch.tensor([[tokenizer.eos_token_id]])], dim=1)  # this tokenizer ends nothing itself
        with torch.no_grad():
            assert reward == pytest.approx(model(ids).logits.item(), abs=1e-4)
    assert len(set(rewards.tolist())) == 3


def test_a_classifier_gives_the_log_probability_of_its_label(tmp_path):
    folder = save_scorer(tmp_path, num_labels=3)
    total = sum(np.exp(rewards_of(ClassifierSpec(folder, label))) for label in range(3))
    np.testing.assert_allclose(total, np.ones(3), rtol=1e-5)


def test_a_function_is_found_by_its_name():
    rewards = rewards_of(FunctionSpec("tests.allgood.scorers.test_loading:length_reward"), PROMPTS[:2], ["ab", ""])
    np.testing.assert_array_equal(rewards, np.array([0.2, 0.0], dtype=np.float32))
    with pytest.raises(ConfigError, match="has no 'nothing'"):
        load_scorer(FunctionSpec("tests.allgood.scorers.test_loading:nothing"))


def test_a_response_over_the_limit_is_nan(tmp_path):
    spec = ModelSpec(save_scorer(tmp_path), max_tokens=40)
    rewards = rewards_of(spec, ["\n\nHuman: a\n\nAssistant:"] * 2, ["word " * 100, "yes"])
    assert np.isnan(rewards).tolist() == [True, False]


@pytest.mark.parametrize("kind", ["model", "classifier", "ensemble"])
def test_a_limit_beyond_what_the_model_reads_is_refused(tmp_path, kind):
    source = save_scorer(tmp_path, num_labels=2 if kind == "classifier" else 1, max_position_embeddings=64)
    spec, what = {
        "model": (ModelSpec, source),
        "classifier": (ClassifierSpec, source),
        "ensemble": (EnsembleSpec, (source, source)),
    }[kind]
    load_scorer(spec(what, max_tokens=64))
    with pytest.raises(ModelError, match=r"is asked to read up to max_tokens 65, but reads 64 tokens at most"):
        load_scorer(spec(what, max_tokens=65))


@pytest.mark.parametrize(
    ("combination", "expected"),
    [
        (Mean(), lambda members: members.mean(0)),
        (Median(), lambda members: np.median(members, 0)),
        (Min(), lambda members: members.min(0)),
        (LowerBound(0.5), lambda members: members.mean(0) - 0.5 * members.std(0)),
    ],
    ids=["mean", "median", "min", "lower_bound"],
)
def test_an_ensemble_combines_the_rewards_of_its_members(tmp_path, combination, expected):
    folders = tuple(save_scorer(tmp_path / kind, kind) for kind in ("bert", "llama", "gpt2"))
    alone = np.stack([rewards_of(ModelSpec(folder)) for folder in folders])
    np.testing.assert_allclose(rewards_of(EnsembleSpec(folders, combination)), expected(alone), rtol=1e-5, atol=1e-6)


def test_the_members_of_an_ensemble_read_as_it_does():
    ensemble = EnsembleSpec(("a", "b"), max_tokens=7, micro_batch_tokens=11, device="cpu")
    expected = [ModelSpec(name, max_tokens=7, micro_batch_tokens=11, device="cpu") for name in ("a", "b")]
    assert members_of(ensemble) == expected


def test_a_response_that_one_member_cannot_score_has_no_reward(tmp_path):
    folders = tuple(save_scorer(tmp_path / kind, kind) for kind in ("bert", "llama"))
    spec = EnsembleSpec(folders, Min(), max_tokens=40)
    rewards = rewards_of(spec, ["\n\nHuman: a\n\nAssistant:"] * 2, ["word " * 100, "yes"])
    assert np.isnan(rewards).tolist() == [True, False]


def test_specs_load_without_torch_and_functions_without_transformers():
    code = (
        "import sys, allgood.scorers.spec; print('torch' in sys.modules)\n"
        "from allgood.scorers.loading import FunctionSpec, load_scorer\n"
        "load_scorer(FunctionSpec('math:fsum')); print('transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_model_without_transformers_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    for name in [name for name in sys.modules if name.startswith("allgood.scorers.p")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ModelError, match=r"model 'x' needs transformers, .* install allgood\[scorers\]"):
        load_scorer(ModelSpec("x"))
