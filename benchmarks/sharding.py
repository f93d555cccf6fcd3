"""Memory of one learner, and of each of two that hold the policy between them: at rest, in an update, in a publication.

    python -m benchmarks.sharding            # prints; --write also writes benchmarks/results/sharding.md

A Llama of 69M parameters in float32 on the CPU, with AdamW. Counted is private memory of a process (RssAnon, looked at
every 5 ms) beyond what its libraries take, as a multiple of the policy's size, 4 bytes per parameter. What lies in
Ray's object store is shared memory and not counted.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import ctypes
import gc
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from actors.learner import ArmSpec, Learner, LearnerSpec, OptimizerSpec, Rloo
from actors.learning.group import shard
from actors.learning.specs import Lora
from actors.messages import Batch
from actors.tables import markdown_table
from pipelines.run.session import ray_session

PAGE = Path(__file__).parent / "results" / "sharding.md"
ARM = ArmSpec(OptimizerSpec(), Rloo(), total_steps=10, seed=0)
INTERVAL_S = 0.005


@dataclass(frozen=True)
class Used:
    """Bytes of private memory before a call, at its peak and after it."""

    before: int
    peak: int
    after: int


class Measured:
    """A process with a learner, whose memory is looked at while it works."""

    def __init__(self) -> None:
        self._libraries = private_memory()

    def make(self, spec: LearnerSpec) -> None:
        self.learner = Learner(spec)

    def do(self, method: Callable[..., Any], *arguments: Any) -> Any:
        return method(self.learner, *arguments)

    def used(self, method: Callable[..., Any], *arguments: Any) -> Used:
        """Memory of a call beyond that of the libraries; its answer is dropped."""
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        before, peak, done = private_memory(), private_memory(), threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(INTERVAL_S):
                peak = max(peak, private_memory())

        watcher = threading.Thread(target=watch)
        watcher.start()
        method(self.learner, *arguments)
        done.set()
        watcher.join()
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        return Used(before - self._libraries, peak - self._libraries, private_memory() - self._libraries)


def private_memory() -> int:
    """Bytes that this process shares with nobody."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def publish_all(learner: Learner) -> None:
    """Every part of a version, each dropped before the next, as an actor's answer is."""
    for part in range(len(learner.publication_plan().layout.parts)):
        learner.publish(part)


def main() -> int:
    """Measure, print, and with --write keep the page."""
    with tempfile.TemporaryDirectory() as folder, ray_session():
        config = LlamaConfig(
            vocab_size=8000,
            hidden_size=768,
            intermediate_size=2048,
            num_hidden_layers=8,
            num_attention_heads=12,
            max_position_embeddings=512,
        )
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        size = 4 * model.num_parameters()
        model.save_pretrained(folder)
        del model
        rows = []
        for name, lora in (("all weights", None), ("adapters of rank 8", Lora())):
            for count in (1, 2):
                rows += measured(folder, name, lora, count, size)
    text = page(rows, size)
    print(text)
    if "--write" in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    return 0


def measured(folder: str, name: str, lora: Lora | None, count: int, size: int) -> list[list[str]]:
    """A row of the table per learner."""
    spec = LearnerSpec(
        folder,
        device="cpu",
        dtype="float32",
        threads=1,
        micro_batch_tokens=512,
        lora=lora,
        is_sharded=True,
        gradient_checkpointing=True,
    )
    # With a fixed threshold, what is freed goes back to the system at once, and is not taken for memory in use.
    environment = {"env_vars": {"MALLOC_MMAP_THRESHOLD_": str(2**16)}}
    actor_class = ray.remote(Measured).options(num_cpus=0.1, runtime_env=environment)
    learners = [actor_class.remote() for _ in range(count)]
    ray.get([learner.make.remote(spec) for learner in learners])
    if count > 1:
        address = ray.get(learners[0].do.remote(Learner.open_group, "127.0.0.1"))
        ray.get([actor.do.remote(Learner.join, rank, count, address) for rank, actor in enumerate(learners)])
    ray.get([actor.do.remote(Learner.start, ARM) for actor in learners])
    parts = shard(batch(0), count)
    ray.get([actor.do.remote(Learner.update, part) for actor, part in zip(learners, parts, strict=True)])
    parts = shard(batch(1), count)
    update = ray.get([actor.used.remote(Learner.update, part) for actor, part in zip(learners, parts, strict=True)])
    publication = ray.get([actor.used.remote(publish_all) for actor in learners])
    for actor in learners:
        ray.kill(actor)
    return [
        [
            name,
            f"{rank + 1} of {count}",
            f"{published.before / size:.2f}",
            f"{updated.peak / size:.2f}",
            f"{(published.peak - published.before) / size:.2f}",
        ]
        for rank, (updated, published) in enumerate(zip(update, publication, strict=True))
    ]


def batch(version: int) -> Batch:
    """8 responses of 32 tokens to 4 prompts of 32."""
    generator = np.random.default_rng(version)
    prompts = [generator.integers(3, 8000, 32).astype(np.int32) for _ in range(4)]
    rows = tuple(np.full(32, -9.0, np.float32) for _ in range(8))
    return Batch(
        step=version,
        prompt_tokens=tuple(prompts[row // 2] for row in range(8)),
        response_tokens=tuple(generator.integers(3, 8000, 32).astype(np.int32) for _ in range(8)),
        logprobs=rows,
        reference_logprobs=rows,
        utilities=generator.normal(size=8).astype(np.float32),
        groups=np.arange(8) // 2,
        kl_coefficient=0.1,
        policy_version=version,
    )


def page(rows: Sequence[Sequence[str]], size: int) -> str:
    """The table, with what was measured."""
    lines = [
        "# Memory of learners that hold one policy between them",
        "",
        "Written by `python -m benchmarks.sharding --write`. Private memory of each learner's process beyond its",
        f"libraries, as a multiple of the policy's size ({size / 1e6:.0f} MB, 4 bytes per parameter).",
        "CPU, gloo, float32, AdamW, gradient checkpointing, 512 tokens per pass. At rest one learner of all weights",
        "holds five: parameters, gradients, two moments, and the weights to start anew from.",
        "",
        f"torch {torch.__version__}, Ray {ray.__version__}.",
        "",
        *markdown_table(["trained", "learner", "at rest", "peak of an update", "more while publishing"], rows),
        "",
        "Publication copies parts of at most 64 MB, each gathered tensor by tensor; a part that was published before",
        "lies in the object store, not here. Learners other than the first only take part in gathering.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
