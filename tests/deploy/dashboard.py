"""The Grafana dashboard as a value."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.deploy.files import DEPLOY

DASHBOARD: Any = json.loads((DEPLOY / "monitoring" / "grafana.json").read_text(encoding="utf-8"))


def expressions() -> list[str]:
    """What the panels ask Prometheus for."""
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


def run_columns() -> set[str]:
    """The numbers of a run that it shows, without their prefix."""
    return {name for text in expressions() for name in re.findall(r"\bray_allgood_(\w+)\{", text)}
