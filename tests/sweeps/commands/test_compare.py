"""`sweeps report FIRST SECOND` on two tiny sweeps that were run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import chromium, needs_chromium, opened
from tiny_sweeps import TEXT, read_json, run_here

from cluster.stores.folder import FolderStore
from sweeps.cli import main
from sweeps.plan.archive import archive
from sweeps.spec.model import parse_spec


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    """`tiny` with one learning rate and with another, which share no trial, and one not run."""
    folder = tmp_path_factory.mktemp("compared")
    store = FolderStore(folder / "store")
    for name, changes in (("slow", {}), ("fast", {"train.learning_rate": 0.05})):
        text = TEXT.replace("name: tiny", f"name: {name}")
        spec = parse_spec(text, overrides={"axes.seed": [0, 1, 2], **changes})
        archive(store, spec, run_here(store, spec, folder / "c"))
    return store


def test_two_sweeps_are_compared_by_name(
    store: FolderStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every purchase once a metric, paired, since both were scored on the same images."""
    out = tmp_path / "out"
    assert main(["report", "slow", "fast", "--store", store.url, "--out", str(out), "--json"]) == 0
    document = read_json("report", capsys.readouterr().out)
    assert (document["sweep"], document["against"]) == ("slow", "fast")
    assert sorted(document["paths"]) == sorted(str(path) for path in out.iterdir())
    table = pd.read_parquet(out / "comparison.parquet")
    assert len(table) == 4
    assert table["paired"].all()
    text = (out / "comparison.md").read_text()
    assert document["answer"] in text
    assert "- train.learning_rate" in text
    assert all(caveat in text for caveat in document["caveats"])


def test_a_report_shows_what_replaced_entries_of_its_yaml(
    store: FolderStore, tmp_path: Path
) -> None:
    """Those of the run and of this command; none where nothing was replaced."""
    for name, settings, told in (
        ("fast", ["--set", "select.epoch=last"], "train.learning_rate=0.05\nselect.epoch=last"),
        ("slow", [], "axes.seed=[0, 1, 2]</pre>"),
    ):
        out = tmp_path / name
        assert main(["report", name, "--store", store.url, "--out", str(out), *settings]) == 0
        assert told in (out / "report.html").read_text()


@needs_chromium
def test_the_page_reads_well_in_a_browser(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request, no error, nothing that axe finds, wide and narrow."""
    monkeypatch.chdir(tmp_path)
    assert main(["report", "slow", "fast", "--store", store.url]) == 0
    page = tmp_path / "fast-against-slow" / "comparison.html"
    with chromium() as browser:
        for width, scheme in ((400, "light"), (1280, "dark")):
            look = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
            with opened(browser, page, **look) as shown:
                assert shown.complaints == []
                assert shown.requests == [page.as_uri()]
            with opened(browser, page, bypass_csp=True, **look) as shown:
                found = Axe().run(shown.page).response["violations"]
                assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == []
                assert shown.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_sweep_without_results_says_what_to_run(
    store: FolderStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is written."""
    out = tmp_path / "out"
    arguments = ["report", "slow", "fast", "--store", store.url, "--out", str(out)]
    assert main([*arguments, "--set", "axes.seed=[9]"]) == 2
    assert "has no finished trial" in capsys.readouterr().err
    assert not out.exists()
