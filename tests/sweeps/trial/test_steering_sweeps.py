"""Sweeps of methods that steer, small, as a user tries them: on generated images and phantoms.

The commands are those of the documents: a phantom in the release's format, staged under a name of
its own, and the shipped sweep on it with fewer epochs, images and channels.
"""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from tiny_sweeps import ROOT, run_missing, stage_here

from cluster.stores.folder import FolderStore
from sweeps.cli import main
from sweeps.commands.stage import stage_into
from sweeps.spec.model import GeneratorDataset, load_spec, parse_override

CROSSES = (
    "train.epochs=1",
    "axes.seed=[0]",
    "dataset={name: crosses, n_train: 12, n_val: 6, n_test: 6}",
    "axes.budget=[8]",
    "resources.gpus=0",
    "resources.cpus=1",
)
RELEASES = ("train.epochs=1", "axes.seed=[0]", "resources.gpus=0", "resources.cpus=1")
NET, UNET = "{name: four-block, channels: 2}", "{name: four-block, channels: 2, decoder: unet}"
ORGAN = ("dataset=organ", "axes.budget=[8]", *RELEASES)
CASES = {
    "crosses-table1": (f"model.classifier={UNET}", *CROSSES),
    "crosses-table1-autoencoder": (*CROSSES, "model.classifier.channels=2"),
    "crosses-table1-cnn": (f"model.classifier={NET}", *CROSSES),
    "crosses-table1-resnet": (f"model.classifier={NET}", *CROSSES),
    "crosses-table1-resnet-short": CROSSES,
    "crosses-2021": (f"model.classifier={NET}", *CROSSES),
    "crosses-mask-fraction": (f"model.classifier={UNET}", *CROSSES),
    "msd-table2": (
        *ORGAN,
        f"model.classifier={NET}",
        "published=viviano2019/table2-resnet/msd-liver",
    ),
    "msd-table2-cardiac": (
        *ORGAN,
        f"model.classifier={NET}",
        "published=viviano2019/table2-resnet/msd-cardiac",
    ),
    "msd-table2-unet": (
        *ORGAN,
        f"model.classifier={UNET}",
        "published=viviano2019/table2-unet/msd-pancreas",
    ),
    "msd-table2-unet-cardiac": (
        *ORGAN,
        f"model.classifier={UNET}",
        "published=viviano2019/table2-unet/msd-cardiac",
    ),
    "covid-exbl": (
        *RELEASES,
        "dataset=covid",
        "axes.budget=[24]",
        "axes.method=[erm, {name: exbl, first_epochs: 2, candidates: 12}]",
        "train.per_method={erm: {epochs: 2}}",
        "model.classifier={name: small-cnn, channels: 4}",
        "train.learning_rate=0.001",
        "published=hagos2023/table1/covid4",
    ),
    "two-site-cxr": (
        "dataset=sites",
        *RELEASES,
        f"model.classifier={NET}",
        "published=viviano2021/two-sites/two-site-cxr",
    ),
}
"""Sweep to what makes it small."""

SOURCES = {
    "organ": (
        "phantom msd organ --set n_volumes=10 --set size=48 --set depth=12",
        "stage msd organ --name organ --set image_size=32",
    ),
    "covid": (
        "phantom covid-radiography covid --set n_train=40 --set n_val=20 --set n_test=20 "
        "--set size=128",
        "stage covid-radiography covid --name covid --set image_size=32 --set split=0.4/0.3/0.3 "
        "--set classes=all",
    ),
    "sites": (
        "phantom nih-padchest sites --set n_train=30 --set n_val=10 --set n_test=10 "
        "--set spurious_given_positive=0.5 --set spurious_given_negative=0.5 --set size=128",
        "stage nih-padchest sites --name sites --set image_size=32 --set correlation=0.9",
    ),
}
"""Staged name to the commands that write and stage a phantom."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all of them, with a store."""
    return tmp_path_factory.mktemp("releases")


def stage_phantom(name: str, place: Path) -> None:
    """Write and stage a phantom by its commands, unless that is done."""
    write, stage = SOURCES[name]
    if (place / name).exists():
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr("sweeps.commands.stage.stage_into", partial(stage_into, in_process=True))
        assert main(shlex.split(write)) == 0
        assert main([*shlex.split(stage), "--store", "store"]) == 0


def test_every_sweep_of_these_papers_is_tried() -> None:
    """Each that is set beside their numbers."""
    specs = {path.stem: load_spec(path) for path in (ROOT / "sweeps" / "specs").glob("*.yaml")}
    of_papers = {n for n, s in specs.items() if s.published and "saab" not in s.published[0]}
    assert of_papers == set(CASES)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_small_sweep_runs_and_is_reported(
    name: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every trial has a result, and every one that the paper has stands beside its number."""
    path = ROOT / "sweeps" / "specs" / f"{name}.yaml"
    overrides = dict(parse_override(text) for text in CASES[name])
    spec, store = load_spec(path, overrides), FolderStore(place / "store")
    if isinstance(spec.dataset, GeneratorDataset):
        stage_here(store, spec)
    else:
        stage_phantom(spec.dataset.name, place)
    plan = run_missing(store, spec, tmp_path / "cache")
    assert plan.trials
    assert not plan.missing
    sets = [part for text in CASES[name] for part in ("--set", text)]
    to = ("--store", store.url, "--out", str(tmp_path / "out"))
    assert main(["report", str(path), *sets, *to]) == 0
    capsys.readouterr()
    published = pd.read_parquet(tmp_path / "out" / "published.parquet")
    measured = published[published["measured_n"] > 0]
    assert set(measured["method"].str.partition("(")[0]) == {c.method.name for c in plan.cells}
    assert set(measured["rule"]) == set(published["rule"])
    assert published["rule"].notna().all() == (name != "covid-exbl")
    assert measured["measured_mean"].between(0.0, 1.0).all()
