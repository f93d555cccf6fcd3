"""One update of a learner in a process of its own, whose memory may be bounded.

`python -m tests.faults.update_driver POLICY OUT [ROOM]` leaves the weights in OUT. It prints the bytes that the update
took, why it made passes again, and its gradient norm. ROOM is how many bytes it may take.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from actors.learner import ArmSpec, Learner, OptimizerSpec, Rloo
from actors.messages import Batch
from tests.actors.specs import learner_spec

PROMPTS, SAMPLES, TOKENS = 500, 4, 24
ARM = ArmSpec(OptimizerSpec(learning_rate=1e-3, schedule="constant"), Rloo(), total_steps=1, seed=0)


def large_batch() -> Batch:
    """2,000 responses, as one micro-batch."""
    draw, rows = np.random.default_rng(0), PROMPTS * SAMPLES
    tokens = tuple(draw.integers(3, 300, TOKENS).astype(np.int32) for _ in range(2 * rows))
    logprobs = tuple(np.full(TOKENS, -1.0, np.float32) for _ in range(rows))
    return Batch(
        step=0,
        prompt_tokens=tokens[:rows],
        response_tokens=tokens[rows:],
        logprobs=logprobs,
        reference_logprobs=logprobs,
        utilities=draw.normal(size=rows).astype(np.float32),
        groups=np.repeat(np.arange(PROMPTS), SAMPLES),
        kl_coefficient=0.1,
        policy_version=0,
    )


def peak() -> int:
    """Most bytes that this process has held so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def bound(room: int) -> None:
    """Let this process take `room` more bytes than it has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    limit = pages * resource.getpagesize() + room
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


if __name__ == "__main__":
    policy, out, *room = sys.argv[1:]
    learner = Learner(learner_spec(policy, micro_batch_tokens=10**9))
    learner.start(ARM)
    batch, before = large_batch(), peak()
    if room:
        bound(int(room[0]))
    result = learner.update(batch)
    taken = peak() - before
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    save_file(learner.weights().arrays, out)
    reasons = [retry.reason for retry in result.retries]
    print(json.dumps({"taken": taken, "reasons": reasons, "gradient_norm": result.metrics["gradient_norm"]}))
