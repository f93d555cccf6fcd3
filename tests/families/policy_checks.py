"""What the roles of a run make of a policy, against plain transformers with one unpadded row at a time.

The plain model attends by the eager implementation, so that it shares no kernel with what it judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer

from actors.learner import ArmSpec, Learner, OptimizerSpec, Ppo
from actors.messages import Batch, Chunk, Rollout
from actors.reference_policy import ReferencePolicyWorker
from actors.rollout import RolloutWorker
from pipelines.output.quiet import quiet_transformers
from pipelines.training.losses import next_token_loss
from pipelines.training.rows import DemonstrationRows, Ragged
from pipelines.training.sources import policy_tokenizer, pretrained_policy
from tests.actors.specs import learner_spec, reference_policy_spec, rollout_spec
from tests.families.messages import messages_of
from tests.families.policies import PolicyCase, save_policy
from tests.families.short_training import train_two_steps

PROMPTS = (
    "\n\nHuman: What is tea?\n\nAssistant:",
    "\n\nSystem: Be brief.\n\nHuman: Name a river.\n\nAssistant: The Danube.\n\nHuman: How long?\n\nAssistant:",
    "\n\nHuman: Why?\n\nAssistant:",
)
SAMPLES = 3
NEW_TOKENS = 10
TOLERANCE = 1e-4  # nats per token


@dataclass(frozen=True)
class PolicyFindings:
    """What was measured; differences are the largest from plain transformers, in nats per token.

    `blind` is how far log-probs move when padding is not masked: what the checks can see. `updated` is how far a step
    of alignment moved them, `published` how far the engine's are then from those of the saved model. `trained` is by
    how much two steps of SFT lowered the loss, `measured` how far the saved model's loss is from the reported one.
    """

    decoder: str
    prompt_as_read: bool
    num_ends: int
    sampled: float
    reference: float
    blind: float
    greedy: bool
    updated: float
    published: float
    trained: float
    measured: float

    def verdicts(self) -> dict[str, bool]:
        """Whether each promise holds."""
        return {
            "prompt": self.prompt_as_read,
            "log-probs": max(self.sampled, self.reference) <= TOLERANCE,
            "greedy text": self.greedy,
            "alignment": self.updated > 100 * TOLERANCE and self.published <= TOLERANCE,
            "SFT": self.trained > 100 * TOLERANCE and self.measured <= TOLERANCE,
        }


def examine_policy(case: PolicyCase, folder: Path) -> PolicyFindings:
    """Sample, compare, align by one step and train by two, all through the roles' own classes.

    Raises:
        ModelError: The policy is refused.
    """
    torch.set_num_threads(1)
    source = save_policy(case, folder / "policy")
    plain = PlainPolicy(source)
    worker = RolloutWorker(rollout_spec(source, max_new_tokens=NEW_TOKENS, max_prompt_tokens=200, stop=()))
    rollout = worker.generate(_chunk())
    truth = plain.of_rollout(rollout)
    reference = ReferencePolicyWorker(reference_policy_spec(source)).logprobs(rollout).rows
    greedy, expected = _greedy_rollout(worker), [plain.greedy(text) for text in PROMPTS]

    learner = Learner(learner_spec(source))
    learner.start(ArmSpec(OptimizerSpec(learning_rate=1e-2, schedule="constant"), Ppo(epochs=1), 1, seed=0))
    learner.update(_batch(rollout, reference))
    learner.save_pretrained(str(folder / "aligned"))
    aligned = PlainPolicy(str(folder / "aligned"), tokenizer=source)
    worker._engine.set_weights(learner.weights())
    published = worker.generate(_chunk())

    return PolicyFindings(
        decoder=worker._engine._prefill.__name__,
        prompt_as_read=[row.tolist() for row in rollout.prompt_tokens] == [plain.prompt(text) for text in PROMPTS],
        num_ends=_num_ends(rollout),
        sampled=_distance(rollout.logprobs, truth),
        reference=_distance(reference, truth),
        blind=_distance([plain.logprobs(*row, padding=4) for row in _rows(rollout)], truth),
        greedy=[row.tolist() for row in greedy.response_tokens] == expected
        and list(greedy.responses) == [plain.spelled(tokens) for tokens in expected],
        updated=_distance(aligned.of_rollout(rollout), truth),
        published=_distance(published.logprobs, aligned.of_rollout(published)),
        **_train(plain, source, folder / "sft"),
    )


class PlainPolicy:
    """A saved policy through transformers alone."""

    def __init__(self, source: str, *, tokenizer: str | None = None) -> None:
        with quiet_transformers():
            self.model = AutoModelForCausalLM.from_pretrained(
                source, dtype=torch.float32, attn_implementation="eager"
            ).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(tokenizer or source)

    @torch.inference_mode()
    def logprobs(self, prompt: Sequence[int], response: Sequence[int], *, padding: int = 0) -> NDArray[np.float32]:
        """Of the response's tokens, in one pass over the whole row; `padding` tokens stand before it unmasked."""
        ids = torch.tensor([[0] * padding + [*prompt, *response]])
        distributions = self.model(ids).logits[0, padding + len(prompt) - 1 : -1].float().log_softmax(-1)
        logprobs: NDArray[np.float32] = distributions.gather(-1, torch.tensor(response)[:, None])[:, 0].numpy()
        return logprobs

    def of_rollout(self, rollout: Rollout) -> list[NDArray[np.float32]]:
        return [self.logprobs(prompt, response) for prompt, response in _rows(rollout)]

    def prompt(self, text: str) -> list[int]:
        """A prompt's tokens as anybody gets them who calls the tokenizer; in plain text EOS ends every reply."""
        if self.tokenizer.chat_template is None:
            ended = text.replace("The Danube.", "The Danube." + self.tokenizer.eos_token)
            return list(self.tokenizer(ended)["input_ids"])
        messages = messages_of(text, merge_system="no system role" in self.tokenizer.chat_template)
        rendered = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
        return list(rendered["input_ids"])

    def greedy(self, text: str) -> list[int]:
        """The response that `generate` gives without sampling, alone in its batch."""
        ids = torch.tensor([self.prompt(text)])
        generated = self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            pad_token_id=0,
        )
        return [int(token) for token in generated[0, ids.shape[1] :]]

    def spelled(self, tokens: list[int]) -> str:
        """What a response spells before its end token, and without special tokens; plain text is stripped."""
        content = tokens[:-1] if tokens[-1] in self.model.generation_config.eos_token_id else tokens
        text = str(self.tokenizer.decode(content, skip_special_tokens=True))
        return text if self.tokenizer.chat_template else text.strip()


def _greedy_rollout(worker: RolloutWorker) -> Rollout:
    """What the engine gives at a temperature near zero, where every draw hits the likeliest token."""

    def sharpen(module: torch.nn.Module, arguments: object, output: object) -> object:
        output.logits = output.logits * 1e6
        return output

    hook = worker._engine._model.register_forward_hook(sharpen)
    try:
        return worker.generate(_chunk(samples=1))
    finally:
        hook.remove()


def _chunk(*, samples: int = SAMPLES) -> Chunk:
    return Chunk(
        step=0,
        index=0,
        seed=11,
        policy_version=0,
        prompt_ids=tuple(str(index) for index in range(len(PROMPTS))),
        prompts=PROMPTS,
        samples_per_prompt=samples,
    )


def _rows(rollout: Rollout) -> list[tuple[list[int], list[int]]]:
    """(prompt, response) tokens of every row."""
    samples = rollout.chunk.samples_per_prompt
    return [
        (rollout.prompt_tokens[row // samples].tolist(), tokens.tolist())
        for row, tokens in enumerate(rollout.response_tokens)
    ]


def _num_ends(rollout: Rollout) -> int:
    """How many different tokens ended a response."""
    ended = zip(rollout.response_tokens, rollout.finish_reasons, strict=True)
    return len({int(tokens[-1]) for tokens, reason in ended if reason == "eos"})


def _batch(rollout: Rollout, reference: Sequence[NDArray[np.float32]]) -> Batch:
    rows = len(rollout.response_tokens)
    return Batch(
        step=0,
        prompt_tokens=tuple(np.asarray(prompt, dtype=np.int32) for prompt, _ in _rows(rollout)),
        response_tokens=rollout.response_tokens,
        logprobs=rollout.logprobs,
        reference_logprobs=tuple(reference),
        utilities=np.random.default_rng(0).normal(size=rows).astype(np.float32),
        groups=np.arange(rows) // rollout.chunk.samples_per_prompt,
        kl_coefficient=0.1,
        policy_version=0,
    )


def _train(plain: PlainPolicy, source: str, folder: Path) -> dict[str, float]:
    """SFT: how far the loss moved, and how far the saved model's is from the one that was reported."""
    rows = [(plain.prompt(text), list(range(20, 25 + index))) for index, text in enumerate(PROMPTS)]
    reported = train_two_steps(
        folder,
        DemonstrationRows(
            Ragged.of([[*prompt, *response] for prompt, response in rows]),
            Ragged.of([[0] * len(prompt) + [1] * len(response) for prompt, response in rows]),
        ),
        name="sft",
        load=partial(pretrained_policy, source, policy_tokenizer(source)),
        loss=next_token_loss,
        task="CAUSAL_LM",
        sums=("loss", "accuracy"),
    )

    def loss(policy: PlainPolicy) -> float:
        return -float(np.concatenate([policy.logprobs(*row) for row in rows]).mean())

    saved = PlainPolicy(str(folder / "last"))
    return {"trained": loss(plain) - reported, "measured": abs(loss(saved) - reported)}


def _distance(rows: Sequence[NDArray[np.float32]], others: Sequence[NDArray[np.float32]]) -> float:
    return max(float(np.abs(row - other).max()) for row, other in zip(rows, others, strict=True))
