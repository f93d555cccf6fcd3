"""A diagnosis in words: does the choice matter here, from which KL on, how it is known, and what would show more."""

from __future__ import annotations

import math
from collections.abc import Sequence

from allgood.diagnosis.found import KLS, Contrast, Diagnosis, PropertyCoordinates, Question, Verdict
from allgood.diagnosis.tails import Tail
from allgood.intervals import Interval

CONTRASTS: dict[Question, str] = {
    "transform": "LSC − raw",
    "rival": "LSC − best z-scored or capped",
    "reference": "other references − its own",
    "aggregation": "minimum − sum",
}
COLUMNS = ("KL", *CONTRASTS.values(), "from")
_BASES = {"samples": "samples", "calculation": "calculation"}
_ENOUGH = {1.0: 128, 2.0: 1024}
"""Samples per prompt with which a KL is usually supported; 4 nats would take more than any table holds."""


def headline(found: Diagnosis) -> str:
    """The answer in one or two sentences."""
    verdicts = {kl: found.contrast(kl, "transform") for kl in KLS}
    known = {kl: contrast for kl, contrast in verdicts.items() if contrast is not None}
    if not known:
        return "Whether the choice of objective matters here cannot be said from these samples."
    text = f"{_size(known)} {_by_verdict(known, 'the LSC sum', 'the raw sum')}"
    rivals = {kl: each for kl in KLS if (each := found.contrast(kl, "rival")) is not None}
    return text if not rivals else f"{text} {_by_verdict(rivals, 'the LSC sum', 'the best z-scored or capped sum')}"


def _size(contrasts: dict[float, Contrast]) -> str:
    """Whether raw or log-sigmoid matters at all, and where."""
    sizes = {"matters": ("ahead", "behind"), "hardly matters (less than 0.05)": _LITTLE, "cannot be told": ("unclear",)}
    parts = [
        f"{words} at {_listed(kls)}"
        for words, verdicts in sizes.items()
        if (kls := [kl for kl, found in contrasts.items() if found.verdict in verdicts])
    ]
    return f"Raw or log-sigmoid: this choice {'; it '.join(parts)}."


def details(found: Diagnosis) -> list[str]:
    """What stands behind the answer."""
    lines = [_choice(found, question, words) for question, words in _CHOICES if _has(found, question)]
    if any(each.basis == "calculation" for each in found.contrasts):
        lines.append(_how_calculated(found))
        lines += _beyond_the_lattice(found)
    if found.what_if:
        words = ", ".join(f"{each.difference:+.2f} at {_nats(each.kl)}" for each in found.what_if)
        lines.append(
            f"No overrated answers show. Up to {_percent(found.what_if[0].share)} of the answers could be overrated "
            f"without showing; with as many, LSC sum minus raw sum would be {words}."
        )
    return lines + list(found.cannot)


def _beyond_the_lattice(found: Diagnosis) -> list[str]:
    """Why a KL has no answer to the first question although others are calculated there."""
    calculated = {each.kl for each in found.contrasts if each.basis == "calculation"}
    missing = [kl for kl in KLS if kl in calculated and found.contrast(kl, "transform") is None]
    if not missing:
        return []
    return [
        f"At {_listed(missing)} the LSC sum against the raw sum has no answer: one of the two optima lies beyond what "
        "is calculated, among rewards so high that nothing here says how good they are."
    ]


def to_know_more(found: Diagnosis) -> list[str]:
    """What would show more, by the weakest part."""
    lines = []
    missing = [kl for kl in _ENOUGH if min(found.supported_kl.values(), default=0.0) < kl]
    if missing and found.all_good is not None:
        samples = " and ".join(f"about {_ENOUGH[kl]:,} for {_nats(kl)}" for kl in missing)
        lines.append(
            f"Samples per prompt, {found.num_samples} now: {samples} (`allgood reference CONFIG --num-samples N`). Raw "
            "sums with overrated answers need more."
        )
    unclear = [each for each in found.contrasts if each.verdict == "unclear"]
    by_prompts = [each for each in unclear if each.basis == "samples" or each.correction is not None]
    widest = max(map(_width, by_prompts), default=0.0)  # where samples show nothing, more prompts do not either
    if widest > 0:
        more = math.ceil((widest / 0.05) ** 2)
        lines.append(
            f"Prompts, {found.num_prompts} now: about {max(2, more)} times as many would narrow the widest interval to "
            "0.05 each way (`references.max_prompts`)."
        )
    if found.what_if:
        lines.append(
            "Judged answers: with n of them in all, a share of overrated answers below about 4 / n does not show."
        )
    if found.all_good is None:
        lines.append(
            "A judge: gold (`evaluate.gold` with `evaluate.bars`), or held-out models "
            "(`allgood reward --held-out`), and the references made again."
        )
    return lines


def contrast_rows(found: Diagnosis) -> list[tuple[str, ...]]:
    """A row per KL under `COLUMNS`."""
    rows = []
    for kl in KLS:
        each = {question: found.contrast(kl, question) for question in CONTRASTS}
        bases = dict.fromkeys(_BASES[contrast.basis] for contrast in each.values() if contrast is not None)
        cells = ("–" if contrast is None else signed(contrast.difference) for contrast in each.values())
        rows.append((f"{kl:g}", *cells, " and ".join(bases) or "–"))
    return rows


def coordinate_rows(found: Diagnosis) -> list[tuple[str, str, str]]:
    """Coordinate, value with interval, and how to read it."""
    coordinates = found.coordinates
    if coordinates is None:
        return []
    rows = [row for each in coordinates.properties for row in _property_rows(each)]
    for pair in coordinates.pairs:
        rows.append((f"correlation of {pair.first} and {pair.second}, rewards", shown(pair.rewards), "within prompts"))
        if pair.judges is not None:
            rows.append((f"correlation of {pair.first} and {pair.second}, judge", shown(pair.judges), "within prompts"))
    rows.append(
        ("variation of the spread over prompts", shown(coordinates.between_prompts), "sigma of its logarithm; 0: alike")
    )
    if coordinates.mixed is not None and coordinates.ratio is not None:
        rows.append(("... of each property by itself", shown(coordinates.mixed), "sigma of its logarithm; 0: alike"))
        rows.append(("widest over narrowest property", shown(coordinates.ratio), "ratio of the median spreads"))
    rows += [
        (f"KL supported, {name}", f"{kl:g}", "nats that the samples show") for name, kl in found.supported_kl.items()
    ]
    return rows


def shown(found: Interval, digits: int = 2) -> str:
    """`0.61 [0.59, 0.63]`."""
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def signed(found: Interval) -> str:
    """`+0.021 [-0.003, +0.045]`."""
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


_TAILS: dict[Tail, str] = {
    "normal": "L-kurtosis: like normal errors",
    "between": "L-kurtosis: heavier than normal, lighter than Student's t(3)",
    "heavy": "L-kurtosis: as heavy as Student's t(3), or heavier",
    "unclear": "L-kurtosis: normal and Student's t(3) both fit",
    "few values": "the judge's scores take few values: no tail to see",
}
_CHOICES: tuple[tuple[Question, str], ...] = (
    ("reference", "moving the references"),
    ("aggregation", "taking the minimum instead of the sum"),
)


def _property_rows(found: PropertyCoordinates) -> list[tuple[str, str, str]]:
    rows = [(f"{found.name}: spread of the reward", shown(found.spread), "nats within a prompt, median over prompts")]
    judged = found.judged
    if judged is None:
        return rows
    end = "no end shows" if judged.ceiling is None else f"as if it ended {judged.ceiling:.1f} above the bar"
    tail = _TAILS[judged.tail] if judged.tail else "no errors to speak of"
    return [
        *rows,
        (f"{found.name}: good answers", shown(judged.good), "share over the bar"),
        (f"{found.name}: agreement with the judge", shown(judged.agreement), "correlation within prompts"),
        (f"{found.name}: tail of the errors", "–" if judged.l_kurtosis is None else shown(judged.l_kurtosis), tail),
        (
            f"{found.name}: overrated answers",
            _percents(judged.overrated),
            f"by more than {judged.overrated_from:.1f} spreads, less those underrated as far",
        ),
        (
            f"{found.name}: room above the bar",
            shown(judged.room),
            f"spreads, mean of the good ones; normal scores have {judged.room_of_normal:.2f}; {end}",
        ),
    ]


def _by_verdict(contrasts: dict[float, Contrast], first: str, second: str) -> str:
    """One sentence: at which KLs which of two is ahead."""
    parts = []
    for verdict in dict.fromkeys(found.verdict for found in contrasts.values()):
        kls = [kl for kl, found in contrasts.items() if found.verdict == verdict]
        if kls:
            parts.append(f"at {_listed(kls)} {_SAID[verdict].format(values=_values([contrasts[kl] for kl in kls]))}")
    return f"{first[0].upper()}{first[1:]} against {second}: {'; '.join(parts)}."


_LITTLE: tuple[Verdict, ...] = ("hardly", "a little ahead", "a little behind")
_SAID: dict[Verdict, str] = {
    "hardly": "hardly any difference ({values})",
    "a little ahead": "a little ahead ({values})",
    "ahead": "ahead ({values})",
    "a little behind": "a little behind ({values})",
    "behind": "behind ({values})",
    "unclear": "not to be told ({values})",
}


def _values(contrasts: Sequence[Contrast]) -> str:
    return ", ".join(signed(found.difference) for found in contrasts)


def _has(found: Diagnosis, question: Question) -> bool:
    return any(each.question == question for each in found.contrasts)


def _choice(found: Diagnosis, question: Question, words: str) -> str:
    most = max(
        (each for each in found.contrasts if each.question == question), key=lambda each: abs(each.difference.value)
    )
    size = "matters" if most.verdict in ("ahead", "behind") else "hardly matters"
    if most.verdict == "unclear":
        size = "may matter"
    return f"For the LSC sum, {words} {size}: at most {signed(most.difference)}, at {_nats(most.kl)} ({most.against})."


def _how_calculated(found: Diagnosis) -> str:
    text = (
        "Calculated means: the optimum in an idealised world with these coordinates, as on the map, because the "
        "samples do not support that KL."
    )
    corrections = [
        f"{each.correction:+.3f} at {_nats(each.kl)}"
        for each in found.contrasts
        if each.question == "transform" and each.correction is not None
    ]
    if not corrections:
        return text
    return (
        f"{text} The samples differ from as many of that world, in LSC sum minus raw sum, by {', '.join(corrections)}; "
        "this is added, and intervals hold the answer without it."
    )


def _width(found: Contrast) -> float:
    return 0.5 * (found.difference.high - found.difference.low)


def _percents(found: Interval) -> str:
    return f"{_percent(found.value)} [{_percent(found.low)}, {_percent(found.high)}]"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _nats(kl: float) -> str:
    return "1 nat" if kl == 1 else f"{kl:g} nats"


def _listed(kls: Sequence[float]) -> str:
    """`1, 2 and 4 nats`."""
    if len(kls) == 1:
        return _nats(kls[0])
    return f"{', '.join(f'{kl:g}' for kl in kls[:-1])} and {_nats(kls[-1])}"
