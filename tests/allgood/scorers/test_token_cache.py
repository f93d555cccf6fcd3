"""Ids of texts at the start and behind other text."""

import pytest

from allgood.scorers.token_cache import TokenCache
from tests.templates import Prepend, byte_level, sentencepiece_like

TEXT = "\n\nHuman: Name a river."


def test_a_byte_level_tokenizer_reads_a_continued_text_like_a_first_one() -> None:
    cache = TokenCache(byte_level())
    cache.fill_continued([TEXT, " A drink."])
    for text in (TEXT, " A drink.", ""):
        assert cache.continued(text) == cache[text] == byte_level().encode(text)


@pytest.mark.parametrize("prepend", ["always", "first", "normalizer"])
def test_what_continues_has_no_space_put_before_it(prepend: Prepend) -> None:
    tokenizer = sentencepiece_like(prepend)
    cache = TokenCache(tokenizer)
    assert tokenizer.convert_ids_to_tokens(cache[TEXT])[0] == "▁"
    assert tokenizer.convert_ids_to_tokens(cache.continued(TEXT))[0] == "<0x0A>"
    assert tokenizer.convert_ids_to_tokens(cache.continued(" A drink.")) == ["▁A", "▁drink."]
    assert cache.continued("") == []


@pytest.mark.parametrize("prepend", ["always", "first", "normalizer"])
def test_many_at_once_equal_one_by_one(prepend: Prepend) -> None:
    texts = [TEXT, " A drink.", "ss", ": istant", TEXT]
    together, alone = TokenCache(sentencepiece_like(prepend)), TokenCache(sentencepiece_like(prepend))
    together.fill_continued(texts)
    assert [together.continued(text) for text in texts] == [alone.continued(text) for text in texts]
