"""The command line. Commands import what they run, so that `allgood --help` needs neither torch nor Ray, and
read their config before that, so that a wrong key is reported at once.

A mistake of the user ends in one line on standard error and status 2; Ctrl-C in one line and status 130. A traceback
means a defect of ours.
"""

from __future__ import annotations

import functools
import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ParamSpec

import typer

from allgood.errors import AllgoodError, InUseError

if TYPE_CHECKING:
    from pipelines.config.run import RunConfig

Parameters = ParamSpec("Parameters")

START = "0. Start"
DATA, TRAIN, REFERENCES, ALIGN = "1. Data", "2. Train", "3. References", "4. Align"
LOOK, WHOLE, TOOLS = "5. Look at it", "Whole chain", "Tools"

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="run file (YAML)", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="overrides, such as kl.coefficient=0.2", show_default=False),
]
Target = Annotated[Path, typer.Argument(metavar="RUN|CONFIG", help="run folder or run file (YAML)", show_default=False)]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="run folder, such as runs/first", show_default=False)]


class ReferencesFrom(StrEnum):
    """Where reference points come from."""

    table = "table"
    answers = "answers"


class RowFormat(StrEnum):
    """Files that the data loader reads."""

    jsonl = "jsonl"
    parquet = "parquet"


References = Annotated[
    ReferencesFrom,
    typer.Option(help="reference points: of the run's table, or quantiles and means of each prompt's own responses"),
]

app = typer.Typer(
    help="Align a language model to several preferences at once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line. Functions that a run file names may lie where it runs, as with `python -m allgood`."""
    sys.path.append(str(Path.cwd()))
    app(prog_name="allgood")


def command(
    panel: str, *, name: str | None = None
) -> Callable[[Callable[Parameters, None]], Callable[Parameters, None]]:
    """Register a command in a help panel, and turn the ends that a user may meet into one line and a status."""

    def register(function: Callable[Parameters, None]) -> Callable[Parameters, None]:
        @app.command(name, rich_help_panel=panel)
        @functools.wraps(function)
        def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
            from pipelines.run.termination import Terminated, hear_sigterm

            hear_sigterm()
            try:
                function(*args, **kwargs)
            except AllgoodError as error:
                typer.echo(f"error: {error}", err=True)
                raise typer.Exit(os.EX_TEMPFAIL if isinstance(error, InUseError) else 2) from None
            except KeyboardInterrupt:
                typer.echo(f"interrupted: {_after_interrupt(function.__name__)}", err=True)
                raise typer.Exit(130) from None
            except Terminated:
                typer.echo(f"ended by SIGTERM: {_after_interrupt(function.__name__)}", err=True)
                raise

        return guarded

    return register


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Align a language model to several preferences at once."""
    if show:
        from importlib.metadata import version as installed_version

        typer.echo(f"allgood {installed_version('allgood')}")
        raise typer.Exit


@command(START)
def init(
    policy: Annotated[str, typer.Option(help="finished policy to align: name on the hub, or folder")],
    prompts: Annotated[str, typer.Option(help="prompts: file (.jsonl, .jsonl.gz, .parquet), or dataset on the hub")],
    reward: Annotated[
        list[str], typer.Option(metavar="PROPERTY=MODEL", help="finished reward model; give it several times")
    ],
) -> None:
    """Print a first run file for finished models, with settings that fit them; no weights are read."""
    from pipelines.new_run.run_file import new_run_file

    typer.echo(new_run_file(policy, prompts, reward), nl=False)


@command(DATA)
def world(config: Config, overrides: Overrides = None) -> None:
    """Write the embedded world: prompts, demonstrations and preference pairs with known gold."""
    run = _load(config, overrides)
    from pipelines.world.write import write_world

    with _making(run, "world"):
        write_world(run)
    _results(run.base_folder / "world")


@command(DATA)
def data(config: Config, overrides: Overrides = None) -> None:
    """Read, clean and split the data of a run by prompt."""
    run = _load(config, overrides)
    from pipelines.data import prepare_anew

    with _making(run, "data"):
        _show(prepare_anew(run).report)
    _results(run.base_folder / "data")


@command(TRAIN)
def sft(config: Config, overrides: Overrides = None) -> None:
    """Fine-tune the policy on demonstrations."""
    run = _load(config, overrides)
    from pipelines.run.unfinished import noting
    from pipelines.training.sft import train_sft

    with _making(run, "sft"), noting(run) as note:
        note(["sft"])
        _show(train_sft(run))
    _results(run.base_folder / "sft")


@command(TRAIN)
def reward(
    config: Config,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PROPERTY]... [KEY=VALUE]...", help="properties (default: all), then overrides"),
    ] = None,
    held_out: Annotated[bool, typer.Option("--held-out", help="Train the held-out evaluators instead.")] = False,
    probe: Annotated[bool, typer.Option("--probe", help="Fit a linear probe on the frozen encoder instead.")] = False,
) -> None:
    """Train the reward model of each property on its preference pairs."""
    names = [argument for argument in arguments or [] if "=" not in argument]
    run = _load(config, [argument for argument in arguments or [] if "=" in argument])
    for name in names:
        _refuse_unknown_property(name, run)
    if probe:
        _probe(run, names)
        return
    from pipelines.chain import reward_stage_name
    from pipelines.run.unfinished import noting
    from pipelines.training.reward_model import train_reward, trained_properties

    folder = run.base_folder / ("evaluator" if held_out else "reward")
    names = names or trained_properties(run, held_out=held_out)
    if not names:
        missing = "held-out `evaluator`" if held_out else "reward model that is trained here"
        typer.echo(f"nothing to do: no property of this run has a {missing}")
        return
    stages = [reward_stage_name(name, held_out=held_out) for name in names]
    with _making(run, "reward"), noting(run) as note:
        for index, name in enumerate(names):
            note(stages[index:])
            _show(train_reward(run, name, held_out=held_out))
            _results(folder / name)


def _probe(run: RunConfig, names: list[str]) -> None:
    from pipelines.training.probe import train_probe
    from pipelines.training.reward_model import probed_properties

    for name in names or probed_properties(run):
        with _making(run, "reward --probe"):
            _show(train_probe(run, name))
        _results(run.base_folder / "reward" / name / "probe.json")


@command(REFERENCES)
def reference(
    config: Config,
    overrides: Overrides = None,
    splits: Annotated[str | None, typer.Option(help="splits to sample, such as alignment,validation,test")] = None,
    num_samples: Annotated[int | None, typer.Option(help="responses per prompt")] = None,
) -> None:
    """Sample the start policy, score the samples, write the reference table."""
    extra = [] if splits is None else [f"references.splits=[{splits}]"]
    extra += [] if num_samples is None else [f"references.num_samples={num_samples}"]
    run = _load(config, [*(overrides or []), *extra])
    from pipelines.references.build import build_references

    with _making(run, "reference"):
        build_references(run)
    _results(run.base_folder / "references")


@command(REFERENCES)
def preview(
    target: Target,
    overrides: Overrides = None,
) -> None:
    """Predict thousands of settings from cached samples: which reference, objective and KL coefficient to train?"""
    run, path = _load_at(target, overrides)
    from pipelines.preview.write import preview as preview_run

    preview_run(run, path)
    _results(run.folder / "preview")


@command(ALIGN)
def align(
    config: Config,
    overrides: Overrides = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an alignment that is already there.")] = False,
) -> None:
    """Align the policy by KL-regularised reinforcement learning."""
    run = _load(config, overrides)
    from pipelines.alignment.align import run_align
    from pipelines.run.unfinished import forget

    forget(run.folder)
    run_align(run, overwrite=overwrite)
    _results(run.folder)


@command(ALIGN)
def resume(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN|URL", help="run folder, or its copy in storage, such as s3://bucket/prefix/NAME"),
    ],
) -> None:
    """Continue an interrupted alignment, training or chain from its last committed checkpoint."""
    from pipelines.run.unfinished import left_in

    folder = _brought_back(run) if "://" in run else Path(run)
    left = left_in(folder)
    if left is None:
        from pipelines.alignment.align import resume as resume_run

        resume_run(folder)
    else:
        from pipelines.chain import go_on

        _use_threads(left.config)
        go_on(left)
        _keep_results(left.config, "resume")
    _results(folder)


def _brought_back(url: str) -> Path:
    from pipelines.alignment.bring_back import bring_back

    return bring_back(url)


@command(LOOK)
def inspect(
    target: Target,
    overrides: Overrides = None,
    prompts: Annotated[int, typer.Option(min=1, help="prompts to sample and score")] = 8,
    samples: Annotated[int, typer.Option(min=1, help="samples of pi_0 per prompt")] = 4,
) -> None:
    """Look before running: what every model reads, what rewards look like, how much memory each role needs."""
    run, _ = _load_at(target, overrides)
    from pipelines.inspection.inspect_run import inspect_run
    from pipelines.inspection.page import write_page
    from pipelines.inspection.terminal import show
    from pipelines.run.folder import RunFolder

    found = inspect_run(run, num_prompts=prompts, samples_per_prompt=samples)
    show(found)
    page = RunFolder(run.folder).inspection
    write_page(found, page)
    _results(page)


@command(LOOK)
def plan(
    target: Target,
    overrides: Overrides = None,
    cluster: Annotated[
        Path | None, typer.Option(help="file that describes a cluster (YAML); absent: the cluster that is there")
    ] = None,
    measured: Annotated[
        Path | None, typer.Option(metavar="RUN", help="run whose seconds per chunk are used; absent: this one")
    ] = None,
    seconds: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE=S", help="seconds per chunk of a role, or per step of `learner`; repeatable"),
    ] = None,
) -> None:
    """Say what goes where, whether it fits into memory, and how many replicas keep up; starts no role."""
    run, _ = _load_at(target, overrides)
    from pipelines.planning.cluster_file import read_cluster
    from pipelines.planning.measured import measured_for, parse_seconds
    from pipelines.planning.plan import here, make_plan
    from pipelines.planning.words import plan_lines

    known = measured_for(run, measured, parse_seconds(seconds or []))
    nodes = here() if cluster is None else read_cluster(cluster)
    for line in plan_lines(make_plan(run, nodes, known, is_here=cluster is None)):
        typer.echo(line)


@command(LOOK)
def evaluate(
    target: Target,
    overrides: Overrides = None,
) -> None:
    """Measure an aligned policy against the start policy on the test prompts."""
    run, _ = _load_at(target, overrides)
    from pipelines.evaluation.evaluate import evaluate as evaluate_run

    evaluate_run(run)
    _keep_results(run, "evaluate")
    _results(run.folder / "summary.json")


@command(LOOK)
def report(run: Run) -> None:
    """Write the report of a run: one HTML page and its plots."""
    from pipelines.config.loading import load_run
    from pipelines.reporting.report import write_report

    write_report(run)
    _keep_results(load_run(run), "report")
    _results(run / "report.html")


@command(LOOK)
def score(
    target: Target,
    source: Annotated[Path, typer.Option("--input", help="prompts with responses (.jsonl, .jsonl.gz, .parquet)")],
    output: Annotated[Path, typer.Option("--output", help="where the scored rows go (same endings)")],
    overrides: Overrides = None,
    references: References = ReferencesFrom.table,
) -> None:
    """Score any prompts and responses with the reward models and the objective of a run; resumable."""
    run, _ = _load_at(target, overrides)
    from pipelines.answers.score import score_file
    from pipelines.run.locks import reading_base

    with reading_base(run.base_folder, "score"):
        _show(score_file(run, source, output, references=references.value))
    _results(output)


@command(LOOK, name="best-of-k")
def best_of_k(
    target: Target,
    overrides: Overrides = None,
    candidates: Annotated[
        Path | None, typer.Option(help="file of candidates; absent: the run's cached samples")
    ] = None,
    references: Annotated[
        ReferencesFrom | None, typer.Option(help="reference points of candidates; absent: answers")
    ] = None,
    splits: Annotated[str | None, typer.Option(help="of the cached samples; absent: references.splits")] = None,
    max_k: Annotated[
        int | None, typer.Option(min=1, help="end of the curve; absent: what half of the prompts reach")
    ] = None,
    select_from: Annotated[
        int | None, typer.Option(min=2, help="select among the first so many answers of a prompt; absent: all")
    ] = None,
    min_utility: Annotated[
        float | None, typer.Option(help="leave out prompts whose best answer is below (rejection sampling)")
    ] = None,
    tilt_kl: Annotated[
        float | None, typer.Option(help="also write samples for SFT at this KL to the start policy, in nats")
    ] = None,
    tilt_rows: Annotated[int, typer.Option(min=1, help="of them per prompt")] = 8,
    output: Annotated[Path | None, typer.Option(help="folder; absent: best_of_k in the run folder")] = None,
    row_format: Annotated[RowFormat, typer.Option("--format", help="of the files of responses")] = RowFormat.jsonl,
) -> None:
    """Best-of-k by the run's objective: the frontier over k, selected responses for SFT, and pairs for DPO."""
    run, _ = _load_at(target, overrides)
    from pipelines.best_of_k.choose import CachedSplits, CandidateFile, Choosing, choose
    from pipelines.best_of_k.tilted import Tilting
    from pipelines.run.locks import reading_base

    if min_utility is not None and not math.isfinite(min_utility):
        raise AllgoodError(f"--min-utility {min_utility} is not finite; leave it out to keep every prompt")
    if tilt_kl is not None and not 0 < tilt_kl < math.inf:
        raise AllgoodError(f"--tilt-kl {tilt_kl} must be above 0 and finite, in nats")
    if candidates is not None and splits is not None:
        raise AllgoodError("--splits chooses among the run's cached samples; leave it out with --candidates")
    if candidates is None and references is not None:
        raise AllgoodError("--references is for --candidates; cached samples have the references of the run's table")
    source = (
        CachedSplits(tuple(run.references.splits) if splits is None else _split_names(splits))
        if candidates is None
        else CandidateFile(candidates, (references or ReferencesFrom.answers).value)
    )
    tilting = None if tilt_kl is None else Tilting(tilt_kl, tilt_rows)
    choosing = Choosing(max_k, select_from, min_utility, row_format.value, tilting)
    folder = output or run.folder / "best_of_k"
    with reading_base(run.base_folder, "best-of-k"):
        choose(run, source, choosing, folder)
    _results(folder)


@command(LOOK, name="export-rewards")
def export_rewards(
    target: Target,
    overrides: Overrides = None,
    output: Annotated[Path | None, typer.Option(help="folder; absent: rewards in the run folder")] = None,
    predictors: Annotated[
        bool,
        typer.Option("--predictors", help="Fit heads that predict the reference points of prompts never sampled."),
    ] = False,
    start_policy: Annotated[
        bool,
        typer.Option(
            "--start-policy",
            help="Add the start policy: `allgood serve` draws fresh samples of it for prompts never sampled.",
        ),
    ] = False,
) -> None:
    """Write the reward side of a run as a folder that other trainers can use: models, references, objective."""
    run, _ = _load_at(target, overrides)
    from pipelines.export.rewards import export_report, export_rewards
    from pipelines.run.locks import reading_base

    with reading_base(run.base_folder, "export-rewards"):
        folder = export_rewards(run, output, predictors=predictors, fresh_samples=start_policy)
    _show(export_report(folder))
    _results(folder)


@command(LOOK)
def serve(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="REWARDS", help="rewards.yaml, exported folder, or run folder with one", show_default=False
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="settings, such as port=8001", show_default=False),
    ] = None,
    settings: Annotated[Path | None, typer.Option(help="settings file (YAML)")] = None,
) -> None:
    """Answer over HTTP what the rewards of a run say of responses, for other trainers and for people (a page at /)."""
    from pipelines.serve.settings import load_settings

    loaded = load_settings(settings, overrides or [])
    from pipelines.serve.run import serve_rewards

    serve_rewards(target, loaded)


@command(LOOK)
def generate(
    run: Run,
    prompt: Annotated[list[str] | None, typer.Option(help="A prompt; give it several times for several.")] = None,
) -> None:
    """Show responses of the start and the aligned policy, with their scores; without --prompt, ask for prompts."""
    from pipelines.answers.generate import generate as generate_responses

    generate_responses(run, prompt or [])


@command(WHOLE)
def quickstart(config: Config, overrides: Overrides = None) -> None:
    """Run the embedded world through everything and compare raw sum with LSC, in minutes."""
    run = _load(config, overrides)
    from pipelines.comparison.quickstart import run_quickstart

    run_quickstart(run)


@command(WHOLE)
def chain(
    config: Config,
    overrides: Overrides = None,
    first: Annotated[str | None, typer.Option("--from", help="start at this stage, such as align")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an alignment that is already there.")] = False,
) -> None:
    """Run every stage of a run file, from data to report."""
    run = _load(config, overrides)
    from pipelines.chain import run_chain

    run_chain(run, first=first, overwrite=overwrite)
    _keep_results(run, "chain")
    _results(run.folder)


@command(WHOLE)
def sweep(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="sweep file (YAML), such as tune_configs/smoke.yaml", show_default=False),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="overrides of the run file, or of the sweep file with the prefix `sweep.`",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the sweep that is there.")] = False,
    kl_budget: Annotated[
        float | None, typer.Option("--kl-budget", help="nats that the recommended setting may spend")
    ] = None,
) -> None:
    """Search settings (references, KL coefficients, objectives) with Ray Tune, on shared frozen models."""
    from pipelines.config.sweep_loading import load_sweep

    budget = [] if kl_budget is None else [f"sweep.kl_budget={kl_budget}"]
    from pipelines.run.revisions import pinned

    settings, run = load_sweep(file, [*(overrides or []), *budget])
    run = pinned(run)
    _use_threads(run)
    from pipelines.sweep.run import run_sweep

    run_sweep(settings, run, source_name=str(file), resume=resume)
    _results(settings.folder)


@command(TOOLS)
def config(
    file: Annotated[Path | None, typer.Argument(metavar="[CONFIG]", help="run file (YAML)", show_default=False)] = None,
    overrides: Overrides = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of run files, for editors.")] = False,
) -> None:
    """Check a run file and print it with every default filled in, or print the schema."""
    if schema:
        from pipelines.config.schema import run_schema

        typer.echo(json.dumps(run_schema(), indent=2))
        return
    if file is None:
        raise AllgoodError("give a run file, or --schema")
    from pipelines.config.loading import config_yaml, load_config

    typer.echo(config_yaml(load_config(file, overrides or [])), nl=False)


def _load(path: Path, overrides: list[str] | None) -> RunConfig:
    from pipelines.config.loading import load_config
    from pipelines.run.revisions import pinned

    run = pinned(load_config(path, overrides or []))
    _use_threads(run)
    return run


def _making(run: RunConfig, what: str) -> AbstractContextManager[None]:
    """The base folder of a run for this process alone, while a command makes a part of it."""
    from pipelines.run.locks import making_base

    return making_base(run.base_folder, what)


def _keep_results(run: RunConfig, what: str) -> None:
    """Add to the copy of a run what a command has written of it."""
    if run.storage is not None:
        from pipelines.storage.copy import keep_results

        keep_results(run, what)


def _use_threads(run: RunConfig) -> None:
    """Let `threads` hold for this process too: on a busy machine, threads beyond that mostly wait for each other."""
    import torch

    torch.set_num_threads(run.own_threads)


def _load_at(target: Path, overrides: list[str] | None) -> tuple[RunConfig, Path]:
    """The run of a run file, or of the folder that is given, wherever it was made; and the path of its file."""
    if not target.is_dir():
        return _load(target, overrides), target
    from pipelines.config.loading import CONFIG, load_run

    run = load_run(target, overrides or [])
    _use_threads(run)
    return run, target / CONFIG


def _split_names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _refuse_unknown_property(name: str, run: RunConfig) -> None:
    if name not in run.properties:
        raise AllgoodError(f"there is no property {name!r}; properties of this run: {', '.join(run.properties)}")


def _show(report: Mapping[str, object]) -> None:
    from pipelines.output.progress import report_lines

    for line in report_lines(report):
        typer.echo(line)


def _results(path: Path) -> None:
    typer.echo(f"results: {path}")


def _after_interrupt(name: str) -> str:
    if name in ("align", "resume", "chain"):
        return "nothing half-written is left; `allgood resume RUN` goes on from the last checkpoint"
    if name in ("sft", "reward"):
        return "nothing half-written is left; the same command goes on from the training's last checkpoint"
    if name in ("score", "best_of_k"):
        return "responses that are scored already are kept; run the command again to go on"
    if name == "sweep":
        return "nothing half-written is left; the same command with --resume continues the sweep"
    return "nothing half-written is left; run the command again"


if __name__ == "__main__":
    main()
