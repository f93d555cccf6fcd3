"""What a model knows of a prompt."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from allgood.errors import ModelError
from allgood.scorers.prompt_features import PromptFeatures
from tests.actors.tiny_models import PROMPTS, save_scorer


@pytest.fixture(scope="module")
def model_and_tokenizer(tmp_path_factory):
    folder = save_scorer(tmp_path_factory.mktemp("scorer"))
    return AutoModelForSequenceClassification.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def test_features_are_the_mean_of_the_last_hidden_states_of_the_prompt_alone(model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    features = PromptFeatures(model, tokenizer, max_tokens=128)(PROMPTS)
    assert features.shape == (3, 32)
    assert features.dtype == np.float32
    for row, prompt in zip(features, PROMPTS, strict=True):
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        ids = torch.cat([ids, torch.tensor([[tokenizer.eos_token_id]])], dim=1)
        with torch.no_grad():
            hidden = model.base_model(input_ids=ids).last_hidden_state
        np.testing.assert_allclose(row, hidden[0].mean(0), rtol=1e-4, atol=1e-5)


def test_a_prompt_of_which_nothing_fits_is_refused(model_and_tokenizer):
    with pytest.raises(ModelError, match="nothing of the prompt"):
        PromptFeatures(*model_and_tokenizer, max_tokens=1)(PROMPTS[:1])
