"""A trial that became NaN or infinite is not trained again, and everybody is told so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_sweeps import DIVERGES, TEXT, run_here, tiny

from cluster.stores.folder import FolderStore
from spurious.errors import NumericalError
from sweeps.cli import main
from sweeps.plan.facts import plan_on
from sweeps.results.schemas import DIVERGED
from sweeps.results.tables import read_failures
from sweeps.spec.model import Spec
from sweeps.trial.failures import POLICIES

VALUES = {"axes.seed": [0], "train.epochs": 8, **{f"train.{k}": v for k, v in DIVERGES.items()}}
LABEL = "label-20-erm-s0"


@pytest.fixture
def half(here: Path, folder_store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> Spec:
    """Two trials: one with a result, one whose training diverged in an earlier run."""
    monkeypatch.setenv("SWEEPS_CACHE", str(here / "cache"))
    (here / "tiny.yaml").write_text(TEXT)
    run_here(folder_store, tiny(axes__seed=[0], axes__specificity=["mask"]), here / "cache")
    diverging = {key.replace(".", "__"): value for key, value in VALUES.items()}
    with pytest.raises(NumericalError):
        run_here(folder_store, tiny(axes__specificity=["label"], **diverging), here / "cache")
    return tiny(**diverging)


def command(verb: str, store: FolderStore, *more: str, **values: Any) -> list[str]:
    """A command on the diverging trial, or on other values."""
    chosen = VALUES | {"axes.specificity": ["label"]} | values
    settings = [part for k, v in chosen.items() for part in ("--set", f"{k}={json.dumps(v)}")]
    return [verb, "tiny.yaml", *settings, "--store", store.url, *more]


def test_policies_say_what_plans_do() -> None:
    """One class is final."""
    assert [name for name, policy in POLICIES.items() if policy.is_final] == [DIVERGED]


def test_no_run_tries_it_again(half: Spec, folder_store: FolderStore, capsys: Any) -> None:
    """Without Ray, since nothing is left; the status says that the sweep is not whole."""
    assert main(command("run", folder_store)) == 1
    told = capsys.readouterr()
    assert "1 trial became NaN or infinite in an earlier run and is not run again" in told.err
    assert f"(`sweeps run --retry-numerical` does): {LABEL}; nothing to run" in told.err
    assert "retries the failed trials" not in told.err
    assert f"--debug {LABEL}" in told.err
    assert main(command("plan", folder_store, "--json")) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["diverged"] == [planned["trials"][0]["id"]]
    assert planned["compute"]["trials"] == 0
    assert main(command("plan", folder_store)) == 0
    assert "0 done, 0 to run" in (text := capsys.readouterr().out)
    assert "note: 1 trial became NaN or infinite in an earlier run and is not run again" in text
    assert main(command("failures", folder_store)) == 0
    assert "training became NaN or infinite; not run again" in capsys.readouterr().out
    assert main(command("submit", folder_store, "--dry-run")) == 0


def test_only_the_others_are_run(half: Spec, folder_store: FolderStore) -> None:
    """A second seed is; what has a result or diverged is not."""
    plan = plan_on(half, folder_store)
    assert [trial.label for trial in plan.missing] == [LABEL, "mask-20-erm-s0"]
    assert [trial.label for trial in plan.to_run] == ["mask-20-erm-s0"]
    other = plan_on(tiny(axes__seed=[0]), folder_store)  # the same label, other training
    assert [trial.label for trial in other.to_run] == [LABEL]


@pytest.mark.slow
def test_the_option_tries_it_again(half: Spec, folder_store: FolderStore, capsys: Any) -> None:
    """What the message names; the training diverges as before."""
    assert main(command("run", folder_store, "--retry-numerical")) == 1
    assert f"failed: {LABEL}" in capsys.readouterr().err
    ids = [trial.id for trial in plan_on(half, folder_store).trials]
    assert read_failures(folder_store, ids).column("failure_class").to_pylist() == [DIVERGED] * 2
