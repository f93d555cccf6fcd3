"""A mapping from a YAML file, read key by key: a key that nobody reads is a mistake, and a value has a type.

Messages name the file and the dotted key. Nothing here knows what is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from allgood.errors import ConfigError

_REQUIRED: Any = object()


class Section:
    """One section of a file; `where` names file and key for messages. Read everything, then call `end`.

    Raises:
        ConfigError: From every method: the value is missing or of another type, or it is no section.
    """

    def __init__(self, raw: object, where: str) -> None:
        if not isinstance(raw, Mapping):
            raise ConfigError(f"{where} must be a section of `key: value` lines, not {raw!r:.60}")
        self._raw = raw
        self.where = where
        self._read: set[str] = set()

    def has(self, key: str) -> bool:
        """Whether the key is given, and not null."""
        return self._raw.get(key) is not None

    def text(self, key: str, default: str = _REQUIRED) -> str:
        """A text that is not empty."""
        value = self._value(key, default)
        if not isinstance(value, str) or (not value and value is not default):
            raise self.wrong(key, "text")
        return value

    def optional_text(self, key: str) -> str | None:
        """A text, or None where the key is absent."""
        self._read.add(key)
        return self.text(key) if self.has(key) else None

    def number(self, key: str, default: float = _REQUIRED) -> float:
        """A finite number."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.wrong(key, "a finite number")
        return float(value)

    def optional_number(self, key: str) -> float | None:
        """A finite number, or None where the key is absent."""
        self._read.add(key)
        return self.number(key) if self.has(key) else None

    def whole(self, key: str, default: int = _REQUIRED, *, at_least: int) -> int:
        """A whole number, not below `at_least`."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
            raise self.wrong(key, f"a whole number of at least {at_least}")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def one_of(self, key: str, allowed: Sequence[str], default: str = _REQUIRED) -> str:
        """One of the texts that are allowed."""
        value = self._value(key, default)
        if value not in allowed:
            raise self.wrong(key, f"one of {', '.join(allowed)}")
        return str(value)

    def texts(self, key: str, default: Sequence[str] = _REQUIRED) -> tuple[str, ...]:
        """A list of texts; an empty one only where the key may be absent."""
        value = self._value(key, default)
        if value is not default and (
            not isinstance(value, list)
            or (not value and default is _REQUIRED)
            or not all(isinstance(item, str) for item in value)
        ):
            raise self.wrong(key, "a list of texts")
        return tuple(value)

    def numbers(self, key: str) -> dict[str, float]:
        """A mapping from names to finite numbers."""
        inner = self.section(key)
        found = {str(name): inner.number(name) for name in inner.keys}
        inner.end()
        return found

    def section(self, key: str) -> Section:
        """A section below this one; an absent one has no keys."""
        return Section(self._value(key, {}), f"{self.where}, `{key}`")

    @property
    def keys(self) -> list[str]:
        """The keys that are given, in order; reading them is up to the caller."""
        return [str(key) for key in self._raw]

    def wrong(self, key: str, wanted: str) -> ConfigError:
        """The error for a value that is not what is wanted."""
        return ConfigError(f"{self.where}: `{key}` is {self._raw.get(key)!r:.60}, and must be {wanted}")

    def end(self) -> None:
        """Refuse keys that nobody has read."""
        for key in self.keys:
            if key not in self._read:
                near = get_close_matches(key, self._read, n=1)
                hint = f"; did you mean `{near[0]}`?" if near else f"; known are: {', '.join(sorted(self._read))}"
                raise ConfigError(f"{self.where}: there is no key `{key}`{hint}")

    def _value(self, key: str, default: Any) -> Any:
        self._read.add(key)
        value = self._raw.get(key)
        if value is not None:
            return value
        if default is _REQUIRED:
            raise ConfigError(f"{self.where}: the key `{key}` is missing")
        return default
