"""Train a policy in slime on the rewards of a finished run, or on a `rewards.yaml` of your own.

Needs `allgood[scorers]` and slime with its GPUs. REWARDS is what `allgood export-rewards` wrote or the address of
`allgood serve`. Call it in slime's folder; what stands behind `--` goes to its `train.py` as it is, such as the model's
shape, the checkpoint, and the number of GPUs:

python examples/slime_train.py REWARDS "How do I descale a kettle?" "Name a river." -- ${MODEL_ARGS[@]} ...
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

GAMMA = 0.1  # the KL coefficient


def write_inputs(rewards: str, questions: list[str], folder: Path) -> None:
    """The prompts as slime reads them, and the file that tells our hooks where the rewards are."""
    rows = [{"prompt": [{"role": "user", "content": question}]} for question in questions * 64]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "allgood.yaml").write_text(f"allgood_rewards: {json.dumps(rewards)}\n", encoding="utf-8")


def arguments(folder: Path) -> list[str]:
    """What slime is told. The first block is ours; the sizes in the second one are an example."""
    return [
        *("--custom-rm-path", "allgood.integrations.slime.custom_rm"),
        *("--reward-key", "utility"),
        *("--custom-reward-post-process-path", "allgood.integrations.slime.centred"),
        *("--custom-config-path", str(folder / "allgood.yaml")),
        *("--advantage-estimator", "reinforce_plus_plus"),
        "--normalize-advantages",
        *("--kl-coef", str(GAMMA)),  # KL is part of the reward of each token: kl-coef is gamma
        *("--kl-loss-type", "k1"),
        *("--rollout-temperature", "1"),
        #
        *("--prompt-data", str(folder / "prompts.jsonl")),
        *("--input-key", "prompt"),
        "--apply-chat-template",
        *("--rollout-batch-size", "16"),
        *("--n-samples-per-prompt", "8"),
        *("--global-batch-size", "128"),
        *("--rollout-max-response-len", "256"),
        *("--num-rollout", "100"),
    ]


if __name__ == "__main__":
    ours, theirs = sys.argv[1:], []
    if "--" in ours:
        ours, theirs = ours[: ours.index("--")], ours[ours.index("--") + 1 :]
    folder = Path("allgood_slime").resolve()
    folder.mkdir(exist_ok=True)
    write_inputs(ours[0], ours[1:], folder)
    os.execv(sys.executable, [sys.executable, "train.py", *arguments(folder), *theirs])
