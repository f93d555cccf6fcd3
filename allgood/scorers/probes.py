"""Fixed texts by which a served reward model is recognised, since its weights cannot be hashed from outside.

Each of 8 prompts has a helpful answer, a refusal, another prompt's answer, and one that repeats itself. Whatever judges
answers tells some of them apart. Their rewards are kept and compared when a run starts or goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from allgood.conversations import Turn, as_prompt
from allgood.errors import ModelError
from allgood.guards import refuse_default_rewards, refuse_squashed_rewards
from allgood.scorers.scorer import Scorer

# Half precision and other neighbours in a batch move the logit of a large model by some hundredths.
_ABSOLUTE, _RELATIVE = 0.05, 0.02

_ANSWERED = {
    "How do I boil an egg?": "Put it into boiling water for eight minutes, then cool it under the tap.",
    "What is the capital of France?": "The capital of France is Paris.",
    "Can you help me write to my landlord about the heating?": "Of course. Name the date, say what is broken, and ask "
    "for a repair within two weeks.",
    "Why is the sky blue?": "Air scatters blue light more than red light, so blue reaches us from all sides.",
    "I feel sad today. What can I do?": "I am sorry to hear that. A walk, or a call to a friend, often helps a little.",
    "What is 17 times 6?": "17 times 6 is 102.",
    "How can I learn the names of my new colleagues?": "Use each name when you greet them, and write them down at "
    "night.",
    "Which bin does glass go into?": "Glass goes into the container for glass, sorted by colour, without lids.",
}
_REFUSAL = "No. Find out yourself, I do not care."


def probe_texts() -> tuple[list[str], list[str]]:
    """Prompts and responses, 32 of each."""
    answers = list(_ANSWERED.values())
    prompts, responses = [], []
    for index, (question, answer) in enumerate(_ANSWERED.items()):
        other = answers[(index + 1) % len(answers)]
        prompts += [as_prompt([Turn("human", question)])] * 4
        responses += [answer, _REFUSAL, other, " ".join([answer] * 3)]
    return prompts, responses


def probe(scorer: Scorer, *, transform: str) -> list[float]:
    """The rewards of the probe texts.

    Raises:
        ModelError: One has no reward, all are the same, or they look as if a sigmoid had been applied or zeros stood
            for failures.
    """
    scored = scorer.score(*probe_texts())
    failed = np.flatnonzero(np.isnan(scored.rewards)).tolist()
    if failed:
        reason = scored.reasons.get(failed[0], "it gave no finite number")
        raise ModelError(f"{len(failed)} of {len(scored.rewards)} probe texts have no reward: {reason}")
    if float(np.ptp(scored.rewards)) == 0.0:
        raise ModelError(f"all probe texts have the reward {scored.rewards[0]:g}, so nothing is judged")
    rewards = torch.from_numpy(scored.rewards)
    try:
        refuse_squashed_rewards(rewards, transform=transform)
        refuse_default_rewards(rewards)
    except ValueError as error:
        raise ModelError(str(error)) from error
    return [float(reward) for reward in scored.rewards]


def refuse_changed(known: Sequence[float], found: Sequence[float]) -> None:
    """Refuse another model behind the same name.

    Raises:
        ModelError: A probe's reward differs by more than 0.05 and 2 % of it.
    """
    before, now = np.asarray(known, dtype=np.float64), np.asarray(found, dtype=np.float64)
    if before.shape != now.shape:
        raise ModelError("the stored rewards are of other probe texts; build the references again")
    allowed = _ABSOLUTE + _RELATIVE * np.abs(before)
    far = np.flatnonzero(~(np.abs(now - before) <= allowed))
    if far.size:
        worst = int(far[np.argmax(np.abs(now - before)[far])])
        raise ModelError(
            f"it gives other rewards than before to {far.size} of {before.size} probe texts (at most "
            f"{now[worst]:.4g} for {before[worst]:.4g}), so another model, template or activation answers"
        )
