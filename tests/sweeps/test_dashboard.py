"""Dashboard and alerts: they ask for metrics that exist, and show each that the project exports."""

from __future__ import annotations

import re

import pytest
from dashboards import (
    GPU_METRICS,
    alert_rules,
    dashboard,
    names_in,
    panel_queries,
    panels,
    queries,
    selectors_in,
)

from sweeps.trial.telemetry import METRICS

SERIES = {
    name: metric
    for metric in METRICS
    for name in (
        [f"{metric.exported}{suffix}" for suffix in ("_bucket", "_count")]
        if metric.kind == "histogram"
        else [metric.exported]
    )
}


def rays_own() -> set[str]:
    """Names that the installed Ray declares: those of its agent, and of the dashboards it makes."""
    from ray.dashboard.modules.metrics.dashboards import default_dashboard_panels
    from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

    expressions = [
        target.expr
        for row in default_dashboard_panels.DEFAULT_GRAFANA_ROWS
        for panel in row.panels
        for target in panel.targets
    ]
    named = {name for text in expressions for name in re.findall(r"\bray_\w+", text)}
    return {f"ray_{name}" for name in METRICS_GAUGES} | named


@pytest.mark.parametrize("query", queries())
def test_queries_name_metrics_that_exist(query: str) -> None:
    """Each name is one of ours or one of Ray's, and nothing else is taken for a function."""
    assert names_in(query)
    assert names_in(query) <= SERIES.keys() | rays_own()


@pytest.mark.parametrize("query", queries())
def test_queries_select_by_tags_that_exist(query: str) -> None:
    """A label that a metric of ours has not selects nothing."""
    for name, labels in selectors_in(query):
        if name in SERIES:
            assert labels <= {*SERIES[name].tags, "le"}, name


def test_every_metric_is_shown() -> None:
    """Each metric of the list is on a panel."""
    shown = {name for query in panel_queries() for name in names_in(query)}
    assert {metric.name for metric in METRICS} == {
        SERIES[name].name for name in shown & SERIES.keys()
    }


def test_gpu_metrics_are_rays() -> None:
    """The names that no machine without a GPU can confirm are declared by the installed Ray."""
    assert rays_own() >= GPU_METRICS


def test_data_source_and_sweep_are_chosen_on_the_page() -> None:
    """No panel is bound to one installation's data source, and ours show the chosen sweeps."""
    board = dashboard()
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert variables["sweep"]["query"]["query"] == "label_values(ray_sweeps_trials, sweep)"
    source = {"type": "prometheus", "uid": "${datasource}"}
    assert variables["sweep"]["datasource"] == source
    for panel in panels():
        assert panel["datasource"] == source
        assert panel["title"]
        assert panel["description"]
        for target in panel["targets"]:
            assert target["datasource"] == source
            if names_in(target["expr"]) & SERIES.keys():
                assert 'sweep=~"$sweep"' in target["expr"]


def test_panels_do_not_overlap() -> None:
    """Every panel has an id and a place of its own on the grid of 24 columns."""
    taken: set[tuple[int, int]] = set()
    everything = dashboard()["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    for panel in everything:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_alerts_say_what_to_do() -> None:
    """Every alert waits before it fires, has a severity, and tells what happened and what to do."""
    rules = alert_rules()
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 3
    for rule in rules:
        assert re.fullmatch(r"\d+m", rule["for"])
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert "{{ $labels.sweep }}" in rule["annotations"]["summary"]
        assert len(rule["annotations"]["description"]) > 40
