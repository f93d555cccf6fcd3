"""The ways in which weights can travel, as a run file names them (`placement.weights`). All of them are bit-exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

_SECTION = ConfigDict(extra="forbid", allow_inf_nan=False)  # where pydantic builds it from a run file


@dataclass(frozen=True)
class ObjectStore:
    """Through Ray's object store, as numpy arrays: written once, read by every rollout actor of a node in place."""

    __pydantic_config__: ClassVar[ConfigDict] = _SECTION

    kind: Literal["object_store"] = "object_store"


@dataclass(frozen=True)
class SharedFiles:
    """Through safetensors files with a sha256, in a folder that every node sees. The last two versions are kept."""

    __pydantic_config__: ClassVar[ConfigDict] = _SECTION

    kind: Literal["files"] = "files"
    folder: Annotated[
        str | None, Field(description="on storage that all nodes share; absent: `weights` in the run folder")
    ] = None


@dataclass(frozen=True)
class Broadcast:
    """From the learner to all rollout actors at once, by a process group of theirs (gloo).

    What does not arrive in time is fetched from the object store, where a copy lies for whoever starts anew; the group
    then forms again for the next version.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _SECTION

    kind: Literal["broadcast"] = "broadcast"
    timeout_s: Annotated[
        float, Field(gt=0, description="longest wait for one another, at the meeting and for each tensor")
    ] = 60.0


WeightTransport = ObjectStore | SharedFiles | Broadcast
