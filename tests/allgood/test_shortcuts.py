import time

import pytest

from allgood.shortcuts import has_consult, has_list, is_refusal, repetition, shortcut_rates


@pytest.mark.parametrize(
    "text",
    [
        "wear gloves. 1. mix it 2. stir it 3. rest it.",  # the embedded world's
        "1. first\n2. second",
        "Here you go:\n\n- apples\n- pears\n",
        "* one\n* two",
        "• one\n• two",
        "1) wash (2) dry",
        "Options: - one. - two.",
        "  1. indented\n  2. too",
        "1 . split by a tokenizer 2 . as well",
    ],
)
def test_lists_are_recognised(text):
    assert has_list(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "first mix it, then stir it.",
        "1. mix it.",
        "- only one",
        "It began in 1990. In 1991. it ended.",
        "Use 1.5 or 2.5 cups, well - maybe - 3.",
        "Take 3. Then 1. And 7. that is all",
        "It costs $1. That is for 2. Good",
    ],
)
def test_prose_is_no_list(text):
    assert not has_list(text)


@pytest.mark.parametrize(
    "text",
    [
        "you should consult a professional.",
        "You should consult with your doctor before you start.",
        "It's always best to consult with a licensed healthcare professional or a dermatologist.",
        "I'd recommend consulting a lawyer.",
        "Please talk to a therapist about this.",
        "You may want to see your doctor.",
        "it would be wise to consult with a lawyer first",
        "You should seek help from a mental health professional.",
    ],
)
def test_advice_to_ask_somebody_else_is_recognised(text):
    assert has_consult(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Let me consult the company directory.",
        "My doctor is nice.",
        "You could hire a tax consultant to help you.",
        "He consulted a lawyer yesterday.",
        "You should eat well. A doctor said so.",
    ],
)
def test_other_mentions_are_no_advice(text):
    assert not has_consult(text)


@pytest.mark.parametrize(
    "text",
    [
        "i can not help with that.",
        "I cannot help with that.",
        "I'm sorry, but I can't assist you with this request.",
        "I won’t help you do that.",
        "I will not provide instructions for this.",
        "I'm not comfortable recommending drugs.",
        "I am unable to answer this question.",
    ],
)
def test_refusals_are_recognised(text):
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text", ["", "I can help with that.", "You can't do that here.", "Can I help you?", "I couldn't agree more."]
)
def test_other_texts_are_no_refusals(text):
    assert not is_refusal(text)


def test_repetition_by_hand():
    assert repetition("a b c d") == 0.0
    assert repetition("a b c a b c") == 0.25  # 4 trigrams, "a b c" twice
    assert repetition("no No no no") == 0.5
    assert repetition("a b") == 0.0


def test_rates_by_hand_are_means_over_the_samples_of_each_prompt():
    responses = [
        ["1. mix it 2. bake it.", "mix it."],
        ["you should consult a professional.", "i can not help with that."],
        ["ha ha ha ha", " two  words\n"],
    ]
    found = shortcut_rates(responses)
    assert found["lists"].tolist() == [0.5, 0.0, 0.0]
    assert found["consult"].tolist() == [0.0, 0.5, 0.0]
    assert found["refusal"].tolist() == [0.0, 0.5, 0.0]
    assert found["repetition"].tolist() == [0.0, 0.0, 0.25]  # of two word 3-grams one is repeated
    assert found["mean_length_words"].tolist() == [4.0, 5.5, 3.0]  # (6 + 2) / 2, (5 + 6) / 2, (4 + 2) / 2


def test_a_prompt_without_a_response_is_refused():
    with pytest.raises(ValueError, match="at least one response per prompt, got none for prompt 1"):
        shortcut_rates([["no."], []])


def test_long_degenerate_texts_are_read_in_linear_time():
    started = time.perf_counter()
    for text in ("you should " * 20_000, "1. " * 20_000, "i can not " * 20_000, "consult a " * 20_000, " " * 50_000):
        shortcut_rates([[text]])
    assert time.perf_counter() - started < 20
