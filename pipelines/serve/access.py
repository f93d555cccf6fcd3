"""Who may ask: the bearer token, the names under which a loopback service answers, and which binds are refused."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Mapping

from allgood.errors import ConfigError
from pipelines.run.session import joins_cluster
from pipelines.serve.settings import LOOPBACK, TOKEN_VARIABLE, ServeSettings

OPEN_PATHS = frozenset({"/", "/page.js", "/page.css", "/healthz", "/readyz"})
"""What needs no token: the page itself, which asks for it, and whether the service lives."""

_SHORTEST_TOKEN = 16


def token_for(settings: ServeSettings) -> str | None:
    """The token of the environment, which every bind but loopback needs; None without one.

    Raises:
        ConfigError: It is missing or short, or Ray's own authentication is off, though others could connect.
    """
    token = os.environ.get(TOKEN_VARIABLE) or None
    if token is not None and len(token) < _SHORTEST_TOKEN:
        raise ConfigError(f"{TOKEN_VARIABLE} has {len(token)} characters; take at least {_SHORTEST_TOKEN}")
    if settings.is_loopback:
        return token
    if token is None:
        raise ConfigError(
            f"host {settings.host} lets other machines connect, so {TOKEN_VARIABLE} must hold a bearer token; set it "
            "in the environment, or bind 127.0.0.1"
        )
    mode = os.environ.get("RAY_AUTH_MODE")
    if mode not in (None, "token") or (mode is None and joins_cluster()):
        raise ConfigError(
            f"host {settings.host} lets other machines connect, and Ray's ports are open to them too: set "
            "RAY_AUTH_MODE=token for the cluster and for this command"
        )
    return token


def may_ask(headers: Mapping[bytes, bytes], token: str) -> bool:
    """Whether a request carries the token: as bearer, or as the password of a URL (https://any:TOKEN@host)."""
    scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"basic":
        try:
            given = base64.b64decode(given, validate=True).partition(b":")[2]
        except binascii.Error:
            return False
    elif scheme.lower() != b"bearer":
        return False
    return hmac.compare_digest(given.strip(), token.encode())


def is_known_host(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request to a loopback service names it so: a page of another site may resolve its name to 127.0.0.1."""
    host = headers.get(b"host", b"").decode("latin-1").lower()
    name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    return name in LOOPBACK
