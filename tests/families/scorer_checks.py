"""What a reward worker makes of a reward model, against plain transformers with one unpadded conversation at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from actors.reward import RewardSpec, RewardWorker
from allgood.scorers.spec import ModelSpec
from pipelines.output.quiet import quiet_transformers
from pipelines.training.losses import bradley_terry_loss
from pipelines.training.rows import PairRows, Ragged
from pipelines.training.sources import backbone_tokenizer, reward_backbone
from tests.families.messages import messages_of
from tests.families.scorers import ScorerCase, save_scorer
from tests.families.short_training import train_two_steps

PROMPTS = (
    "\n\nHuman: What is tea?\n\nAssistant:",
    "\n\nHuman: What is tea?\n\nAssistant: A drink.\n\nHuman: And mate, and how is it made?\n\nAssistant:",
    "\n\nHuman: Why?\n\nAssistant:",
    "\n\nHuman: Name a river.\n\nAssistant:",
)
RESPONSES = ("A drink, hot or cold.", "Also a drink.", "So.", "The Danube is a long river in Europe.")
OTHERS = ("No.", "I do not know what it is.", "Because it is so.", "Rhine.")
TOLERANCE = 1e-4  # of 1 + |reward|


@dataclass(frozen=True)
class ScoringFindings:
    """Largest differences from plain transformers, relative to 1 + |reward|.

    `blind` is how far rewards move when padding is not masked: what the checks can see.
    """

    batch: float
    alone: float
    reordered: float
    blind: float

    @property
    def holds(self) -> bool:
        """Whether rewards are the model's own, whatever stands beside a response."""
        return max(self.batch, self.alone, self.reordered) <= TOLERANCE


@dataclass(frozen=True)
class TrainingFindings:
    """By how much two steps lowered the loss, and how far the saved model's loss is from the reported one."""

    trained: float
    measured: float

    @property
    def holds(self) -> bool:
        """Whether the model was trained, and is saved as it was measured."""
        return self.trained > 100 * TOLERANCE and self.measured <= TOLERANCE


def examine_scoring(case: ScorerCase, folder: Path) -> ScoringFindings:
    """Score in a batch, alone and in another order, as a reward actor does.

    Raises:
        ModelError: The reward model is refused.
    """
    torch.set_num_threads(1)
    source = save_scorer(case, folder)
    plain, worker = PlainScorer(source), _worker(source)
    truth = plain.rewards()
    worker.score_parity(PROMPTS, RESPONSES)
    alone = np.concatenate([worker.score_texts([p], [r]) for p, r in zip(PROMPTS, RESPONSES, strict=True)])
    return ScoringFindings(
        batch=_distance(worker.score_texts(PROMPTS, RESPONSES), truth),
        alone=_distance(alone, truth),
        reordered=_distance(worker.score_texts(PROMPTS[::-1], RESPONSES[::-1])[::-1], truth),
        blind=_distance(plain.rewards(padding=4), truth),
    )


def examine_training(case: ScorerCase, folder: Path) -> TrainingFindings:
    """Train two steps on pairs, and score the pairs with the saved model.

    Raises:
        ModelError: The backbone is refused.
    """
    torch.set_num_threads(1)
    source = save_scorer(case, folder / "backbone")
    plain = PlainScorer(source)
    chosen, rejected = (
        Ragged.of([plain.tokens(prompt, response) for prompt, response in zip(PROMPTS, side, strict=True)])
        for side in (RESPONSES, OTHERS)
    )
    reported = train_two_steps(
        folder / "trained",
        PairRows(chosen, rejected, np.zeros(len(PROMPTS), dtype=np.float32)),
        name="reward helpful",
        load=partial(reward_backbone, source, 0, backbone_tokenizer(source)),
        loss=partial(bradley_terry_loss, center_coefficient=0.0),
        task="SEQ_CLS",
        sums=("loss", "log_loss", "accuracy"),
    )
    saved = _worker(str(folder / "trained" / "last"))
    margins = saved.score_texts(PROMPTS, RESPONSES) - saved.score_texts(PROMPTS, OTHERS)
    return TrainingFindings(
        trained=_log_loss(plain.rewards() - plain.rewards(OTHERS)) - reported,
        measured=abs(_log_loss(margins) - reported),
    )


class PlainScorer:
    """A saved reward model through transformers alone."""

    def __init__(self, source: str) -> None:
        with quiet_transformers():
            self.model = AutoModelForSequenceClassification.from_pretrained(
                source, dtype=torch.float32, attn_implementation="eager"
            ).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(source)

    @torch.inference_mode()
    def rewards(self, responses: tuple[str, ...] = RESPONSES, *, padding: int = 0) -> NDArray[np.float32]:
        """Of each response, alone; `padding` tokens stand behind it unmasked."""
        rows = [
            self.tokens(prompt, response) + [7] * padding for prompt, response in zip(PROMPTS, responses, strict=True)
        ]
        return np.array([self.model(torch.tensor([row])).logits.item() for row in rows], dtype=np.float32)

    def tokens(self, prompt: str, response: str) -> list[int]:
        """A conversation's tokens as anybody gets them who calls the tokenizer."""
        if self.tokenizer.chat_template is None:
            ids: list[int] = self.tokenizer(f"{prompt} {response}")["input_ids"]
            return ids if self.tokenizer.cls_token_id is not None else [*ids, self.tokenizer.eos_token_id]
        messages = [*messages_of(prompt), {"role": "assistant", "content": response}]
        return list(self.tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"])


def _worker(source: str) -> RewardWorker:
    return RewardWorker(RewardSpec("helpful", ModelSpec(source, max_tokens=256, device="cpu")))


def _log_loss(margins: NDArray[np.float32]) -> float:
    return float(np.logaddexp(0.0, -margins.astype(np.float64)).mean())


def _distance(rewards: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    return float(np.max(np.abs(rewards - truth) / (1.0 + np.abs(truth))))
