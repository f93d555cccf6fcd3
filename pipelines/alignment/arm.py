"""One alignment on one lane, from pi_0 or a checkpoint to the exported policy and its summary.

A lost learner ends it; whoever made it may have it go on from the last checkpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from actors.faults import LearnerMemoryError
from actors.learning.memory import refusal_of_halves
from pipelines.alignment import checkpoints
from pipelines.alignment.ahead import StoredSteps
from pipelines.alignment.checkpoints import Checkpoint
from pipelines.alignment.journal import AlignJournal
from pipelines.alignment.learner_files import LearnerFiles, learner_files
from pipelines.alignment.loop import Roles, State, Step, align
from pipelines.alignment.model_card import write_model_card
from pipelines.alignment.setup import Setup, initial_state
from pipelines.alignment.validation import Validator
from pipelines.alignment.watching import Watch
from pipelines.cast.actors import Actors
from pipelines.cast.collect import Crew
from pipelines.cast.faults import FaultLog
from pipelines.cast.lane import PROBE, Lane
from pipelines.cast.processes import Processes
from pipelines.cast.request import arm_spec, limits_of, reference_role, role_resources
from pipelines.output.files import atomic_path, write_json
from pipelines.output.hashes import copy_tokenizer
from pipelines.output.progress import say, track
from pipelines.output.stamp import stamped
from pipelines.run.folder import RunFolder
from pipelines.run.start_policy import start_policy
from pipelines.run.termination import Terminated, grace
from pipelines.storage.copy import RunCopy


@dataclass(frozen=True)
class Arm:
    """One alignment on one lane. `pass_tokens` bounds the learners' passes where the run's own size was too much."""

    setup: Setup
    folder: RunFolder
    faults: FaultLog
    cast: Actors
    is_own_cast: bool
    watch: Watch | None
    copy: RunCopy | None = None
    pass_tokens: int | None = None

    def in_smaller_passes(self, error: LearnerMemoryError) -> Arm:
        """The same alignment after its learners, who share one policy, ran out of memory: once it may go on.

        Raises:
            TrainingError: The passes are smaller than the run says already.
        """
        if self.pass_tokens is not None:
            raise refusal_of_halves(error) from error
        return replace(self, pass_tokens=error.pass_tokens)

    def conclude(self, checkpoint: Checkpoint | None) -> dict[str, Any]:
        """Run to the end, from a checkpoint or from pi_0; the run's summary."""
        after_step = checkpoint.state.step if checkpoint else 0
        with AlignJournal(self.folder, self.setup.config, after_step=after_step) as journal:
            if self.copy is not None:
                self.copy.go_on_after(checkpoint.folder if checkpoint else None, after_step)
            state = asyncio.run(self._run(checkpoint, journal))
            summary = _summarise(self.setup, self.folder, journal, state)
            if self.copy is not None:
                self.copy.keep_results()
            return summary

    async def _run(self, checkpoint: Checkpoint | None, journal: AlignJournal) -> State:
        setup, config = self.setup, self.setup.config
        key = str(self.folder.path)
        lane = Lane(
            self.cast,
            key=key,
            scorers=list(config.properties),
            limits=limits_of(config),
            tell=self.faults,
            knows_pi_0=reference_role(config),
            is_synchronous=config.align.staleness == 0,
        )
        await lane.treat(setup.treatments(key))
        if self.is_own_cast:  # kept actors were checked by whoever made them
            await lane.check_scores([setup.prompts[0].text] * len(PROBE), PROBE)
        files = await learner_files(lane, self.folder, self.copy)
        state = initial_state(config) if checkpoint is None else checkpoint.state
        if checkpoint is None:
            await lane.start(arm_spec(config))
        else:
            await files.load(checkpoint)
        if self.pass_tokens is not None:
            await lane.limit_passes(self.pass_tokens)
        processes = Processes(self.cast, list(role_resources(config)), checkpoint.processes if checkpoint else {})
        processes.look()
        plan = setup.plan(has_float32_logprobs=await lane.has_float32_logprobs())
        with track(f"aligning {config.name}", config.align.steps - state.step) as bar:

            def observe(step: Step) -> None:
                processes.look()
                journal.write(step, self.faults.counts())
                if self.watch is not None:
                    self.watch.observe(step)
                bar.advance(status=f"KL {step.metrics['kl_k1_sum']:.2f} utility {step.metrics['utility.mean']:.2f}")

            stored = {} if checkpoint is None else checkpoints.read_ahead(checkpoint)
            with grace(config.placement.grace_s, f"`allgood resume {self.folder.path}`") as asked_to_end:
                state = await align(plan, self._roles(lane, files, processes, asked_to_end), state, observe, stored)
                if not plan.is_over(state):
                    raise Terminated
        await self._export(files, state, journal.last_validation())
        return state

    def _roles(self, lane: Lane, files: LearnerFiles, processes: Processes, stop: asyncio.Event) -> Roles:
        crew = lane.crew()

        async def commit(state: State, ahead: StoredSteps) -> None:
            folder, hashes = self.folder.checkpoints, self.setup.hashes
            keep = self.setup.config.align.keep_checkpoints
            save = partial(files.save, step=state.step)
            final = await checkpoints.commit(folder, state, hashes, save, ahead, processes=processes.look())
            checkpoints.prune(folder, state, keep=keep)
            if self.copy is not None:  # in a thread: the loop goes on hearing actors and signals
                kept = partial(checkpoints.kept_steps, state=state, keep=keep)
                await asyncio.to_thread(self.copy.keep_checkpoint, final, state.step, kept)

        return Roles(crew, lane.update, lane.announce, self._validator(crew), commit, stop)

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

    async def _export(self, files: LearnerFiles, state: State, validation: Mapping[str, float]) -> None:
        """The aligned policy as a folder that `from_pretrained` loads: the weights of the last step."""
        with atomic_path(self.folder.model) as temporary:
            temporary.mkdir()
            await files.save_pretrained(temporary.absolute())
            copy_tokenizer(start_policy(self.setup.config).source, temporary)
            write_model_card(temporary / "README.md", self.setup.config, state, validation)


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
