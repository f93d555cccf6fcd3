"""Models that nodes of a joined cluster are to find through the run's storage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from actors.cluster.cast import CastRequest
from actors.cluster.finding import sources_of
from pipelines.config.run import RunConfig
from pipelines.output.progress import say
from pipelines.run.session import in_joined_cluster
from pipelines.storage.inputs import local_models
from pipelines.storage.models import keep_models
from pipelines.storage.place import open_place


def with_stored_models(config: RunConfig, request: CastRequest) -> CastRequest:
    """The request, of actors that get model folders from the store where their nodes do not have them.

    The folders are written there first, as far as they are not there. A Ray of this machine alone sees its disk, and
    runs without `storage` need one that all nodes see.

    Raises:
        StorageError: The store cannot be used.
    """
    if config.storage is None or not in_joined_cluster():
        return request
    named = sources_of(part.spec for part in request.parts().values())
    sources = dict.fromkeys(str(Path(source).absolute()) for source in (*named, *local_models(config)))
    say(f"models of the run are kept in {config.storage}, for nodes that do not see this disk")
    return replace(request, find=keep_models(open_place(config.storage), sources))
