"""How an inspection reads on a terminal without colours."""

from __future__ import annotations

from pipelines.inspection.ending import Ending
from pipelines.inspection.inspection import Conversation, Inspection
from pipelines.inspection.reading import Cuts, Reading, Token
from pipelines.inspection.terminal import lines

EOS = Token(2, "<eos>", is_markup=True)


def shown(*readings: Reading) -> str:
    names = [f"reader {number}" for number in range(len(readings))]
    cuts = {name: Cuts(num_rows=5, num_cut=1, num_dropped=0) for name in names}
    conversation = Conversation("prompts", "", "", "sampled from pi_0", dict(zip(names, readings, strict=True)), cuts)
    found = Inspection("run", [conversation], Ending((EOS,), ("\n\nHuman:",)), 0, 0, {}, [], ["no rewards yet"])
    return "\n".join(line.plain for line in lines(found))


def words(*texts: str) -> tuple[Token, ...]:
    return tuple(Token(number, text, is_markup=False) for number, text in enumerate(texts, 5))


def test_markup_response_and_line_breaks_can_be_told_apart() -> None:
    text = shown(Reading((*words("Hi", "\n", "<eos>"), EOS), response_start=2))
    assert "Hi│⏎▶<eos>│⟦<eos>⟧" in text  # the first <eos> is text, the second ends the response


def test_a_prompt_ends_where_the_policy_goes_on() -> None:
    text = shown(Reading(words("Hi", "?"), response_start=2))
    assert "Hi│?▶" in text
    assert "the policy goes on from there" in text


def test_of_a_long_conversation_the_middle_is_left_out() -> None:
    text = shown(Reading(words(*(f"w{number}" for number in range(500))), response_start=490))
    assert "w119│... 300 tokens ...│w420" in text
    assert "w300" not in text


def test_what_is_missing_cut_or_left_out_is_said() -> None:
    text = shown(Reading(words("Hi"), 1, num_cut=3, cut_text="earlier\nturns"), Reading((), None))
    assert "not yet: no rewards yet" in text
    assert "3 tokens cut from the prompt; of the first 5 rows 1 are cut" in text
    assert "cut: earlier⏎turns" in text
    assert "the response does not fit" in text
    assert "A response ends at the token <eos> (2) or at the text '\\n\\nHuman:'." in text
