"""The page `docs/reference/models.md`: a row per family, made of what the checks found."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from allgood.errors import ModelError
from tests.families.more_policies import MORE_POLICIES
from tests.families.more_scorers import MORE_SCORERS
from tests.families.policies import POLICIES, PolicyCase
from tests.families.policy_checks import PolicyFindings, examine_policy
from tests.families.scorer_checks import ScorerFindings, examine_scorer
from tests.families.scorers import SCORERS, ScorerCase

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "models.md"

ALL_POLICIES = (*POLICIES, *MORE_POLICIES)
ALL_SCORERS = (*SCORERS, *MORE_SCORERS)

TEMPLATES = {
    "chatml": "ChatML, default system text",
    "headers": "headers, writes BOS",
    "alternating": "strict alternation, no system turn, writes BOS",
    "reasoning": "ChatML, removes earlier reasoning",
    "none": "none",
}
DECODERS = {
    "prefill_shared": "shared prompts",
    "prefill_expanded": "a cache per sample",
    "prefill_recomputing": "whole passes",
}

HEAD = """# Models that were tried

<!-- Written by `python -m tests.families`; do not edit. -->

Which families of models work, tried on tiny random models of each that go the way a run takes: saved to a folder,
loaded by the actors, sampled, scored, aligned by one step, saved and loaded again. Random weights have a large spread,
so that a wrong mask, position or cache shows. The tests check every row of both tables anew.

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


class Findings(Protocol):
    """What an examination found."""

    def verdicts(self) -> dict[str, bool]:
        """Whether each promise holds, by column."""


def write_page(folder: Path) -> None:
    """Examine every family, working in `folder`, and write the page."""
    policies = [
        policy_row(case, outcome_of(lambda case=case: examine_policy(case, folder / "policy" / case.name)))
        for case in ALL_POLICIES
    ]
    scorers = [
        scorer_row(case, outcome_of(lambda case=case: examine_scorer(case, folder / "scorer" / case.name)))
        for case in ALL_SCORERS
    ]
    policy_columns = ("samples by", "prompt", "log-probs", "greedy text", "alignment", "SFT")
    PAGE.write_text(
        HEAD
        + POLICIES_TEXT
        + _table(("family", "`model_type`", "special", "chat template", *policy_columns), policies)
        + SCORERS_TEXT
        + _table(("family", "`model_type`", "special", "chat template", "rewards", "training"), scorers),
        encoding="utf-8",
    )


def outcome_of(examine: Callable[[], PolicyFindings | ScorerFindings]) -> PolicyFindings | ScorerFindings | str:
    """What was found, or the sentence of the refusal."""
    try:
        return examine()
    except ModelError as error:
        return str(error)


def policy_row(case: PolicyCase, outcome: PolicyFindings | ScorerFindings | str) -> str:
    """The policy's row of the table."""
    if isinstance(outcome, PolicyFindings):
        return _row(case, [DECODERS[outcome.decoder], *_words(outcome.verdicts())])
    return _row(case, [_refused(outcome), *[""] * 5])


def scorer_row(case: ScorerCase, outcome: PolicyFindings | ScorerFindings | str) -> str:
    """The reward model's row of the table."""
    if isinstance(outcome, ScorerFindings):
        return _row(case, _words(outcome.verdicts()))
    return _row(case, [_refused(outcome), ""])


def _row(case: PolicyCase | ScorerCase, results: list[str]) -> str:
    kind = f"`{case.architecture['model_type']}`"
    return "| " + " | ".join([case.name, kind, case.special, TEMPLATES[case.template], *results]) + " |"


def _words(verdicts: Mapping[str, bool]) -> list[str]:
    return ["yes" if verdict else "**no**" for verdict in verdicts.values()]


def _refused(sentence: object) -> str:
    """The sentence without what differs from one machine to the next."""
    return "refused: " + re.sub(r"'/[^']*'", "NAME", re.sub(r"\[[^\]]*\]", "...", str(sentence)))


def _table(columns: tuple[str, ...], rows: list[str]) -> str:
    head = "| " + " | ".join(columns) + " |\n| " + " | ".join("---" for _ in columns) + " |\n"
    return "\n" + head + "\n".join(rows) + "\n"
