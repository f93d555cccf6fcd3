"""Train a policy in TRL on what `allgood best-of-k` wrote: DPO on its pairs, or SFT on its weighted samples.

Needs `allgood[scorers]` and `trl`. FOLDER is the `best_of_k` of a run, POLICY the start policy of that run:

allgood best-of-k RUN --tilt-kl 2
python examples/trl_offline.py dpo FOLDER POLICY
python examples/trl_offline.py sft FOLDER POLICY
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from datasets import load_dataset
from trl import DPOConfig, DPOTrainer, SFTConfig

from allgood.integrations.trl_sft import WeightedSFTTrainer


def dpo(folder: Path, policy: str, **settings: Any) -> DPOTrainer:
    """DPO on the best and the worst answer of each prompt."""
    pairs = load_dataset("json", data_files=str(folder / "pairs.jsonl"), split="train")
    return DPOTrainer(policy, args=DPOConfig(**settings), train_dataset=pairs)


def sft(folder: Path, policy: str, **settings: Any) -> WeightedSFTTrainer:
    """SFT towards the optimum at the KL that was chosen; `tilted.jsonl` does the same in a plain `SFTTrainer`."""
    answers = load_dataset("json", data_files=str(folder / "weighted.jsonl"), split="train")
    return WeightedSFTTrainer(policy, args=SFTConfig(**settings), train_dataset=answers)


def main(method: str, folder: str, policy: str) -> None:
    """Train, and keep the policy."""
    trainer = {"dpo": dpo, "sft": sft}[method](Path(folder), policy, output_dir=f"trl_{method}")
    trainer.train()
    trainer.save_model(f"trl_{method}/policy")


if __name__ == "__main__":
    main(*sys.argv[1:4])
