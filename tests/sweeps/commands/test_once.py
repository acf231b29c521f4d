"""A command parses its YAML once and makes one plan, however many of its parts need them."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_sweeps import TEXT, run_here, stage_here

from cluster.stores.folder import FolderStore
from sweeps.cli import main
from sweeps.plan.archive import archive, read_archive
from sweeps.plan.facts import plan_on
from sweeps.plan.plan import Plan
from sweeps.spec.model import Spec, parse_spec

SETTINGS = ("axes.seed=[0]", "axes.specificity=[label]", "train.epochs=1")
OVERRIDES = {"axes.seed": [0], "axes.specificity": ["label"], "train.epochs": 1}
ARGUMENTS = tuple(part for setting in SETTINGS for part in ("--set", setting))
PLACES = {
    "parse_spec": ("sweeps.spec.model", "sweeps.commands.context"),
    "make_plan": ("sweeps.plan.facts", "sweeps.commands.plan"),
}
"""Where the functions that are counted are called from."""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    """The empty store that `tiny.yaml` in the working folder names."""
    (tmp_path / "tiny.yaml").write_text(f"{TEXT}store: {tmp_path / 'store'}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "cache"))
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    return FolderStore(tmp_path / "store")


@pytest.fixture
def calls(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a YAML was parsed and a plan made since the test began."""
    counted: Counter[str] = Counter()

    def counting(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def count(*arguments: Any, **options: Any) -> Any:
            counted[name] += 1
            return call(*arguments, **options)

        return count

    # all are imported before one is replaced: a later import would count twice
    places = [(import_module(at), name) for name, modules in PLACES.items() for at in modules]
    for module, name in places:
        monkeypatch.setattr(module, name, counting(name, getattr(module, name)))
    return counted


def spec_here() -> Spec:
    """The spec as the commands of this module have it; not counted."""
    return parse_spec(Path("tiny.yaml").read_bytes(), overrides=OVERRIDES)


def test_a_finished_sweep_is_parsed_and_planned_once(
    store: FolderStore, calls: Counter[str], tmp_path: Path
) -> None:
    """By every command that plans, by file and by name; `--set` reaches the archive."""
    run_here(store, spec_here(), tmp_path / "cache")
    for command in ("plan", "run", "report", "pull", "status"):
        calls.clear()
        assert main([command, "tiny.yaml", *ARGUMENTS]) == 0
        assert calls == {"parse_spec": 1, "make_plan": 1}, command
    assert read_archive(store, "tiny").overrides == OVERRIDES
    calls.clear()
    assert main(["status", "tiny", "--store", store.url]) == 0
    assert calls == {"parse_spec": 1, "make_plan": 1}


def test_a_dry_run_parses_once_and_plans_nothing(
    calls: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The settings of the request are those of the command line, as they were written."""
    assert main(["submit", "tiny.yaml", "--dry-run", *ARGUMENTS]) == 0
    assert calls == {"parse_spec": 1}
    entrypoint = json.loads(capsys.readouterr().out)["entrypoint"]
    assert all(f"--set '{setting}'" in entrypoint for setting in SETTINGS[:2])
    assert f"--set {SETTINGS[2]}" in entrypoint


@pytest.mark.parametrize("is_staged", [True, False])
def test_a_run_plans_again_only_after_staging(
    store: FolderStore,
    calls: Counter[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_staged: bool,
) -> None:
    """The first plan serves to the end, with what is done by then; Ray is left out here."""
    missing: list[int] = []

    def run_plan(spec: Spec, plan: Plan, store: FolderStore, *_: Any, **__: Any) -> int:
        missing.append(len(plan.missing))
        before = calls.copy()
        run_here(store, spec, tmp_path / "cache")
        calls.subtract(calls - before)
        return 0

    session = nullcontext(SimpleNamespace(dashboard="", token_file=None))
    monkeypatch.setattr("cluster.jobs.session.ray_session", lambda *_, **__: session)
    monkeypatch.setattr("sweeps.driver.runner.run_plan", run_plan)
    monkeypatch.setattr(
        "sweeps.commands.run.ensure_staged", lambda spec, store: stage_here(store, spec)
    )
    if is_staged:
        stage_here(store, spec_here())
    assert main(["run", "tiny.yaml", *ARGUMENTS]) == 0
    assert missing == [1]
    assert calls == {"parse_spec": 1, "make_plan": 1 if is_staged else 2}
    trials = json.loads(store.get("sweeps/tiny/plan.json"))["trials"]
    assert [trial["done"] for trial in trials] == [True]


def test_a_sweep_by_name_is_run_as_its_messages_say(
    store: FolderStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What `pull NAME` says to do works, with the YAML and the settings of the last run.

    Each command names the sweep as the user did.
    """
    spec = spec_here()
    stage_here(store, spec)
    archive(store, spec, plan_on(spec, store))
    replace_ray(store, tmp_path, monkeypatch)
    for target, settings in (("tiny", ()), ("tiny.yaml", ARGUMENTS)):
        for key in list(store.list("results/")):
            store.delete(key)
        assert main(["pull", target, *settings, "--store", store.url]) == 2
        command = shlex.split(capsys.readouterr().err.partition("run it: ")[2])
        assert command == ["sweeps", "run", target, *settings, "--store", store.url]
        assert main(command[1:]) == 0
        errors = capsys.readouterr().err
        assert f"next: {shlex.join(['sweeps', 'report', target, *settings])}" in errors
        assert len(plan_on(spec, store).done) == 1
    assert main(["run", "unknown", "--store", store.url]) == 2
    assert "no sweep 'unknown' in" in capsys.readouterr().err


def test_a_yaml_may_have_any_name(store: FolderStore, tmp_path: Path) -> None:
    """One that ends otherwise is read as a file where there is one."""
    run_here(store, spec_here(), tmp_path / "cache")
    Path("spec").write_text(Path("tiny.yaml").read_text())
    assert main(["run", "spec", *ARGUMENTS]) == 0


def replace_ray(store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run trials in this process in the place of Ray."""

    def run_plan(spec: Spec, plan: Plan, store: FolderStore, *_: Any, **__: Any) -> int:
        run_here(store, spec, tmp_path / "cache")
        return 0

    session = nullcontext(SimpleNamespace(dashboard="", token_file=None))
    monkeypatch.setattr("cluster.jobs.session.ray_session", lambda *_, **__: session)
    monkeypatch.setattr("sweeps.driver.runner.run_plan", run_plan)
    monkeypatch.setattr(
        "sweeps.commands.run.ensure_staged", lambda spec, store: stage_here(store, spec)
    )
