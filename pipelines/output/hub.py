"""Which commit a revision on the hub is now: asked of the hub, or where it is not reached of its cache here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from allgood.scorers.hub_names import at_revision
from pipelines.output.progress import say

Kind = Literal["model", "dataset"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_TIMEOUT_S = 10.0


def commit_of(kind: Kind, name: str, revision: str) -> str:
    """The commit (40 hex digits) of a branch or tag of a repository on the hub.

    Raises:
        ModelError: There is no such repository or revision, or neither the hub nor its cache can say.
    """
    from huggingface_hub import HfApi  # takes a while, and runs on folders need none of it
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    from allgood.scorers.load_errors import load_error

    try:
        found = HfApi().repo_info(name, revision=revision, repo_type=kind, timeout=_TIMEOUT_S).sha
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise load_error(kind, at_revision(name, revision), error) from error
    except Exception as error:  # without a network each layer below raises an error of its own
        cached = cached_commit(kind, name, revision)
        if cached is None:
            raise load_error(kind, at_revision(name, revision), error) from error
        say(f"the hub was not asked about {name}: {revision} is commit {cached[:12]} in its cache here")
        return cached
    assert found is not None
    return found


def is_commit(revision: str) -> bool:
    """Whether a revision is a whole commit already, which nobody need look up."""
    return _COMMIT.fullmatch(revision) is not None


def cached_commit(kind: Kind, name: str, revision: str) -> str | None:
    """The commit that the cache of the hub has for a revision; None where it has none."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    reference = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type=kind) / "refs" / revision
    return reference.read_text(encoding="utf-8").strip() if reference.is_file() else None
