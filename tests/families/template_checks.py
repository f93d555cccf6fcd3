"""What policies and scorers read through a chat template, against the template called by anybody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerFast

from allgood.scorers.encoding import encode_all_for_scoring, encode_examples
from allgood.scorers.policy_format import response_form
from tests.families.messages import messages_of
from tests.templates import template_tokenizer

REASONED = "<think>\nWater and leaves.\n</think>\n\nA drink."
PROMPT = f"\n\nSystem: Be brief.\n\nHuman: What is tea?\n\nAssistant: {REASONED}\n\nHuman: And mate?\n\nAssistant:"
RESPONSE = "Also one."
ROOM = 500  # tokens, so that nothing is cut


@dataclass(frozen=True)
class TemplateCase:
    """One row of the table. `merges_system` says that the system turn is put before the first question."""

    kind: str
    name: str
    merges_system: bool = False
    wants_parts: bool = False


TEMPLATES = (
    TemplateCase("chatml", "ChatML, default system text"),
    TemplateCase("headers", "headers, writes BOS"),
    TemplateCase("alternating", "strict alternation, no system turn, writes BOS", merges_system=True),
    TemplateCase("reasoning", "ChatML, removes earlier reasoning"),
    TemplateCase("parts", "ChatML, content in parts", wants_parts=True),
    TemplateCase("no_system", "ChatML, drops system turns", merges_system=True),
)


@dataclass(frozen=True)
class TemplateFindings:
    """The token that ends a response, and whether policies and scorers read what the template writes."""

    end: str
    policy: bool
    scorer: bool


def examine_template(case: TemplateCase) -> TemplateFindings:
    """A conversation with a system turn and two replies, as a policy learns it and as a scorer reads it."""
    tokenizer = template_tokenizer(case.kind)
    (example,) = encode_examples(tokenizer, [(PROMPT, RESPONSE)], max_tokens=ROOM)
    (scored,) = encode_all_for_scoring(tokenizer, [(PROMPT, RESPONSE)], max_tokens=ROOM)
    assert example is not None
    assert scored is not None
    end = response_form(tokenizer).end
    asked, answered = _rendered(tokenizer, case, answer=False), _rendered(tokenizer, case, answer=True)
    prompt, reply = example.tokens[: example.num_prompt_tokens], example.tokens[example.num_prompt_tokens :]
    ends = reply[-len(end) :] == list(end)
    return TemplateFindings(
        end=str(tokenizer.decode(end)),
        policy=prompt == asked and ends and tokenizer.decode(reply[: -len(end)]).strip() == RESPONSE,
        scorer=list(scored.tokens) == answered,
    )


def _rendered(tokenizer: PreTrainedTokenizerFast, case: TemplateCase, *, answer: bool) -> list[int]:
    """The template's own tokens of the prompt, ready for an answer, or of the conversation with it."""
    messages: list[dict[str, Any]] = list(messages_of(PROMPT, merge_system=case.merges_system))
    if answer:
        messages.append({"role": "assistant", "content": RESPONSE})
    if case.wants_parts:
        messages = [row | {"content": [{"type": "text", "text": row["content"]}]} for row in messages]
    return list(
        tokenizer.apply_chat_template(messages, add_generation_prompt=not answer, return_dict=True)["input_ids"]
    )
