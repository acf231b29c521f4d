"""The queries of the Grafana dashboard and of the alerts, and the metrics that they name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

BASE = Path(__file__).resolve().parents[2] / "k8s" / "base"
GPU_METRICS = {
    *("ray_node_gpus_utilization", "ray_node_gram_used", "ray_node_gram_available"),
    "ray_node_gpu_power_milliwatts",
}
"""Metrics that Ray exports on nodes with a GPU only."""

_WORDS = {
    *("sum", "avg", "min", "max", "count", "by", "on", "unless", "and", "or", "offset", "vector"),
    *(
        "rate",
        "increase",
        "histogram_quantile",
        "max_over_time",
        "last_over_time",
        "clamp_min",
        "bool",
    ),
}
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def dashboard() -> Any:
    """The dashboard as Grafana imports it."""
    return json.loads((BASE / "dashboard.json").read_text())


def panels() -> list[Any]:
    """Every panel but the rows."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def alert_rules() -> list[Any]:
    """Every alerting rule."""
    document = yaml.safe_load((BASE / "alerts.yaml").read_text())
    return [rule for group in document["spec"]["groups"] for rule in group["rules"]]


def panel_queries() -> Iterator[str]:
    """Every PromQL expression of a panel."""
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"]


def queries() -> list[str]:
    """Every PromQL expression of panels and alerts."""
    return [*panel_queries(), *(rule["expr"] for rule in alert_rules())]


def names_in(query: str) -> set[str]:
    """Metrics that an expression names: what is no label, number, duration, function or keyword."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"", " ", query)
    bare = re.sub(r"\b(by|on)\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"\b\d+(\.\d+)?(ms|[smhdwy])?\b", " ", bare)
    return set(_NAME.findall(bare)) - _WORDS


def selectors_in(query: str) -> list[tuple[str, set[str]]]:
    """Metric and labels of every selector with braces."""
    found = re.findall(rf"({_NAME.pattern})\{{([^}}]*)\}}", query)
    return [(name, set(re.findall(r"(\w+)\s*[=!]~?=?", inside))) for name, inside in found]
