"""docs/results/real_reward_models.md: where real reward models lie on the map, read off the stored numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.tables import markdown_table
from allgood.idealised.objectives import CAPPED, LSC, RAW, Z_SCORE
from experiments.real_data.page_public import shown, strong, wrapped
from experiments.real_data.page_text import ASSUMED, CANNOT, FAILURES, HEAD, PREDICTED, TAILS, WHAT
from pipelines.output.files import atomic_path

Stored = Mapping[str, Any]

PAGE = "real_reward_models.md"
KLS = ("1", "2", "4")
NOT_OF_JUDGE = ("spread", "sigma", "ratio")  # many of its logits are alike: halves of a prompt may have no spread
LAWS = ("normal", "Laplace", "t(3)")
AGAINST = ("against the judge", "against judge and length")


def write_page(stored: Stored, folder: Path) -> None:
    """Write the page into `folder`; `stored` has the parts judged, public and named."""
    sections = [
        HEAD.strip(),
        _in_short(stored),
        WHAT.strip(),
        "\n".join(_pairs(stored["judged"]["models"])),
        "## Coordinates\n\n" + "\n".join(_coordinates(stored["judged"])),
        TAILS.strip() + "\n\n" + "\n".join(_tails(stored["judged"]["models"])),
        PREDICTED.strip() + "\n\n" + "\n".join(_predicted(stored)),
        ASSUMED.strip() + "\n\n" + "\n".join(_assumed(stored["named"])),
        CANNOT.strip(),
        strong(stored["public"]),
        FAILURES.strip(),
    ]
    with atomic_path(folder / PAGE) as temporary:
        temporary.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _in_short(stored: Stored) -> str:
    models, public = stored["judged"]["models"], stored["public"]
    spreads = [row["spread"]["value"] for found in models.values() for row in found["properties"].values()]
    accuracies = [found["intervals"]["accuracy"]["value"] for found in models.values()]
    gap, later = (_largest(models.values(), LSC, places) for places in ((0, 1), (2,)))
    scaled, unequal = (_largest(models.values(), Z_SCORE, (0, 1)), max(map(_ratio, models.values())))
    trained, many = public["trained"]["4B, Bradley-Terry"], public["many_samples"]
    points = [
        f"""Small reward models (22M, trained here) have spreads of {min(spreads):.2f} to {max(spreads):.2f} nats within
        a prompt and correlate at {min(accuracies):.2f} to {max(accuracies):.2f} with the judge.
        There, says the map, the choice between LSC and raw sum moves the all-good rate by at most {gap:.3f} up to 2
        nats, and by {later:.3f} at 4. Where one model's spread is {unequal:.0f} times the other's, a raw sum nearly
        ignores the other, and a per-prompt z-score adds up to {scaled:.3f} by 2 nats.""",
        f"""{_heaviest(models)} The test tells Laplace and t(3) errors from normal ones with power
        {_least_power(models):.2f}.""",
        f"""A strong public reward model has a spread of {public["labeller"]["spread"]["value"]:.1f} nats on samples of
        one policy; a 4B model trained on its choices {trained["spread"]["value"]:.1f}, with correlation
        {trained["correlation"]["value"]:.2f} to it.""",
        f"""Of {many["prompts"] * many["samples"]:,} samples of that policy {many["far_above"]} lie more than three
        spreads above their prompt's mean by the 4B model: overrating of 1 % was not seen there.""",
    ]
    return "**In short**\n\n" + "\n".join(wrapped(f"* {point}").replace("\n", "\n  ") for point in points)


def _largest(models: Iterable[Stored], objective: str, places: Sequence[int]) -> float:
    """Difference of an objective's all-good rate to that of a raw sum, at some of the KLs."""
    rates = [found["predicted"]["all_good"] for found in models]
    return max((float(rate[objective][at] - rate[RAW][at]) for rate in rates for at in places), key=abs)


def _ratio(found: Stored) -> float:
    """Of the wider typical spread to the narrower."""
    spreads = [float(row["spread"]["value"]) for row in found["properties"].values()]
    return max(spreads) / min(spreads)


def _heaviest(models: Stored) -> str:
    """Which laws the kurtosis of the errors is below, for each kind of reward models."""
    said = []
    for kind, found in models.items():
        results = [found["tails"][against]["statistics"]["excess kurtosis"] for against in AGAINST]
        observed = [result["observed"] for result in results]
        above = [law for law in LAWS if _is_beyond(results, law, above=True)]
        below = [law for law in LAWS if _is_beyond(results, law, above=False)]
        within = [law for law in LAWS if law not in (*above, *below)]
        places = {"above": above, "within": within, "below": below}
        each = [f"{place} what {' and '.join(laws)} errors show" for place, laws in places.items() if laws]
        said.append(f"{kind} {min(observed):.2f} to {max(observed):.2f}, {', '.join(each)}")
    return f"Excess kurtosis of their errors against the judge: {'; '.join(said)}."


def _least_power(models: Stored) -> float:
    """Of the test of kurtosis against the two heavy laws."""
    results = [found["tails"][against]["statistics"] for found in models.values() for against in AGAINST]
    return min(float(row["excess kurtosis"]["laws"][law]["power"]) for row in results for law in LAWS[1:])


def _is_beyond(results: Sequence[Stored], law: str, *, above: bool) -> bool:
    """Whether every statistic is above (or below) its 95 % range under the law."""
    ranges = [(result["observed"], result["laws"][law]) for result in results]
    return all(observed > law["high"] if above else observed < law["low"] for observed, law in ranges)


def _pairs(models: Stored) -> list[str]:
    header = ["reward models", "property", "accuracy on held-out pairs", "longer wins", "temperature"]
    rows = []
    for kind, found in models.items():
        for name, report in found["pairs"].items():
            low, high = report["accuracy_ci"]
            rows.append(
                [
                    kind,
                    name,
                    f"{report['accuracy']:.2f} [{low:.2f}, {high:.2f}]",
                    f"{report['longer_wins_accuracy']:.2f}",
                    f"{report['temperature']:.2f}",
                ]
            )
    return markdown_table(header, rows, align="llrrr")


def _coordinates(judged: Stored) -> list[str]:
    models = judged["models"]
    judge = judged["judge"]["intervals"]
    header = ["within prompts", "judge", *models]
    rows = []
    for label, key in (
        ("spread, nats: median over prompts", "median_spread"),
        ("geometric mean over prompts", "spread"),
        ("sigma of its log over prompts, chance removed", "sigma"),
        ("90 % / 10 % quantile of the spread, chance removed", "ratio"),
        ("90 % / 10 % quantile as measured", "uncorrected_ratio"),
        ("correlation with log length", "length"),
        ("share of the variance that is which model answered", "authors"),
    ):
        for name in ("helpful", "harmless"):
            own = shown(judge[key]) if name == "helpful" and key not in NOT_OF_JUDGE else "–"
            rows.append(
                [f"{name}: {label}", own, *(shown(found["properties"][name][key]) for found in models.values())]
            )
    for label, key in (
        ("helpful reward and judge: correlation", "accuracy"),
        ("the same, length taken out of both", "accuracy_given_length"),
        ("helpful and harmless reward: correlation", "tension"),
        ("sigma of the spread per prompt, shared by both", "between_prompts"),
        ("sigma per prompt and property", "mixed"),
    ):
        rows.append([label, "–", *(shown(found["intervals"][key]) for found in models.values())])
    table = markdown_table(header, rows, align="l" + "r" * (1 + len(models)))
    reach = shown(judge["reach"])
    return [
        *table,
        "",
        wrapped(
            f"""By the judge the best answer of a prompt lies {reach} spreads above its 85 % quantile (about 1.0 if 28
            answers were normal). On some prompts its logits are all nearly alike, so that chance cannot be taken out of
            its ratio of spreads. Divided by the temperatures above, spreads would be those of calibrated odds: the
            fine-tuned harmless model, whose temperature is well below 1, has learned little of its scale."""
        ),
    ]


def _tails(models: Stored) -> list[str]:
    header = ["reward models", "errors", "statistic", "observed", "normal", "1 % overrated", "Laplace", "t(3)"]
    header += ["power: overrated", "Laplace", "t(3)"]
    rows = []
    for kind, found in models.items():
        for against in AGAINST:
            for name, result in found["tails"][against]["statistics"].items():
                laws = result["laws"]
                digits = 2 if name == "excess kurtosis" else 4
                order = ("normal", "normal, 1 % overrated", "Laplace", "t(3)")
                rows.append(
                    [kind, against, name, f"{result['observed']:.{digits}f}"]
                    + [f"{laws[law]['low']:.{digits}f} to {laws[law]['high']:.{digits}f}" for law in order]
                    + [f"{laws[law]['power']:.2f}" for law in order[1:]]
                )
    lines = markdown_table(header, rows, align="lll" + "r" * 8)
    explained = "; ".join(f"{kind} {shown(found['tails']['explained_by_length'])}" for kind, found in models.items())
    shares = f"Share of the errors' variance that log length explains: {explained}."
    return [*lines, "", f"{shares} With length taken out, tails are as heavy as before: they do not come from it."]


def _predicted(stored: Stored) -> list[str]:
    header = ["reward models", "before", *(f"KL {kl}: raw / LSC / capped / z-score" for kl in KLS)]
    header += [f"LSC minus raw at {kl}" for kl in KLS]
    rows = []
    for kind, found in stored["judged"]["models"].items():
        predicted = found["predicted"]
        gaps = [f"[{row['low']:+.3f}, {row['high']:+.3f}]" for row in predicted["differences"]]
        rows.append([kind, f"{predicted['before']:.4f}", *_rates(predicted), *gaps])
    return markdown_table(header, rows, align="lr" + "r" * 6)


def _assumed(named: Stored) -> list[str]:
    header = ["point", *(f"KL {kl}: raw / LSC / capped / z-score" for kl in KLS)]
    rows = [[name, *_rates(found)] for name, found in named.items() if isinstance(found, dict) and "all_good" in found]
    return markdown_table(header, rows, align="lrrr")


def _rates(predicted: Stored) -> list[str]:
    rates = predicted["all_good"]
    return [
        " / ".join(f"{rates[objective][index]:.3f}".removeprefix("0") for objective in (RAW, LSC, CAPPED, Z_SCORE))
        for index in range(len(KLS))
    ]
