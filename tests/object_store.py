"""A local object store that speaks S3: moto's server, in a thread of the process of tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

BUCKET = "runs"


class ObjectStore:
    """A server with one bucket. It can be stopped, and started again at the same address with what it held."""

    def __init__(self) -> None:
        self.url = f"s3://{BUCKET}"
        self._port = 0
        self.start()

    def start(self) -> None:
        server_module = pytest.importorskip("moto.server", reason="the extra `dev`")
        self._server: Any = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._server.start()
        self._port = self._server.get_host_and_port()[1]

    def stop(self) -> None:
        self._server.stop()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """An empty bucket. What the environment says of credentials and endpoint holds for processes too that are started
    meanwhile.
    """
    s3fs = pytest.importorskip("s3fs", reason="the extra `s3`")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line per request
    store = ObjectStore()
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("AWS_ENDPOINT_URL", store.endpoint)
            environment.setenv("AWS_ACCESS_KEY_ID", "test")
            environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
            environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
            s3fs.S3FileSystem(skip_instance_cache=True).mkdir(BUCKET)
            yield store
    finally:
        store.stop()
