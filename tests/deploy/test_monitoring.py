"""The dashboard asks for numbers that exist. Those of runs are checked against a run in tests/pipelines/alignment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import ray

from pipelines.serve.metrics import Metrics
from pipelines.serve.settings import TOKEN_VARIABLE
from tests.deploy.dashboard import DASHBOARD, expressions, run_columns
from tests.deploy.files import DEPLOY, documents, objects

PANELS = Path(ray.__file__).parent / "dashboard" / "modules" / "metrics" / "dashboards"


def test_panels_have_their_own_numbers_and_places() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


@pytest.mark.parametrize("expression", expressions())
def test_brackets_of_an_expression_are_closed(expression: str) -> None:
    bare = re.sub(r'"[^"]*"', "", expression)
    for opening, closing in ("()", "{}", "[]"):
        assert bare.count(opening) == bare.count(closing)


def test_numbers_of_ray_are_those_of_its_own_dashboards() -> None:
    known = "".join(path.read_text(encoding="utf-8") for path in PANELS.glob("*.py"))
    asked = {name for text in expressions() for name in re.findall(r"\bray_(?!allgood)\w+", text)}
    assert len(asked) == 4
    assert all(re.search(rf"\b{name}\b", known) for name in asked)


def test_numbers_of_the_service_are_those_that_it_shows() -> None:
    metrics = Metrics()
    metrics.count_request("/v1/score", 200, 0.1)
    metrics.count_rows("default", num_ok=1, num_failed=1)
    metrics.count_retry()
    metrics.rows_in_work.set(1)
    shown = set(re.findall(r"^(allgood_\w+)", metrics.text().decode(), re.MULTILINE))
    asked = {name for text in expressions() for name in re.findall(r"\b(?<!ray_)allgood_\w+", text)}
    assert len(asked) == 5
    assert asked <= shown


def test_the_dashboard_asks_for_what_an_operator_watches() -> None:
    assert {"tokens_per_second", "ops_retries", "seconds_generate", "staleness"} <= run_columns()


def test_prometheus_finds_the_pods_by_their_labels_and_shows_the_service_its_token() -> None:
    (settings,) = documents(DEPLOY / "monitoring" / "prometheus.yaml")
    runs, rewards = settings["scrape_configs"]
    (head,) = {
        job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]
        for job in objects("RayJob").values()
    }
    assert runs["relabel_configs"][0]["regex"] == f"{head};yes"  # KubeRay labels its pods ray.io/is-ray-node: yes
    assert rewards["authorization"]["credentials_file"].endswith(TOKEN_VARIABLE)
    port = runs["relabel_configs"][1]["replacement"].rpartition(":")[2]
    policy = objects("NetworkPolicy")["allgood"]["spec"]
    assert int(port) in [rule["port"] for part in policy["ingress"] for rule in part.get("ports", [])]
