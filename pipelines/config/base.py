"""What every configuration model shares: frozen values, and no key that nobody reads."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

REVISION = "branch, tag or commit; absent: main. A run is fixed to the commit that it started with"  # describes a key


class StrictModel(BaseModel):
    """A frozen configuration section that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


def in_words(choice: BaseModel) -> str:
    """One of a tagged union: its kind, and the values that the user chose."""
    values = choice.model_dump(mode="json", exclude={"kind"}, exclude_defaults=True)
    kind = str(choice.model_dump()["kind"])
    if not values:
        return kind
    return f"{kind} ({', '.join(f'{key} {value}' for key, value in values.items())})"
