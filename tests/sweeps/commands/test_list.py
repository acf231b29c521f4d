"""`sweeps list` on a store with one sweep that was run and two that were only planned."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tiny_sweeps import read_json, run_here, tiny

from cluster.stores.folder import FolderStore
from sweeps.cli import main
from sweeps.plan.archive import archive
from sweeps.plan.facts import plan_on
from sweeps.results.keys import trial_key
from sweeps.spec.model import Spec


def listed(capsys: pytest.CaptureFixture[str], store: FolderStore) -> list[dict[str, Any]]:
    """The list of the JSON document."""
    capsys.readouterr()
    assert main(["list", "--store", store.url, "--json"]) == 0
    sweeps: list[dict[str, Any]] = read_json("list", capsys.readouterr().out)["sweeps"]
    return sweeps


def test_named_sweeps_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest result first; what an older sweep left counts for a new one; damage is named."""
    kept = FolderStore(tmp_path / "store")
    plan = run_here(kept, tiny(), tmp_path / "cache")
    archive(kept, tiny(), plan)
    more = tiny(axes__seed=[0, 7], axes__specificity=["label"])
    archive(kept, Spec(**{**more.__dict__, "name": "more"}), plan_on(more, kept))
    none = tiny(axes__seed=[8])
    archive(kept, Spec(**{**none.__dict__, "name": "none"}), plan_on(none, kept))
    alone = next(trial for trial in plan.trials if trial.config.seed == 1)  # not a trial of `more`
    newest = time.time() + 60
    os.utime(tmp_path / "store" / trial_key(alone.id), (newest, newest))
    kept.put("sweeps/tiny/report/report.html", b"a page")
    manifest = next(iter(kept.list("datasets/gaussian-squares/"))).split("/")[2]
    sweeps = listed(capsys, kept)
    assert {sweep.pop("dataset") for sweep in sweeps} == {f"gaussian-squares@{manifest[:12]}"}
    at = datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds")
    found = {sweep["name"]: tuple(sweep.values())[1:] for sweep in sweeps}
    assert found["tiny"] == (2, 4, 4, at, True)
    assert found["more"][:3] == (1, 2, 1)
    assert found["none"] == (2, 2, 0, None, False)
    assert [sweep["name"] for sweep in sweeps] == ["tiny", "more", "none"]
    assert main(["list", "--store", kept.url]) == 0
    assert re.search(r"^tiny .* 4 of 4 .* yes$", capsys.readouterr().out, re.M)
    kept.put("sweeps/more/plan.json", b"{}")
    assert main(["list", "--store", kept.url]) == 2
    assert "sweeps/more/plan.json is damaged" in capsys.readouterr().err


def test_a_store_without_a_sweep_says_how_to_run_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not an empty screen."""
    assert main(["list", "--store", str(tmp_path)]) == 0
    assert "has no sweep yet; run one: sweeps run SPEC.yaml" in capsys.readouterr().err
