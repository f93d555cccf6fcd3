"""`allgood evaluate`: an aligned policy against the start policy on test prompts, by everybody who can judge it.

Gold where it exists (evaluator 1 answers by Bradley-Terry on it), an HTTP judge where one is configured, the held-out
preference models where there are any (evaluator 2), and what the training reward models say about themselves.
Samples of pi_0 are drawn once per base folder and shared by all runs on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from allgood.errors import ConfigError
from allgood.views import PropertyView
from pipelines.cast.finished_models import refuse_unfit_models
from pipelines.cast.request import evaluators_of
from pipelines.config.run import RunConfig
from pipelines.evaluation.efficiency import efficiency
from pipelines.evaluation.entry import headlines
from pipelines.evaluation.estimates import PerPrompt, known_estimates
from pipelines.evaluation.findings import Settings, findings
from pipelines.evaluation.judges import Duel, HttpJudge
from pipelines.evaluation.measure import FloatGrid
from pipelines.evaluation.measurements import UNJUDGED, ByPolicy, JudgedProperty, JudgeFindings, Measurements
from pipelines.evaluation.samples import Drawn, ScoredSamples, draw_samples, save_samples, test_prompts
from pipelines.evaluation.scorers import fresh_view
from pipelines.objective.gold import gold_of, try_gold
from pipelines.output.files import write_json
from pipelines.output.progress import say, track
from pipelines.output.typed_json import as_json
from pipelines.references.keys import temperature
from pipelines.references.treatments import fresh_treatment
from pipelines.run.folder import RunFolder
from pipelines.run.locks import reading_base, writing_results
from pipelines.run.session import ray_session
from pipelines.run.tracking import Tracker, stage_of

SAMPLES, MEASUREMENTS = "samples.parquet", "measurements.json"


def evaluate(config: RunConfig) -> Measurements:
    """Measure a finished run; writes `evaluation/` and the headlines into `summary.json`. Returns the measurements.

    Raises:
        ConfigError: The run has no aligned model, or `evaluate.gold` is no function that knows every response, or
            another process is in its folder; and as `refuse_unfit_models`.
        DataError: There are no test prompts.
    """
    folder = RunFolder(config.folder)
    if not folder.model.is_dir():
        raise ConfigError(f"{folder.path} holds no aligned model; finish it with `allgood align` or `allgood resume`")
    with writing_results(folder.path, "evaluate"), reading_base(config.base_folder, "evaluate"):
        return _evaluate(config, folder)


def _evaluate(config: RunConfig, folder: RunFolder) -> Measurements:
    judge = http_judge(config)
    refuse_unfit_models(config)
    prompts = test_prompts(config)
    try_gold(config, prompts[0].text)
    with ray_session():
        drawn = draw_samples(config, prompts)
    save_samples(drawn.aligned, folder.evaluation / SAMPLES)
    measurements = measured(config, drawn, judged(config, judge, drawn))
    write_json(folder.evaluation / MEASUREMENTS, as_json(measurements))
    write_json(folder.summary, _summary(folder) | {"evaluation": as_json(headlines(measurements))})
    _track(config, measurements)
    if not measurements.is_judged:
        say(UNJUDGED)
    say(f"evaluation on {len(prompts)} test prompts: {folder.evaluation / MEASUREMENTS}")
    return measurements


def _track(config: RunConfig, measurements: Measurements) -> None:
    with Tracker(stage_of(config, "evaluate", config.folder)) as tracker:
        tracker.summary({**as_json(headlines(measurements)), "judge": as_json(measurements.judge)})
        tracker.records("responses", as_json(measurements.table))


def measured(config: RunConfig, drawn: Drawn, judge: JudgeFindings | None = None) -> Measurements:
    """All numbers, with what a judge outside said, and the notes that a reader needs."""
    aligned, sft, canned = drawn.aligned, drawn.sft, drawn.canned
    gold = gold_of(config)
    settings = Settings(
        bars=gold.bars if gold else {},
        quantiles=config.evaluate.quantiles,
        seed=config.seed,
        num_bootstrap=config.evaluate.bootstrap,
    )
    ours, theirs = _views(config, aligned, sft, canned), _views(config, sft, sft, canned)
    found = findings(
        aligned,
        sft,
        settings,
        margins=ByPolicy(sft=_margins(theirs), aligned=_margins(ours)),
        p_good=ByPolicy(sft=_p_good(theirs), aligned=_p_good(ours)),
        efficiency=efficiency(config, _summary(RunFolder(config.folder)).get("validation", {})),
        judge=judge,
    )
    return replace(found, notes=notes(config, found))


def _views(
    config: RunConfig, samples: ScoredSamples, sft: ScoredSamples, canned: Mapping[str, PerPrompt]
) -> dict[str, PropertyView]:
    """What the run's transforms and fresh references make of a policy's rewards, per property [prompts, samples].

    Test prompts are in no reference table, so r_ref and draws come from this evaluation's pi_0 samples.
    """
    views = {}
    for name, setting in config.properties.items():
        ids, own = samples.policy.prompt_ids, sft.rewards[name]
        treatment = fresh_treatment(
            setting, ids, own, canned.get(name), key="evaluation", temperature=temperature(config, name)
        )
        views[name] = fresh_view(treatment, samples.rewards[name], ids)
    return views


def _margins(views: Mapping[str, PropertyView]) -> dict[str, FloatGrid]:
    return {name: view.margins.astype(np.float64) for name, view in views.items()}


def _p_good(views: Mapping[str, PropertyView]) -> dict[str, FloatGrid]:
    return {name: view.p_good for name, view in views.items()}


def http_judge(config: RunConfig) -> HttpJudge | None:
    """The configured judge, if any.

    Raises:
        ConfigError: The address is none.
    """
    url, model = config.evaluate.judge_url, config.evaluate.judge_model
    return None if url is None or model is None else HttpJudge(url, model)


def judged(config: RunConfig, judge: HttpJudge | None, drawn: Drawn) -> JudgeFindings | None:
    """The judge's win rate per property: the first sample of each prompt against the first pi_0 sample."""
    if judge is None:
        return None
    aligned, sft = drawn.aligned, drawn.sft
    found: dict[str, JudgedProperty] = {}
    for name in config.properties:
        duels = [
            Duel(name, prompt, ours[0], theirs[0])
            for prompt, ours, theirs in zip(
                aligned.prompts, aligned.policy.responses, sft.policy.responses, strict=True
            )
        ]
        with track(f"asking the judge which response is more {name}", len(duels)) as bar:
            verdicts = judge.compare(duels, bar.advance)
        estimates = known_estimates(
            {"win_rate": verdicts.wins}, seed=config.seed, num_bootstrap=config.evaluate.bootstrap
        )
        found[name] = JudgedProperty(
            win_rate=estimates.get("win_rate"),
            num_failed=verdicts.num_failed,
            share_consistent=verdicts.share_consistent,
            first_failure=verdicts.first_failure,
        )
    return JudgeFindings(url=judge.url, model=judge.model, properties=found)


def notes(config: RunConfig, measurements: Measurements) -> tuple[str, ...]:
    """What a reader must know about who judged here, and who did not."""
    found = [] if measurements.is_judged else [UNJUDGED]
    if measurements.aligned.gold is None and measurements.is_judged:
        found.append("There is no gold for this data, so no both-good rate; good would need a bar that no model sets.")
        if measurements.judge is None:
            found.append("Evaluator 1 was left out: it needs gold or an HTTP judge (evaluate.judge_url).")
    missing = [name for name in config.properties if name not in measurements.evaluators]
    if missing:
        found.append(
            f"There is no held-out preference model for {', '.join(missing)}, so evaluator 2 is left out there; "
            "`allgood reward --held-out` trains what `properties.<name>.evaluator` describes, and its `model` takes a "
            "finished one."
        )
    found += _about_evaluators(config, list(measurements.evaluators))
    found.append(
        f"References of test prompts come from {measurements.num_sft_samples} samples of π0 per prompt, not from the "
        "reference table, which holds no test prompts."
    )
    if measurements.efficiency is None:
        found.append(f"Efficiency was left out: {measurements.efficiency_missing}.")
    elif not measurements.efficiency.reliable:
        found.append("The tilt has too few samples for this KL, so the efficiency is too high.")
    return tuple(found)


def _about_evaluators(config: RunConfig, names: Sequence[str]) -> list[str]:
    """How far the held-out models of these properties can be trusted."""
    finished = {name: evaluator.model for name, evaluator in evaluators_of(config).items() if evaluator.model}
    said = []
    if any(name not in finished for name in names):
        said.append(
            "Held-out preference models are trained on the pairs of the alignment prompts with another seed. Where "
            "they share a backbone with the training reward model, their agreement says nothing about reward hacking."
        )
    given = [f"{finished[name]} judges {name}" for name in names if name in finished]
    if given:
        said.append(
            f"Finished models judge as evaluator 2: {', '.join(given)}. Nobody knows here whether they have learned "
            "from the data or backbone of the training reward models; where they have, their agreement says nothing "
            "about reward hacking."
        )
    return said


def _summary(folder: RunFolder) -> dict[str, Any]:
    if not folder.summary.is_file():
        return {}
    content: dict[str, Any] = json.loads(folder.summary.read_text(encoding="utf-8"))
    return content
