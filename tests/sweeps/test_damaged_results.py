"""A damaged result costs its trial and nothing else: plan, report, pull and run go on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from tiny_sweeps import TEXT, assert_same, read_json, run_here, tables, tiny

from cluster.stores.folder import FolderStore
from sweeps.cli import main
from sweeps.commands.report import read_report_input
from sweeps.plan.facts import plan_on, refresh_plan
from sweeps.plan.render import as_dict, as_text
from sweeps.report.build import build_report
from sweeps.results import tables as results
from sweeps.spec.model import load_spec

BEFORE = Path(__file__).parent / "store_before"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store and a cache with the four trials of `tiny`."""
    folder = tmp_path_factory.mktemp("finished")
    assert not run_here(FolderStore(folder / "store"), tiny(), folder / "cache").missing
    return folder


@pytest.fixture
def here(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, with the YAML, in the folder where commands run."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tiny.yaml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def damage(store: FolderStore) -> dict[str, str]:
    """Damage three results in three ways; returns their labels with the damaged keys."""
    plan = plan_on(tiny(), store)
    trials = results.read_trials(store, plan.done)
    attempts = dict(
        zip(*(trials.column(c).to_pylist() for c in ("trial_id", "attempt")), strict=True)
    )
    first, second, third, _ = plan.trials
    keys = [
        results.trial_key(first.id),
        results.attempt_key("epochs", second.id, attempts[second.id]),
        results.attempt_key("predictions", third.id, attempts[third.id]),
    ]
    digest = first.dataset_digest.encode()
    store.put(keys[0], store.get(keys[0]).replace(digest, bytes([digest[0] ^ 1]) + digest[1:]))
    store.put(keys[1], store.get(keys[1])[:-40])
    store.delete(keys[2])
    return dict(zip([trial.label for trial in plan.trials[:3]], keys, strict=True))


def test_damaged_results_are_not_done_and_run_again(here: Path) -> None:
    """`plan` names them; running computes exactly these again, with the numbers of before."""
    store, spec = FolderStore(here / "store"), tiny()
    expected = tables(store, plan_on(spec, store))
    kept = {key: store.get(key) for key in store.list("results/trials/")}
    damaged = damage(store)
    plan = plan_on(spec, store)
    assert [trial.label for trial in plan.missing] == list(damaged)
    text = as_text(plan, spec)
    assert "1 done, 3 to run" in text
    assert "note: 3 results are damaged and do not count; computed again by `sweeps run`" in text
    for label, key in damaged.items():
        assert any(line.startswith(f"note: damaged: {label} ") and key in line
                   for line in text.splitlines())  # fmt: skip
    listed = as_dict(plan, spec)["damaged"]
    assert [entry["label"] for entry in listed] == list(damaged)

    assert run_here(store, spec, here / "cache").damaged == {}
    again = refresh_plan(plan, store)
    assert (again.missing, again.damaged) == ((), {})
    assert_same(tables(store, again), expected)
    [whole] = plan.done
    assert store.get(results.trial_key(whole)) == kept[results.trial_key(whole)]


def test_report_and_pull_leave_damaged_results_out(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They name them and the command that computes them again, and go on with the others."""
    store = FolderStore(here / "store")
    damaged = damage(store)
    options = ["tiny.yaml", "--store", store.url]
    for verb in (["report"], ["pull"], ["status", "--check"]):
        assert main([*verb, *options]) == 0
        errors = capsys.readouterr().err
        assert (
            "3 results are damaged and do not count; computed again by: sweeps run tiny" in errors
        )
        assert all(f"damaged: {label} " in errors for label in damaged)
    page = (here / "tiny-report" / "report.md").read_text()
    assert "3 results are damaged and left out: " in page
    assert all(key in page for key in damaged.values())
    assert len(pd.read_parquet(here / "tiny-report" / "chosen_epochs.parquet")) == 1
    assert len(pd.read_parquet(here / "tiny-tables" / "trials.parquet")) == 1
    assert main(["pull", *options, "--json"]) == 0
    pulled = read_json("pull", capsys.readouterr().out)
    assert [entry["label"] for entry in pulled["damaged"]] == list(damaged)
    assert main(["plan", *options, "--json"]) == 0
    planned = read_json("plan", capsys.readouterr().out)
    assert (planned["damaged"], planned["unverified"]) == (pulled["damaged"], 0)


def test_a_sweep_of_damaged_results_alone_is_run_again(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`report` and `pull` have nothing to show, and say why."""
    store = FolderStore(here / "store")
    for key in list(store.list("results/trials/")):
        store.put(key, b"")
    for verb in ("report", "pull"):
        assert main([verb, "tiny.yaml", "--store", store.url]) == 2
        errors = capsys.readouterr().err
        assert "4 results are damaged and do not count; computed again by: sweeps run" in errors
        assert "has no finished trial yet" in errors
    assert not run_here(store, tiny(), here / "cache").missing


def test_results_of_the_version_before_are_reported_as_unverified(tmp_path: Path) -> None:
    """They count, one sentence says how many, and a damaged one among them blocks nothing."""
    shutil.copytree(BEFORE / "store", tmp_path / "store")
    store, spec = FolderStore(tmp_path / "store"), load_spec(BEFORE / "before.yaml")
    plan = plan_on(spec, store)
    assert plan.unverified == plan.done
    source = read_report_input(spec, plan, store)
    report = build_report(source, tmp_path / "report")
    unverified = f"{len(plan.done)} of {len(plan.done)} results cannot be verified"
    assert sum(unverified in caveat for caveat in report.caveats) == 1
    lost = sorted(plan.done)[0]
    [key] = store.list(f"results/epochs/{lost}")
    store.delete(key)
    plan = plan_on(spec, store)
    assert json.dumps(dict(plan.damaged)) == json.dumps(
        {lost: f"{key} is missing from {store.url}"}
    )
    report = build_report(read_report_input(spec, plan, store), tmp_path / "report")
    assert any("1 result is damaged and left out" in caveat for caveat in report.caveats)
