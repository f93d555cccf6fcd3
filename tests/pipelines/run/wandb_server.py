"""As much of W&B's server as its client needs to begin a run; then it may go away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.http_server import serving_in_threads

_PROJECT = {"id": "p", "name": "tiny", "entity": {"id": "e", "name": "somebody"}}
_RUN: dict[str, Any] = {
    **{"id": "UnVu", "name": "r", "displayName": "r", "description": None, "state": "running", "stopped": False},
    **{"config": "{}", "wandbConfig": "{}", "summaryMetrics": "{}", "sweepName": None, "project": _PROJECT},
    **{"history": "[]", "historyTail": "[]", "events": "[]", "eventsTail": "[]", "tags": []},
    **{"historyLineCount": 0, "eventsLineCount": 0, "logLineCount": 0},
}
_ANSWER = {
    "viewer": {"id": "v", "entity": "somebody", "username": "somebody", "flags": "{}", "teams": {"edges": []}},
    "serverInfo": {"cliVersionInfo": {"max_cli_version": "9.9.9"}, "latestLocalVersionInfo": None, "features": []},
    "upsertBucket": {"bucket": _RUN, "inserted": True},
    "model": {"bucket": None},
    "createRunFiles": {"runID": "r", "uploadHeaders": [], "files": []},
}


@contextmanager
def wandb_server() -> Iterator[str]:
    """The address of a server in threads of this process, on a free port, which is gone after the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"] or 0))
            answer = {"exitcode": None, "limits": {}} if "file_stream" in self.path else {"data": _ANSWER}
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving_in_threads(Handler) as url:
        yield url
