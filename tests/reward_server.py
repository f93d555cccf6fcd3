"""Servers of rewards in miniature: they speak the wire formats of vLLM, SGLang, OpenRLHF and our own service.

The reward of a text is `reward_of` it. A test may let a server fail: `failures` are the statuses of its next answers,
and a request with a text that it `refuses` is answered with 400, as one that is longer than its model reads.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.http_server import serving_in_threads


def reward_of(text: str) -> float:
    """A reward that every text has, of both signs."""
    return len(text) % 17 - 7.75 + text.count("e") / 8


@dataclass
class RewardServer:
    """A server that runs, and what it was asked."""

    url: str = ""
    shift: float = 0.0
    failures: list[int] = field(default_factory=list)
    refuses: Callable[[str], bool] = lambda text: False
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    sent: list[dict[str, str]] = field(default_factory=list)
    pause_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def at(self, path: str) -> str:
        """The address of a route: /classify, /pooling, /sglang, /get_reward or /v1/score."""
        return f"{self.url}{path}"


@contextmanager
def reward_server() -> Iterator[RewardServer]:
    """A server in threads of this process, on a free port."""
    state = RewardServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with state.lock:
                state.asked.append(body)
                state.sent.append({key.lower(): value for key, value in self.headers.items()})
                status = state.failures.pop(0) if state.failures else 200
            time.sleep(state.pause_s)
            texts = _texts(self.path, body)
            if status == 200 and any(map(state.refuses, texts)):
                status = 400
            answer = _answer(self.path, body, [reward_of(text) + state.shift for text in texts])
            content = json.dumps(answer if status == 200 else {"error": f"status {status}"}).encode()
            self.send_response(status)
            for key, value in state.headers.items():
                self.send_header(key, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving_in_threads(Handler) as state.url:
        yield state


def _texts(path: str, body: dict[str, Any]) -> list[str]:
    """What the server's model reads."""
    if path == "/v1/score":
        return [f"{row['prompt']} {row['response']}" for row in body["rows"]]
    if "messages" in body:
        return ["".join(f"<{message['role']}>{message['content']}" for message in body["messages"])]
    (texts,) = (body[key] for key in ("input", "text", "query") if key in body)
    return list(texts)


def _answer(path: str, body: dict[str, Any], rewards: list[float]) -> Any:
    rows = list(enumerate(rewards))[::-1]  # an order is not promised, an index is
    if path == "/classify":
        assert body["use_activation"] is False
        return {"data": [{"index": index, "probs": [reward], "num_classes": 1} for index, reward in rows]}
    if path == "/pooling":
        return {"data": [{"index": index, "data": [[9.0], [reward]]} for index, reward in rows]}
    if path == "/sglang":
        return [{"embedding": [reward], "meta_info": {}} for reward in rewards]
    if path == "/get_reward":
        return {"rewards": rewards, "scores": rewards, "extra_logs": {}}
    if path == "/v1/score":
        return {"rows": [{"ok": True, "reason": None, "properties": {"liked": {"reward": r}}} for r in rewards]}
    raise AssertionError(f"no route {path}")
