"""What failed, was skipped, stopped or never converged: counts beside those of the commands."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from report_tables import failures, make, plan, report_input
from searching import real_spec, run_search_here
from tiny_sweeps import TEXT, run_here

from cluster.stores.folder import FolderStore
from sweeps.cli import main
from sweeps.commands.report import read_report_input
from sweeps.commands.status import list_cautions
from sweeps.plan.facts import plan_on
from sweeps.report.build import build_report
from sweeps.report.unfinished import MOST_ROWS
from sweeps.results.tables import record_failure
from sweeps.spec.model import parse_spec
from sweeps.trial.failures import POLICIES

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
HEADING = "What failed, was skipped, stopped or never converged"
OVERRIDES: dict[str, Any] = {
    "axes.method": ["erm", "jtt"],
    "axes.seed": [0, 1],
    "train.epochs": 2,
    "train.learning_rate": 1e-30,
}


def section_of(path: Path) -> str:
    """The section in Markdown."""
    return path.read_text().partition(f"## {HEADING}")[2].partition("\n## ")[0]


def rows_of(section: str, first: str) -> list[list[str]]:
    """The rows of the table that begins with a heading."""
    lines = iter(section.splitlines())
    next(line for line in lines if line.startswith(f"| {first} |"))
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([part.strip() for part in line.strip("|").split("|")])
    return rows


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    """Labels with erm ran and never moved; masks failed once or never began; jtt ran in part."""
    monkeypatch.setenv("SWEEPS_HOME", str(tmp_path / "home"))
    store = FolderStore(tmp_path / "store")
    some = OVERRIDES | {"axes.specificity": ["label"], "axes.method": ["erm"]}
    run_here(store, parse_spec(TEXT, overrides=some), tmp_path / "cache")
    spec = parse_spec(TEXT, overrides=OVERRIDES)
    ids = {trial.label: trial.id for trial in plan_on(spec, store).trials}
    minute = 0
    for label, kinds in (
        ("mask-20-erm-s0", ("timeout", "infrastructure", "infrastructure")),
        ("label-20-erm-s0", ("infrastructure", "preempted")),
    ):
        for kind in kinds:
            minute += 1
            words = {"traceback": "", "log_tail": "", "node": "n", "failed_at": BEGAN}
            row = {"attempt": f"{minute:012x}", "failure_class": kind, "message": f"m{minute}"}
            row |= words | {"failed_at": BEGAN + timedelta(minutes=minute)}
            record_failure(store, {"trial_id": ids[label]} | row)
    return store


def test_counts_agree_with_status_and_failures(
    store: FolderStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Done, failed and missing trials; attempts by class; cautions; skipped cells and reasons."""
    file = tmp_path / "tiny.yaml"
    spec = parse_spec(TEXT, overrides=OVERRIDES)
    plan = plan_on(spec, store)
    file.write_text(_as_text())
    documents = {}
    for verb in (["status", "--check"], ["failures"], ["plan"]):
        assert main([verb[0], str(file), *verb[1:], "--store", store.url, "--json"]) == 0
        documents[verb[0]] = json.loads(capsys.readouterr().out)
    files = build_report(read_report_input(spec, plan, store), tmp_path / "report")
    section = section_of(files.text)
    status = documents["status"]
    assert (status["done"], status["failed"]) == (2, 1)
    assert (
        f"Of {status['trials']} planned trials {status['done']} have a result, "
        f"{status['failed']} failed, and {status['missing']} have neither" in section
    )
    expected = [
        [kind["class"], POLICIES[kind["class"]].meaning]
        + [str(kind[name]) for name in ("attempts", "trials", "without_result")]
        for kind in documents["failures"]["classes"]
    ]
    assert sorted(rows_of(section, "failed attempts")) == sorted(expected)
    assert rows_of(section, "failed attempts")[0][0] == "infrastructure"
    counts = {row[0]: row[1:] for row in rows_of(section, "what")}
    skipped = documents["plan"]["skipped"]
    assert counts["Purchases of the axes that cannot run, skipped"][0] == str(len(skipped)) != "0"
    assert skipped[0]["reason"] in counts["Purchases of the axes that cannot run, skipped"][1]
    cautions = {each["kind"]: len(each["trials"]) for each in list_cautions(store, plan)}
    assert cautions == {"never_moved": 2, "constant_choice": 2}
    assert counts["Finished trials: the model never moved"][0] == "2"
    assert {row for row in counts if row.startswith("Finished trials: ")} == {
        "Finished trials: the model never moved",
        "Finished trials: the metric that chose the epoch is the same in every epoch, so the first "
        "one was kept",
    }
    empty = [cell for cell in status["cells"] if not cell["done"]]
    assert counts["Purchases without a result"][0] == str(len(empty))
    page = files.page.read_text()
    assert page.count(f"{HEADING}</h2>") == 1
    assert "m3" in page[page.index("Failed trials without a result") :]  # its newest message


def _as_text() -> str:
    """The YAML with the overrides."""
    text = TEXT.replace("method: [erm], seed: [0, 1]", "method: [erm, jtt], seed: [0, 1]")
    return text.replace("epochs: 3", "epochs: 2, learning_rate: 1.0e-30")


def test_searches_count_what_they_stopped(tmp_path: Path) -> None:
    """Configurations and trials as the search has them; those of a running one are told apart."""
    section = (
        "{trials: 5, batch: 3, stop: asha, metric: val.auroc, "
        "space: {learning_rate: {log: [1.0e-4, 1.0]}}}"
    )
    store, spec = FolderStore(tmp_path / "store"), real_spec(section)
    plan = run_search_here(store, spec, tmp_path / "cache")
    files = build_report(read_report_input(spec, plan, store), tmp_path / "report")
    counts = {row[0]: row[1:] for row in rows_of(section_of(files.text), "what")}
    stopped = sum(search.count()["stopped"] for search in plan.searches)
    assert stopped
    assert counts["Configurations that a search stopped early"][0] == str(stopped)
    assert (
        counts["Configurations that a search stopped early"][1] == f"{stopped} trials of searches"
    )


def test_diverged_training_is_counted(tmp_path: Path) -> None:
    """A loss that explodes without becoming NaN; the purchase is not ranked."""
    wild = {"train.optimizer": "sgd", "train.learning_rate": 10.0, "train.keep": "last"}
    spec = parse_spec(TEXT, overrides=wild | {"train.epochs": 2, "axes.specificity": ["label"]})
    store = FolderStore(tmp_path / "store")
    plan = run_here(store, spec, tmp_path / "cache")
    cautions = {each["kind"]: len(each["trials"]) for each in list_cautions(store, plan)}
    assert cautions["diverged"] == 2
    files = build_report(read_report_input(spec, plan, store), tmp_path / "report")
    counts = {row[0]: row[1:] for row in rows_of(section_of(files.text), "what")}
    assert counts["Finished trials: training diverged"][0] == str(cautions["diverged"])
    assert counts["Purchases with results that are not ranked"][0] == "1"


def test_long_tables_end_and_say_so(tmp_path: Path) -> None:
    """Of 60 failed trials fifty are listed; their number, and what counts all, stand above."""
    made = make(plan(("label", "mask"), ("600",), ("erm",), range(60)))
    kept = made.trials["specificity"] == "label"
    lost = made.trials.loc[~kept, "trial_id"].tolist()
    gone = failures([{"trial_id": trial_id, "message": "gone"} for trial_id in lost])
    source = report_input(replace(made, trials=made.trials[kept], failures=gone))
    page = build_report(source, tmp_path).page.read_text()
    section = page[page.index(HEADING) :]
    assert section.count(">gone<") == MOST_ROWS < len(lost) == 60
    assert "The first 50 of 60 trials; `sweeps failures cxr-frontier --json` counts all." in section
    classes = re.search(r'<td>unexpected</td><td>[^<]*</td><td class="n">(\d+)', section)
    assert classes is not None
    assert classes[1] == "60"
