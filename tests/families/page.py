"""The page `docs/reference/models.md`: a row per family and chat template, made of what the checks found."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from actors.tables import markdown_row
from allgood.errors import ModelError
from tests.families.more_policies import MORE_POLICIES
from tests.families.more_scorers import MORE_SCORERS
from tests.families.policies import POLICIES, PolicyCase
from tests.families.policy_checks import PolicyFindings, examine_policy
from tests.families.scorer_checks import ScoringFindings, TrainingFindings, examine_scoring, examine_training
from tests.families.scorers import SCORERS, ScorerCase
from tests.families.template_checks import TEMPLATES, TemplateCase, TemplateFindings, examine_template

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "models.md"

ALL_POLICIES = (*POLICIES, *MORE_POLICIES)
ALL_SCORERS = (*SCORERS, *MORE_SCORERS)

NAMES_OF_TEMPLATES = {"none": "none", **{case.kind: case.name for case in TEMPLATES}}
DECODERS = {
    "prefill_shared": "shared prompts",
    "prefill_expanded": "a cache per sample",
    "prefill_recomputing": "whole passes",
}

HEAD = """# Models that were tried

<!-- Written by `python -m tests.families`; do not edit. -->

Which families of models work, tried on tiny random models of each that go the way a run takes: saved to a folder,
loaded by the actors, sampled, scored, aligned by one step, saved and loaded again. Random weights have a large spread,
so that a wrong mask, position or cache shows. The tests check every row anew.

A family that is not listed may work all the same: a policy's first samples are compared with the reference policy, and
a reward model's first batch with single responses, before anything is trained; a difference is refused in one sentence.
"""

POLICIES_TEXT = """
## Policies

* *Samples by*: how responses are generated. Samples that share their prompt's cache are the fastest, a whole
  pass for every token is the slowest.
* *Prompt*: the policy reads the tokens that its tokenizer, or its chat template, gives anybody.
* *Log-probs*: of sampled tokens, from the engine (padded on the left, other prompts alongside) and from the reference
  policy (padded on the right), equal those of a plain pass over each row alone, within 1e-4 nats per token.
* *Greedy text*: at a temperature near zero the engine gives the tokens and the text of `generate`.
* *Alignment*: an update moves the weights; the engine with the published weights equals the saved model.
* *SFT*: two steps lower the loss; the saved model has the loss that is reported.
"""

SCORERS_TEXT = """
## Reward models

* *Rewards*: of a batch equal those of each response alone and unpadded, in any order, within 1e-4 of 1 + |reward|.
* *Training*: two steps lower the loss; the saved model has the loss that is reported.
"""

TEMPLATES_TEXT = """
## Chat templates

A conversation with a system turn and two replies. A policy reads the tokens of the template, BOS once, and learns the
response with what the template ends it with; generation stops there too. A scorer reads the tokens of the template for
the whole conversation.
"""

Found = TypeVar("Found")


def write_page(folder: Path) -> None:
    """Examine every family, working in `folder`, and write the page."""
    policies = [policy_lines(case, examined_policy(case, folder / "policies" / case.name)) for case in ALL_POLICIES]
    scorers = [scorer_lines(case, *examined_scorer(case, folder / "scorers" / case.name)) for case in ALL_SCORERS]
    templates = [[template_row(case, examine_template(case))] for case in TEMPLATES]
    family = ("family", "`model_type`", "special", "chat template")
    PAGE.write_text(
        HEAD
        + POLICIES_TEXT
        + _table((*family, "samples by", "prompt", "log-probs", "greedy text", "alignment", "SFT"), policies)
        + SCORERS_TEXT
        + _table((*family, "rewards", "training"), scorers)
        + TEMPLATES_TEXT
        + _table(("chat template", "system turn", "a response ends with", "policy", "scorer"), templates),
        encoding="utf-8",
    )


def examined_policy(case: PolicyCase, folder: Path) -> PolicyFindings | str:
    """What was found, or the sentence of the refusal."""
    return _or_refusal(lambda: examine_policy(case, folder))


def examined_scorer(case: ScorerCase, folder: Path) -> tuple[ScoringFindings | str, TrainingFindings | str]:
    """What scoring and training found, or the sentences of their refusals."""
    return (
        _or_refusal(lambda: examine_scoring(case, folder / "scored")),
        _or_refusal(lambda: examine_training(case, folder / "trained")),
    )


def policy_lines(case: PolicyCase, found: PolicyFindings | str) -> list[str]:
    """The policy's row of the table, and its refusal if there is one."""
    if isinstance(found, str):
        return [markdown_row([*_family(case), *["refused"] * 6]), _refusal(case, found)]
    return [markdown_row([*_family(case), DECODERS[found.decoder], *map(_word, found.verdicts().values())])]


def scorer_lines(case: ScorerCase, scoring: ScoringFindings | str, training: TrainingFindings | str) -> list[str]:
    """The reward model's row of the table, and its refusals if there are some."""
    found = (scoring, training)
    words = ["refused" if isinstance(one, str) else _word(one.holds) for one in found]
    return [markdown_row([*_family(case), *words]), *(_refusal(case, one) for one in found if isinstance(one, str))]


def template_row(case: TemplateCase, found: TemplateFindings) -> str:
    """The chat template's row of the table."""
    system = "put before the first question" if case.merges_system else "as the template writes it"
    return markdown_row([case.name, system, f"`{found.end}`", _word(found.policy), _word(found.scorer)])


def _or_refusal(examine: Callable[[], Found]) -> Found | str:
    try:
        return examine()
    except ModelError as error:
        return str(error)


def _family(case: PolicyCase | ScorerCase) -> tuple[str, ...]:
    return case.name, f"`{case.architecture['model_type']}`", case.special, NAMES_OF_TEMPLATES[case.template]


def _word(holds: bool) -> str:
    return "yes" if holds else "**no**"


def _refusal(case: PolicyCase | ScorerCase, sentence: str) -> str:
    """The sentence without what differs from one machine to the next: numbers and the place of the model."""
    for pattern, general in ((r"\[[^\]]*\]", "..."), (r"'/[^']*'", "NAME"), (r"\d+%", "N%")):
        sentence = re.sub(pattern, general, sentence)
    return f'* {case.name} is refused: "{sentence}"'


def _table(columns: tuple[str, ...], lines: list[list[str]]) -> str:
    """A table of the first lines, and below it the others."""
    table = [markdown_row(columns), markdown_row(["---"] * len(columns)), *(row for row, *_ in lines)]
    others = [line for _, *others in lines for line in others]
    return "\n" + "\n".join([*table, *([""] if others else []), *others]) + "\n"
