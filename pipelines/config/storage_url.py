"""Where a copy of a run may be kept, as a URL."""

from __future__ import annotations

from urllib.parse import urlsplit


def checked_storage(url: str) -> str:
    """The URL without a slash at its end.

    Raises:
        ValueError: It is none, or it holds a secret, which is not repeated.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query:
        raise ValueError(
            "a URL of storage must hold no user, password or token, since run files are kept and shown; give "
            "credentials in the environment"
        )
    if not parts.scheme or "://" not in url:
        raise ValueError(f"{url!r} is no URL; write one such as s3://bucket/prefix or file:///shared/folder")
    return url.rstrip("/")
