"""What an alignment run is made of, worked out and checked before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from actors.messages import Chunk, Experience
from allgood.all_good import AllGood
from allgood.errors import DataError
from allgood.treatment import Treatment
from pipelines.alignment.batch import assemble
from pipelines.alignment.checkpoints import CONFIG_HASH, TABLE_HASH, config_hash
from pipelines.alignment.controllers import advance, advance_multipliers, controller_of, initial_multipliers
from pipelines.alignment.loop import Assembled, Plan, State
from pipelines.alignment.normalised_batch import assemble_normalised
from pipelines.cast.collect import make_chunks, purpose_seed
from pipelines.cast.experience import rewards_of
from pipelines.cast.served_models import check_served_models
from pipelines.config.contradictions import refuse_contradictions
from pipelines.config.objectives import NormaliseThenSumObjective
from pipelines.config.run import RunConfig
from pipelines.data import Prompt, load_prepared
from pipelines.data.prompt_order import run_prompts, step_prompts
from pipelines.objective.gold import Gold, gold_of
from pipelines.objective.guards import refuse_other_sampler, refuse_unfit_rewards
from pipelines.output.hashes import sha256_of
from pipelines.references.table import MANIFEST
from pipelines.references.treatments import all_good_of, run_table
from pipelines.run.folder import RunFolder


@dataclass(frozen=True)
class Setup:
    """A run's prompts, references, objective and gold. `hashes` tie its checkpoints to config and reference table."""

    config: RunConfig
    prompts: Sequence[Prompt]
    validation_prompts: Sequence[Prompt]
    all_good: AllGood  # its treatments have no key
    gold: Gold | None
    hashes: dict[str, str]

    @property
    def validation_seed(self) -> int:
        """Seed of the evaluations while training."""
        return purpose_seed(self.config.seed, "validation")

    def treatments(self, key: str) -> dict[str, Treatment]:
        """What this run makes of each property's rewards."""
        return {name: replace(treatment, key=key) for name, treatment in self.all_good.properties.items()}

    def plan(self, *, has_float32_logprobs: bool) -> Plan:
        """The run as pure functions of the state; how log-probs are compared in the first step depends on precision."""
        align, objective = self.config.align, self.config.objective
        return Plan(
            num_steps=align.steps,
            chunks=self.chunks,
            assemble=partial(self.assemble, has_float32_logprobs=has_float32_logprobs),
            control_kl=partial(advance, self.config.kl),
            evaluate_every=align.evaluate_every,
            commit_every=align.checkpoint_every,
            stop_at_kl=align.stop_at_kl,
            staleness=align.staleness,
            price=partial(advance_multipliers, objective),
        )

    def assemble(self, experience: Sequence[Experience], state: State, *, has_float32_logprobs: bool) -> Assembled:
        """The batch of a step. The first step also looks at what the actors give: a run may have no other chance.

        Raises:
            RoleError: Rewards do not fit their transform, or what samples is not the policy.
            TrainingError: Nothing to learn from.
        """
        if state.step == 0:
            refuse_other_sampler(experience, in_float32=has_float32_logprobs)
            refuse_unfit_rewards(self.config.properties, rewards_of(experience))
        rule = assemble_normalised if isinstance(self.config.objective, NormaliseThenSumObjective) else assemble
        return rule(experience, state, all_good=self.all_good, max_nan_share=self.config.align.max_nan_share)

    def chunks(self, state: State) -> list[Chunk]:
        """The chunks of the step that follows `state`."""
        config = self.config
        prompts = step_prompts(
            self.prompts, seed=config.seed, step=state.step, prompts_per_step=config.align.prompts_per_step
        )
        return make_chunks(
            prompts,
            seed=config.seed,
            step=state.step,
            policy_version=state.policy_version,
            samples_per_prompt=config.align.samples_per_prompt,
            prompts_per_chunk=config.sampling.prompts_per_chunk,
        )


def set_up(config: RunConfig) -> Setup:
    """Read data and references and check them against the run.

    Raises:
        ConfigError, DataError, ModelError, ReferenceTableError: What is missing or belongs to another run, by name.
        RoleError: A server of rewards refuses to answer.
    """
    refuse_contradictions(config)
    check_served_models(config)
    all_prompts = load_prepared(RunFolder(config.base_folder).data).prompts
    prompts = run_prompts(config, all_prompts, "alignment")
    validation = run_prompts(config, all_prompts, "validation")[: config.align.max_evaluation_prompts]
    for split, found in (("alignment", prompts), ("validation", validation)):
        if not found:
            raise DataError(
                f"{RunFolder(config.base_folder).data} has no {split} prompts; look at the counts in its report"
            )
    table = run_table(config)
    ids = [prompt.id for prompt in (*prompts, *validation)]
    hashes = {CONFIG_HASH: config_hash(config)}
    if table is not None:
        hashes[TABLE_HASH] = sha256_of(table.folder / MANIFEST)
    return Setup(config, prompts, validation, all_good_of(config, table, ids, key=""), gold_of(config), hashes)


def initial_state(config: RunConfig) -> State:
    """The state before the first update: the weights of pi_0 are version 0."""
    controller = controller_of(config.kl)
    return State(
        step=0,
        policy_version=0,
        kl_coefficient=controller.coefficient,
        kl_controller=controller.state_dict(),
        multipliers=initial_multipliers(config.objective),
    )
