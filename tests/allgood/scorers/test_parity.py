"""Rewards in a batch against rewards alone."""

import json

import numpy as np
import pytest

from allgood.errors import ModelError
from allgood.scorers.loading import load_scorer
from allgood.scorers.parity import score_parity
from allgood.scorers.spec import EnsembleSpec, FunctionSpec, ModelSpec
from tests.actors.tiny_models import PROMPTS, RESPONSES, save_scorer


@pytest.mark.parametrize("architecture", ["bert", "llama"])
def test_batched_and_plain_scores_agree(tmp_path, architecture):
    scorer = load_scorer(ModelSpec(save_scorer(tmp_path, architecture)))
    assert score_parity(scorer, PROMPTS, RESPONSES) < 1e-3


def test_a_causal_reward_model_without_a_pad_token_scores_right_one_by_one(tmp_path):
    scorer = load_scorer(ModelSpec(save_scorer(tmp_path, "llama", pad_token_id=None)))
    assert score_parity(scorer, PROMPTS, RESPONSES) < 1e-6
    assert np.isfinite(scorer.score(PROMPTS, RESPONSES).rewards).all()


def test_every_member_of_an_ensemble_is_compared(tmp_path):
    folders = tuple(save_scorer(tmp_path / kind, kind) for kind in ("bert", "llama"))
    scorer = load_scorer(EnsembleSpec(folders))
    alone = [score_parity(member, PROMPTS, RESPONSES) for member in scorer.members]
    assert score_parity(scorer, PROMPTS, RESPONSES) == max(alone) < 1e-3


def test_a_wrong_pad_token_is_found(tmp_path):
    scorer = load_scorer(ModelSpec(save_scorer(tmp_path, "llama")))
    config = json.loads((tmp_path / "config.json").read_text())
    # A pad token that differs from the one that pads: plain rows are right, batched ones read the padding.
    scorer._pad_token = config["pad_token_id"] + 5
    with pytest.raises(ModelError, match=r"^model '.*' gives .* in a batch but .* check pad_token_id"):
        score_parity(scorer, PROMPTS, RESPONSES)


def test_a_sample_that_cannot_be_scored_is_refused(tmp_path):
    scorer = load_scorer(ModelSpec(save_scorer(tmp_path), max_tokens=40))
    with pytest.raises(ModelError, match="nan"):
        score_parity(scorer, PROMPTS, [*RESPONSES[:2], "word " * 100])


def test_a_function_has_no_batches_to_compare():
    assert score_parity(load_scorer(FunctionSpec("math:fsum")), PROMPTS, RESPONSES) == 0.0
