"""The store of results that documents quote: whole, and of the shipped sweeps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cluster.stores.folder import FolderStore
from docs.generate.documents import ROOT
from docs.generate.measured import MEASURED
from sweeps.cli import main
from sweeps.results.tables import committed_ids

TEXT_FORM = (
    "axes.method=[{name: actdiff, weight: 10, reconstruct: 10, reconstruction: cross_entropy}]"
)
"""Equation 1, as comments of `crosses-table1.yaml` have it."""


def test_what_is_kept_is_whole_and_of_shipped_sweeps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever copies the store and runs a sweep on it trains what is missing alone."""
    copy = shutil.copytree(MEASURED, tmp_path / "store")
    sweep = str(ROOT / "sweeps" / "specs" / "crosses-mask-fraction.yaml")
    done = 0
    assert main(["stage", "crosses", "--store", str(copy)]) == 0
    for overrides in ([], ["--set", TEXT_FORM]):
        capsys.readouterr()
        status = ["status", sweep, *overrides, "--store", str(copy), "--check", "--json"]
        assert main(status) == 0
        done += json.loads(capsys.readouterr().out)["done"]  # damaged ones are not
    assert done == len(committed_ids(FolderStore(MEASURED))) > 0
