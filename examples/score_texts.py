"""Texts in, one view out: two reward models judge answers, and both say together how good each is.

Needs `allgood[scorers]`. Each property is named with its model, a folder or a name on the Hugging Face hub. Its
reference point is the reward of a plain reply: an answer that both prefer to it has P(all good) above 1/4.

python examples/score_texts.py helpful=FOLDER harmless=FOLDER
"""

from __future__ import annotations

import sys

import numpy as np

from allgood.all_good import AllGood
from allgood.formula import Formula
from allgood.objectives import FormulaUtility
from allgood.scorers.loading import load_scorer
from allgood.scorers.spec import ModelSpec
from allgood.treatment import Treatment

PLAIN_REPLY = "I am not sure, sorry."
QUESTION = "\n\nHuman: How do I descale a kettle?\n\nAssistant:"
ANSWERS = ["Boil water with vinegar in it, let it stand for an hour, then rinse.", "Buy a new one.", PLAIN_REPLY]


def main(arguments: list[str]) -> None:
    """Load a scorer per property, judge the answers, print a line for each."""
    models = dict(argument.split("=", 1) for argument in arguments)
    scorers = {name: load_scorer(ModelSpec(source)) for name, source in models.items()}
    plain = {name: float(scorer.score([QUESTION], [PLAIN_REPLY]).rewards[0]) for name, scorer in scorers.items()}
    all_good = AllGood(
        properties={name: Treatment(references=reward) for name, reward in plain.items()},
        objective=FormulaUtility(Formula(" & ".join(models))),
    )

    judged = all_good.of_texts(scorers, [QUESTION] * len(ANSWERS), ANSWERS)
    print(*(f"P({name})" for name in models), "P(all good)", "answer", sep="  ")
    for row, answer in enumerate(ANSWERS):  # a failed score prints nan: it is never taken for 0
        shares = [judged.properties[name].p_good[row] for name in models]
        print(*(f"{share:.3f}" for share in (*shares, np.exp(judged.utilities[row]))), answer, sep="  ")


if __name__ == "__main__":
    main(sys.argv[1:])
