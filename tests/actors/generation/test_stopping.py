"""Stop strings over tokens, and the text of a response."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.generation.stopping import StopStrings, end_tokens, response_texts
from tests.actors import tiny_models
from tests.templates import template_tokenizer

TOKENIZER = tiny_models.tokenizer()


def tokens_of(text):
    return np.array(TOKENIZER.encode(text, add_special_tokens=False), dtype=np.int32)


@given(st.text("abH\n: uman.é", max_size=20), st.sampled_from(["\n\nHuman:", "ab", "é", "."]))
def test_a_completed_stop_string_is_never_missed(text, stop):
    stops = StopStrings(TOKENIZER, [stop])
    tokens = tokens_of(text)
    found = [
        i for i in range(1, len(tokens) + 1) if stops.may_complete(tokens[i - 1 : i])[0] and stops.found(tokens[:i])
    ]
    # every prefix whose text is the first to hold the stop string must have been looked at
    texts = [TOKENIZER.decode(tokens[:i]) for i in range(1, len(tokens) + 1)]
    first = next((i for i, prefix in enumerate(texts, start=1) if stop in prefix), None)
    assert (found[0] if found else None) == first


def test_few_tokens_trigger_decoding():
    stops = StopStrings(TOKENIZER, ["\n\nHuman:"])
    every = np.arange(len(TOKENIZER), dtype=np.int32)
    assert 0 < stops.may_complete(every).sum() < 0.1 * len(TOKENIZER)


def test_ids_beyond_the_tokenizer_complete_nothing():
    assert not StopStrings(TOKENIZER, ["a"]).may_complete(np.array([10_000], dtype=np.int32)).any()


@pytest.mark.parametrize(
    ("text", "trimmed"),
    [
        (" Paris.\n\nHuman: and", "Paris."),
        (" Paris.\n\nHuman", "Paris.\n\nHuman"),
        ("\n\nHuman:", ""),
        (" one STOP two\n\nHuman: three", "one"),
        ("  spaces  ", "spaces"),
    ],
)
def test_text_is_cut_at_the_first_stop_string_and_stripped(text, trimmed):
    assert response_texts(TOKENIZER, [tokens_of(text)], ["stop"], ["\n\nHuman:", "STOP"]) == (trimmed,)


def test_special_tokens_are_no_text():
    tokens = np.append(tokens_of(" Paris."), TOKENIZER.eos_token_id)
    assert response_texts(TOKENIZER, [tokens, tokens], ["eos", "length"], []) == ("Paris.", "Paris.")


def test_with_a_chat_template_a_response_is_kept_as_it_was_generated():
    tokenizer = template_tokenizer("chatml")
    tokens = np.array(tokenizer.encode("\n Paris. \n<|im_end|>"), dtype=np.int32)
    assert response_texts(tokenizer, [tokens, tokens[:-1]], ["eos", "length"], []) == ("\n Paris. \n",) * 2


def test_a_token_that_ends_a_response_is_no_text_even_if_it_is_not_special():
    tokens = tokens_of(" Paris. x")
    assert response_texts(TOKENIZER, [tokens], ["eos"], []) == ("Paris.",)


def test_end_tokens_are_those_of_tokenizer_and_generation_config():
    model = tiny_models.policy()
    assert end_tokens(model.generation_config, TOKENIZER).tolist() == [2]
    model.generation_config.eos_token_id = [7, 2]
    assert end_tokens(model.generation_config, TOKENIZER).tolist() == [2, 7]


def test_the_token_that_ends_a_turn_of_the_template_is_an_end_token():
    tokenizer = template_tokenizer("chatml")
    ends = {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")}
    assert set(end_tokens(tiny_models.policy().generation_config, tokenizer).tolist()) == ends
