"""From files to objectives that can be asked: scorers started, tables read, rewards compared with those of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from allgood.errors import naming
from allgood.scorers.rewards_spec import RewardsSpec
from pipelines.serve.deployments import deployments_of, running, samplers_of
from pipelines.serve.files import ObjectiveFiles
from pipelines.serve.fresh import FreshReferences
from pipelines.serve.metrics import Metrics
from pipelines.serve.objective import ServedObjective
from pipelines.serve.parity import check_parity
from pipelines.serve.remote import Calls, RemoteSampler, RemoteScorer
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
    specs = {name: file.spec for name, file in files.items()}
    scoring, sampling = deployments_of(specs, settings), samplers_of(specs, settings)
    with running([*scoring.values(), *sampling.values()], timeout_s=settings.start_timeout_s) as handles:
        call = partial(server.call, timeout_s=settings.start_timeout_s)
        calls = {name: Calls(handle, on_retry=metrics.count_retry) for name, handle in handles.items()}
        deadline_s = settings.limits.deadline_s
        shared = {
            deployment.name: RemoteScorer(
                calls[deployment.name], deployment.settings, loop=server.loop, deadline_s=deadline_s
            )
            for deployment in scoring.values()
        }
        objectives = {}
        for name, file in files.items():
            scorers = {key: shared[scoring[name, key].name] for key in file.spec.properties}
            sampler = RemoteSampler(calls[sampling[name].name]) if name in sampling else None
            with naming(f"objective {name!r}"):
                for key, scorer in scorers.items():
                    with naming(f"property {key!r}"):
                        call(scorer.ready())
                if sampler is not None:
                    with naming("start_policy"):
                        call(sampler.ready())
                fresh = None if sampler is None else _fresh(file.spec, sampler, scorers, settings, metrics)
                objectives[name] = ServedObjective(file.spec, scorers, fresh)
                objectives[name].load()
                call(check_parity(file.spec, scorers, file.known))
        yield objectives


def _fresh(
    spec: RewardsSpec,
    sampler: RemoteSampler,
    scorers: Mapping[str, RemoteScorer],
    settings: ServeSettings,
    metrics: Metrics,
) -> FreshReferences:
    return FreshReferences(
        spec.sampled,
        sampler.sample,
        {name: scorers[name].score_async for name in spec.sampled},
        settings.samples,
        on_sampled=metrics.count_sampled,
    )
