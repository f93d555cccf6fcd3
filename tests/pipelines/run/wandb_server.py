"""As much of W&B's server as its client needs to begin a run; then it may go away."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
