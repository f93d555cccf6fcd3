"""Numbers of a run on the metrics port of a node, where Prometheus reads them."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path

import pytest
import ray

from pipelines.config.rl import TrackingConfig
from pipelines.run.cluster_metrics import gauge_name
from pipelines.run.tracking import Stage, Tracker

NOWHERE = TrackingConfig(wandb="disabled")
LIMIT_S = 60.0


def test_a_name_becomes_one_that_prometheus_takes() -> None:
    assert gauge_name("margin.no-refusal.mean") == "allgood_margin_no_refusal_mean"


def test_a_process_without_a_joined_cluster_exports_nothing(
    tmp_path: Path, ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("pipelines.run.tracking.RayMetricsSink", None)  # whoever asked for one would fail
    Tracker(Stage(NOWHERE, "tiny", "align", tmp_path)).log(1, {"x": 1.0})


@pytest.mark.slow
def test_numbers_of_a_run_in_a_joined_cluster_are_on_the_metrics_port(
    tmp_path: Path, ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with Tracker(Stage(NOWHERE, "tiny", "align", tmp_path)) as tracker:
        tracker.log_row({"step": 7, "ops.retries": 2.0, "kl_k1_sum": None})
    end = time.monotonic() + LIMIT_S
    while True:
        text = urllib.request.urlopen(url, timeout=10).read().decode()
        lines = [line for line in text.splitlines() if line.startswith("ray_allgood_")]
        if lines or time.monotonic() > end:
            break
        time.sleep(0.5)
    values = {line.partition("{")[0]: float(line.rpartition(" ")[2]) for line in lines}
    assert values == {"ray_allgood_step": 7.0, "ray_allgood_ops_retries": 2.0}
    assert all('run="tiny"' in line and 'stage="align"' in line for line in lines)
