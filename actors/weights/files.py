"""Publication through files that all nodes see: safetensors, with a checksum that the receiver verifies.

A part of a version is one file, written under a temporary name and renamed. The publisher keeps the files of the last
two versions: the newest notice that the driver holds is of one of them, since it notes a version before it asks for the
next one but one. Files of an earlier training of the same learner are removed. Every training has a folder of its own,
so that learners may share one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save_file

from actors.messages import Weights
from actors.weights.arrays import NAMES, array_view, tensor_view
from actors.weights.transports import SharedFiles
from allgood.errors import RoleError
from allgood.scorers.hashes import sha256_of

_KEPT_VERSIONS = 2


@dataclass(frozen=True)
class StoredFile:
    """One part of a version in a file."""

    path: str
    sha256: str
    policy_version: int
    training: str

    def weights(self) -> Weights:
        """Read and verify the file.

        Raises:
            RoleError: It cannot be read, or is not what was written.
        """
        try:
            content = Path(self.path).read_bytes()
            if hashlib.sha256(content).hexdigest() != self.sha256:
                raise RoleError(f"{self.path} is damaged (its checksum differs); publish the weights again")
            tensors = load(content)
        except (OSError, SafetensorError) as error:
            raise RoleError(
                f"published weights cannot be read from {self.path!r}: {error}; placement.weights.folder must be "
                "storage that all nodes share"
            ) from error
        arrays = {name: array_view(tensor) for name, tensor in tensors.items()}
        dtypes = {name: NAMES[tensor.dtype] for name, tensor in tensors.items()}
        return Weights(self.policy_version, arrays, dtypes, self.training)


class FilePublisher:
    """The learner's end."""

    def __init__(self, transport: SharedFiles) -> None:
        assert transport.folder is not None, "whoever makes the learner's spec knows the run folder"
        self._folder = Path(transport.folder)
        self._training: Path | None = None

    def publish(self, weights: Weights, part: int) -> StoredFile:
        """Write one part; older versions go when the first part of a version comes.

        Raises:
            RoleError: The file cannot be written.
        """
        try:
            folder = self._room_for(weights)
            path = folder / f"part_{part:05d}.safetensors"
            temporary = path.with_suffix(f".tmp-{os.getpid()}")
            save_file(
                {name: tensor_view(array, weights.dtypes[name]) for name, array in weights.arrays.items()}, temporary
            )
            digest = sha256_of(temporary)
            temporary.replace(path)
        except (OSError, SafetensorError) as error:
            raise RoleError(
                f"weights cannot be published in {str(self._folder)!r}: {error}; free some space, or choose another "
                "placement.weights.folder"
            ) from error
        return StoredFile(str(path), digest, weights.policy_version, weights.training)

    def _room_for(self, weights: Weights) -> Path:
        training = self._folder / weights.training
        if self._training not in (None, training):
            shutil.rmtree(self._training, ignore_errors=True)
        self._training = training
        folder = training / f"version_{weights.policy_version:06d}"
        folder.mkdir(parents=True, exist_ok=True)
        for old in training.glob("version_*"):
            if int(old.name.removeprefix("version_")) <= weights.policy_version - _KEPT_VERSIONS:
                shutil.rmtree(old, ignore_errors=True)
        return folder


def discard(file: StoredFile) -> None:
    """Remove all files of the training that a file belongs to; nobody may need them any more."""
    training = Path(file.path).parent.parent
    shutil.rmtree(training, ignore_errors=True)
    with contextlib.suppress(OSError):  # other trainings publish there too
        training.parent.rmdir()
