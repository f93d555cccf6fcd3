"""From files to objectives that can be asked: scorers started, tables read, rewards compared with those of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from allgood.errors import naming
from pipelines.serve.deployments import deployments_of, running
from pipelines.serve.files import ObjectiveFiles
from pipelines.serve.metrics import Metrics
from pipelines.serve.objective import ServedObjective
from pipelines.serve.parity import check_parity
from pipelines.serve.remote import RemoteScorer
from pipelines.serve.server import HttpServer
from pipelines.serve.settings import ServeSettings


@contextmanager
def loaded(
    files: Mapping[str, ObjectiveFiles], settings: ServeSettings, server: HttpServer, metrics: Metrics
) -> Iterator[dict[str, ServedObjective]]:
    """All objectives by name, ready to answer on the server's loop; their scorers end with the block.

    Raises:
        PlacementError: The cluster cannot place the scorers, or they did not start in time.
        ModelError: A model cannot be loaded, or its rewards are not those of the run.
        ReferenceTableError: A file of references is missing or damaged.
    """
    deployments = deployments_of({name: file.spec for name, file in files.items()}, settings)
    with running(deployments.values(), timeout_s=settings.start_timeout_s) as handles:
        call = partial(server.call, timeout_s=settings.start_timeout_s)
        objectives = {}
        for name, file in files.items():
            scorers = {
                key: RemoteScorer(
                    handles[deployments[name, key].name],
                    loop=server.loop,
                    rows_per_call=deployments[name, key].settings.rows_per_call,
                    deadline_s=settings.limits.deadline_s,
                    on_retry=metrics.count_retry,
                )
                for key in file.spec.properties
            }
            with naming(f"objective {name!r}"):
                for key, scorer in scorers.items():
                    with naming(f"property {key!r}"):
                        call(scorer.ready())
                objectives[name] = ServedObjective(file.spec, scorers)
                objectives[name].load()
                call(check_parity(file.spec, scorers, file.known))
        yield objectives
