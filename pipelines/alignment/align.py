"""`allgood align` and `allgood resume`: a policy aligned to all properties, from pi_0 or from a checkpoint.

This file decides what a run is made of (prompts, treatments, objective, KL controller, files) and hands it to the loop
in `align_loop.py`. With kept actors several arms run on one cast, one after another or side by side; everything an arm
leaves in a shared actor stands under the arm's key.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.alignment import checkpoints
from pipelines.alignment.checkpoints import CONFIG_HASH, Checkpoint, config_hash
from pipelines.alignment.journal import AlignJournal
from pipelines.alignment.loop import Roles, State, Step, align
from pipelines.alignment.model_card import write_model_card
from pipelines.alignment.setup import Setup, initial_state, set_up
from pipelines.alignment.validation import Judge, Validator
from pipelines.cast.actors import Actors, cast_for
from pipelines.cast.collect import Crew
from pipelines.cast.lane import PROBE, Lane
from pipelines.cast.request import align_request, arm_spec
from pipelines.config.loading import load_run, save_config
from pipelines.config.run import RunConfig
from pipelines.objective.guards import kl_notice
from pipelines.output.files import atomic_path, write_json
from pipelines.output.hashes import copy_tokenizer
from pipelines.output.progress import say, track
from pipelines.output.stamp import stamped
from pipelines.run.folder import SFT_SAMPLES, RunFolder, refuse_alignment
from pipelines.run.locks import reading_base, writing_results
from pipelines.run.start_policy import start_policy


@dataclass(frozen=True)
class Watch:
    """Who looks on while a run is made: a judge of every evaluation, and whoever is told of every finished step."""

    judge: Judge | None  # None: nobody judges
    observe: Callable[[Step], None]


def run_align(
    config: RunConfig, cast: Actors | None = None, *, overwrite: bool = False, watch: Watch | None = None
) -> dict[str, Any]:
    """Align from pi_0; returns what `summary.json` holds. With `cast`, its actors are used and kept.

    Raises:
        ConfigError: The run folder already holds an alignment and `overwrite` is not set, or one is running there.
        AllgoodError: Whatever else a user can act on: references, models, placement, failed scores.
    """
    folder = RunFolder(config.folder)
    if not overwrite:
        refuse_alignment(folder)
    with reading_base(config.base_folder, "align"):
        setup = set_up(config)
        with writing_results(folder.path, "align"):
            _make_room(folder)
            save_config(config, folder.config)
            return _run(setup, folder, cast, checkpoint=None, watch=watch)


def resume(run_folder: Path, cast: Actors | None = None, *, watch: Watch | None = None) -> dict[str, Any]:
    """Continue a run from its last whole checkpoint to the same end that it would have had without the interruption.

    With `cast`, its actors are used and kept, and hold the last policy afterwards. Without, a run that is finished
    stays as it is.

    Raises:
        ConfigError: The folder holds no run, or it is running.
        CheckpointError: All checkpoints are damaged, or belong to another config or reference table.
    """
    folder, config = RunFolder(run_folder), load_run(run_folder)
    with writing_results(folder.path, "resume"), reading_base(config.base_folder, "resume"):
        checkpoint = checkpoints.latest(folder.checkpoints, say)
        if cast is None and folder.model.is_dir() and folder.summary.is_file():
            if checkpoint is not None:
                checkpoints.refuse_other_run(checkpoint, {CONFIG_HASH: config_hash(config)}, config)
            say(f"{run_folder} is finished: {folder.model}")
            summary: dict[str, Any] = json.loads(folder.summary.read_text(encoding="utf-8"))
            return summary
        setup = set_up(config)
        if checkpoint is None:
            say(f"{run_folder} has no checkpoint yet; starting at step 0")
        else:
            checkpoints.refuse_other_run(checkpoint, setup.hashes, config)
            say(f"continuing {run_folder} after step {checkpoint.state.step}")
        return _run(setup, folder, cast, checkpoint=checkpoint, watch=watch)


def _run(
    setup: Setup, folder: RunFolder, cast: Actors | None, *, checkpoint: Checkpoint | None, watch: Watch | None
) -> dict[str, Any]:
    notice = kl_notice(setup.config)
    if notice is not None:
        say(notice)
    if cast is None:
        shutil.rmtree(folder.weights, ignore_errors=True)  # a killed run leaves what was on its way
    try:
        with cast_for(align_request(setup.config), cast) as kept:
            after_step = checkpoint.state.step if checkpoint else 0
            with AlignJournal(folder, setup.config, after_step=after_step) as journal:
                arm = _Arm(setup, folder, journal, kept, is_own_cast=cast is None, watch=watch)
                state = asyncio.run(arm.run(checkpoint))
                return _summarise(setup, folder, journal, state)
    except KeyboardInterrupt:
        say(_how_to_resume(folder))
        raise


@dataclass(frozen=True)
class _Arm:
    """One alignment on one lane."""

    setup: Setup
    folder: RunFolder
    journal: AlignJournal
    cast: Actors
    is_own_cast: bool
    watch: Watch | None

    async def run(self, checkpoint: Checkpoint | None) -> State:
        setup, config = self.setup, self.setup.config
        key = str(self.folder.path)
        lane = Lane(self.cast, key=key, scorers=list(config.properties), deadline_s=config.placement.deadline_s)
        await lane.treat(setup.treatments(key))
        if self.is_own_cast:  # kept actors were checked by whoever made them
            await lane.check_scores([setup.prompts[0].text] * len(PROBE), PROBE)
        state = initial_state(config) if checkpoint is None else checkpoint.state
        if checkpoint is None:
            await lane.start(arm_spec(config))
        else:
            await lane.load(checkpoint.learner.absolute(), state.policy_version)
        plan = setup.plan(has_float32_logprobs=await lane.has_float32_logprobs())
        with track(f"aligning {config.name}", config.align.steps - state.step) as bar:

            def observe(step: Step) -> None:
                self.journal.write(step)
                if self.watch is not None:
                    self.watch.observe(step)
                bar.advance(status=f"KL {step.metrics['kl_k1_sum']:.2f} utility {step.metrics['utility.mean']:.2f}")

            state = await align(plan, self._roles(lane), state, observe)
        await self._export(lane, state)
        return state

    def _roles(self, lane: Lane) -> Roles:
        crew = lane.crew()
        return Roles(crew, lane.update, lane.publish, self._validator(crew), lambda state: self._commit(lane, state))

    def _validator(self, crew: Crew) -> Validator:
        config = self.setup.config
        return Validator(
            crew=crew,
            prompts=self.setup.validation_prompts,
            all_good=self.setup.all_good,
            gold=self.setup.gold,
            seed=self.setup.validation_seed,
            samples_per_prompt=config.align.evaluation_samples,
            prompts_per_chunk=config.sampling.prompts_per_chunk,
            judge=self.watch.judge if self.watch else None,
        )

    async def _commit(self, lane: Lane, state: State) -> None:
        await checkpoints.commit(self.folder.checkpoints, state, self.setup.hashes, lane.save)
        checkpoints.prune(self.folder.checkpoints, state, keep=self.setup.config.align.keep_checkpoints)

    async def _export(self, lane: Lane, state: State) -> None:
        """The aligned policy as a folder that `from_pretrained` loads: the weights of the last step."""
        with atomic_path(self.folder.model) as temporary:
            temporary.mkdir()
            await lane.save_pretrained(temporary.absolute())
            copy_tokenizer(start_policy(self.setup.config).source, temporary)
            write_model_card(temporary / "README.md", self.setup.config, state, self.journal.last_validation())


def _make_room(folder: RunFolder) -> None:
    """Remove an earlier alignment with all that was measured of it: its numbers would pass for those of the new one.

    The start policy's samples stay: they carry the key of what they depend on, and other runs on this base use them.
    """
    measured = [path for path in folder.evaluation.glob("*") if path.name != SFT_SAMPLES]
    for path in (folder.metrics, folder.samples, folder.summary, folder.report, *measured):
        path.unlink(missing_ok=True)
    for path in (folder.checkpoints, folder.model, folder.plots):
        shutil.rmtree(path, ignore_errors=True)


def _how_to_resume(folder: RunFolder) -> str:
    newest = checkpoints.newest(folder.checkpoints)
    if newest is None:
        return f"interrupted before the first checkpoint of {folder.path}; start it again with `allgood align`"
    return f"interrupted; {newest} is complete and `allgood resume {folder.path}` continues from it"


def _summarise(setup: Setup, folder: RunFolder, journal: AlignJournal, state: State) -> dict[str, Any]:
    validation = journal.last_validation()
    summary = stamped(
        {
            "name": setup.config.name,
            "objective": setup.config.objective.model_dump(mode="json"),
            "steps": state.step,
            "stopped": state.stopped,
            "policy_version": state.policy_version,
            "gamma": state.kl_coefficient,
            "kl": validation["kl_k1_mean"],
            "validation": validation,
            "best": {"step": state.best.step, "score": state.best.score} if state.best else None,
            "seconds": journal.total_seconds(),
            "model": str(folder.model),
        }
    )
    write_json(folder.summary, summary)
    journal.conclude(summary)
    say(f"aligned policy after {state.step} steps (KL {validation['kl_k1_mean']:.2f} nats): {folder.model}")
    return summary
