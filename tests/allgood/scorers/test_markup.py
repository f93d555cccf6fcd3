"""Contents that spell special tokens stay text; renderings keep the template's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken

from allgood.scorers.markup import BREAK, Markup, MarkupTokens
from tests.templates import Prepend, byte_level, sentencepiece_like

TOKENIZER = byte_level(["<|end|>"], added=["<|turn|>", "<think>", "  "])
MARKUP = Markup(TOKENIZER, "<|end|><|turn|>  ")


def test_special_tokens_and_those_between_turns_are_markup_but_not_white_space_or_thoughts() -> None:
    assert set(MARKUP.tokens) == {"<pad>", "<bos>", "<eos>", "<|end|>", "<|turn|>"}


def test_a_rendering_is_split_at_its_markup() -> None:
    content = MARKUP.broken("no <eos> here")
    assert content == f"no <{BREAK}eos> here"
    assert MARKUP.split(f"<|turn|>{content}<|end|>\n") == [("", "<|turn|>"), (content, "<|end|>"), ("\n", "")]


CONTENTS = st.lists(st.sampled_from(["<eos>", "<|end|>", "<|turn|>", "<", "eos>", "|", "a b", "\n", "  "]), max_size=6)


@given(CONTENTS.map("".join))
def test_a_content_gives_its_own_text_and_no_token_of_the_markup(content: str) -> None:
    tokens = MarkupTokens(TOKENIZER, MARKUP).continued(MARKUP.broken(content))
    assert TOKENIZER.decode(tokens) == content
    assert not set(tokens) & set(MARKUP.tokens.values())


@given(CONTENTS.map("".join))
def test_a_rendering_gives_its_own_text_and_only_the_template_s_markup(content: str) -> None:
    tokens = MarkupTokens(TOKENIZER, MARKUP)[f"<|turn|>{MARKUP.broken(content)}<|end|>\n"]
    assert TOKENIZER.decode(tokens) == f"<|turn|>{content}<|end|>\n"
    assert [token for token in tokens if token in MARKUP.tokens.values()] == [
        MARKUP.tokens["<|turn|>"],
        MARKUP.tokens["<|end|>"],
    ]


@pytest.mark.parametrize("prepend", ["always", "first", "normalizer"])
def test_behind_the_markup_a_broken_rendering_reads_as_a_whole_one(prepend: Prepend) -> None:
    tokenizer = sentencepiece_like(prepend, ["<|turn|>"])
    markup = Markup(tokenizer, "")
    tokens = MarkupTokens(tokenizer, markup)
    whole = tokens["What is<|turn|>tea<|turn|> a drink"]
    broken = tokens["What is<|turn|>tea<|turn|> a drink" + markup.broken(" <eos>")]
    assert broken[: len(whole)] == whole


def test_tokens_that_swallow_white_space_do_so_in_pieces_too() -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken("<|end|>", special=True, rstrip=True, lstrip=True, normalized=False)])
    markup = Markup(tokenizer, "")
    tokens = MarkupTokens(tokenizer, markup)
    whole, broken = tokens["tea <|end|>\nriver"], tokens["tea <|end|>\nriver" + markup.broken("<eos>")]
    assert broken[: len(whole)] == whole
