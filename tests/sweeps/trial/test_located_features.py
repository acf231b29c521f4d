"""Explanations on spurious features where the table of images lacks their pixels, or is damaged."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from tiny_sweeps import FILMS, one, prepared, stage_here, tiny

from cluster.datasets.image_table import read_image_table
from cluster.datasets.keys import image_table_key
from cluster.datasets.manifest import find_manifest
from cluster.errors import NotFound
from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from sweeps.cli import main
from sweeps.commands.stage import ensure_staged, find_whole_dataset
from sweeps.plan.facts import plan_on
from sweeps.plan.render import as_dict, as_text
from sweeps.report.unlocated import describe_unlocated
from sweeps.results import tables as results
from sweeps.spec.model import GeneratorDataset, parse_spec
from sweeps.staging.sources import generator_staging
from sweeps.staging.stage import stage
from sweeps.trial.failures import classify
from sweeps.trial.run import run_trial


def remove(store: Store, key: str) -> None:
    """As in stores from before there were tables of images."""
    store.delete(key)


def cut(store: Store, key: str) -> None:
    """Leave the first half."""
    data = store.get(key)
    store.put(key, data[: len(data) // 2])


def make_old(store: Store, key: str) -> None:
    """Leave out the pixels of spurious features, as the first tables of images did."""
    table = pq.read_table(io.BytesIO(store.get(key)))
    metadata = dict(table.schema.metadata)
    old = table.select([name for name in table.column_names if not name.startswith("feature_")])
    assert old.num_columns < table.num_columns
    sha = hashlib.sha256()
    for field in old.schema:
        values = old.column(field.name).to_pylist()
        sha.update(json.dumps([field.name, str(field.type), values]).encode())
    metadata[b"values_sha256"] = sha.hexdigest().encode()
    sink = io.BytesIO()
    pq.write_table(old.replace_schema_metadata(metadata), sink, write_page_checksum=True)
    store.put(key, sink.getvalue())


Change = Callable[[Store, str], None]


@pytest.mark.parametrize("change", [remove, cut])
def test_a_trial_that_cannot_be_explained_fails(
    folder_store: FolderStore, tmp_path: Path, change: Change
) -> None:
    """Rather than to commit less than was asked, for good; staging again, as it says, cures it."""
    spec = one(explanations=True)
    _, task = prepared(folder_store, spec, tmp_path)
    change(folder_store, image_table_key(task.dataset, task.dataset_digest))
    with pytest.raises(NotFound, match="stage it again, which adds it and keeps") as caught:
        run_trial(task, "first", lambda *_: None)
    assert classify(caught.value) == "data"
    assert not results.committed_ids(folder_store)
    stage_here(folder_store, spec)
    run_trial(task, "second", lambda *_: None)
    trials = results.read_trials(folder_store, [task.trial_id])
    [explained] = results.each_table(folder_store, "explanations", trials)
    assert "block" in explained.column("region").to_pylist()


def test_a_run_adds_pixels_to_its_generator(folder_store: FolderStore) -> None:
    """Once: the same dataset is not staged again for it a second time."""
    spec = tiny(explanations=True)
    stage_here(folder_store, spec)
    assert isinstance(spec.dataset, GeneratorDataset)
    digest = generator_staging(spec.dataset.name, spec.dataset.options).digest
    make_old(folder_store, image_table_key(spec.dataset.name, str(digest)))
    assert find_whole_dataset(folder_store, spec.dataset.name, digest) is None
    assert plan_on(spec, folder_store).explaining == ()
    ensure_staged(spec, folder_store, in_process=True)
    manifest = find_whole_dataset(folder_store, spec.dataset.name, digest)
    assert manifest is not None
    assert "feature_block" in read_image_table(folder_store, manifest).column_names


def stage_films(store: Store) -> None:
    """Stage a dataset that no generator's name leads to."""
    dataset = tiny().dataset
    assert isinstance(dataset, GeneratorDataset)
    source = generator_staging(dataset.name, dataset.options).source
    stage(store, source, "films", in_process=True)


NOTES = {
    "old": (make_old, "no pixels of block are known in this dataset's table of images"),
    "removed": (remove, "dataset 'films' has no readable table of its images"),
    "cut": (cut, "dataset 'films' has no readable table of its images"),
}


@pytest.mark.parametrize(("change", "text"), NOTES.values(), ids=NOTES)
def test_a_plan_says_what_explanations_lack(
    folder_store: FolderStore, change: Change, text: str
) -> None:
    """Where explanations are asked for alone; staging again, as it says, adds the pixels."""
    stage_films(folder_store)
    spec = parse_spec(FILMS, overrides={"explanations": True})
    assert plan_on(spec, folder_store).explaining == ()
    manifest = find_manifest(folder_store, "films")
    change(folder_store, image_table_key("films", manifest.digest))
    plan = plan_on(spec, folder_store)
    assert f"note: explanations: {text}" in as_text(plan, spec)
    assert any(text in note for note in as_dict(plan, spec)["notes"])
    assert plan_on(parse_spec(FILMS), folder_store).explaining == ()
    stage_films(folder_store)
    assert find_manifest(folder_store, "films").digest == manifest.digest
    assert plan_on(spec, folder_store).explaining == ()


def test_a_run_says_it_too(
    folder_store: FolderStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before its trials begin."""
    stage_films(folder_store)
    key = image_table_key("films", find_manifest(folder_store, "films").digest)
    make_old(folder_store, key)
    session = SimpleNamespace(dashboard="")
    monkeypatch.setenv("SWEEPS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("cluster.jobs.session.ray_session", lambda *_, **__: nullcontext(session))
    said: list[str] = []

    def run_plan(*arguments: Any, **options: Any) -> int:
        said.append(capsys.readouterr().err)
        return 0

    monkeypatch.setattr("sweeps.driver.runner.run_plan", run_plan)
    (tmp_path / "films.yaml").write_text(FILMS + "explanations: true\n")
    assert main(["run", str(tmp_path / "films.yaml"), "--store", folder_store.url]) == 0
    assert "note: explanations: no pixels of block are known" in said[0]


def test_a_report_says_what_was_not_measured() -> None:
    """By attribute, with the trials of which it is true."""
    rows = [("one", "mask"), ("one", "tube"), ("two", "mask"), ("two", "box")]
    explained = pd.DataFrame(rows, columns=["trial_id", "region"])
    assert describe_unlocated(explained, ["tube", "ink"]) == (
        "2 trials of 2 measured no explanation on ink: no pixels of it were known of test images. "
        "1 trial of 2 measured no explanation on tube: no pixels of it were known of test images."
    )
    assert describe_unlocated(explained[explained["trial_id"] == "one"], ["tube"]) == ""
    assert describe_unlocated(explained.iloc[:0], ["tube"]) == ""
