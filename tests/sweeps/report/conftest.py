"""A sweep on films with sex, age and site, run once for the tests of what a report shows of it."""

from __future__ import annotations

import pytest
from wards import Wards, run_wards

from cluster.stores.folder import FolderStore
from sweeps.commands.report import read_report_input
from sweeps.report.build import build_report


@pytest.fixture(scope="session")
def wards(tmp_path_factory: pytest.TempPathFactory) -> Wards:
    """Six trials of `wards.TEXT`."""
    folder = tmp_path_factory.mktemp("wards")
    store = FolderStore(folder / "store")
    spec, plan = run_wards(store, folder / "cache")
    source = read_report_input(spec, plan, store)
    return Wards(store, plan, source, build_report(source, folder / "report"))
