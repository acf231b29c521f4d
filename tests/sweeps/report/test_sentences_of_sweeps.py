"""Every sentence and table row of reports of real sweeps on generated shapes is true.

As `test_sentences` of random result sets, with what these never have: squares, with their model
and measures, embeddings and resolutions. Stored epochs and predictions come from the store.
"""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import pytest
from drawn_figures import watch_figures
from sentence_claims import check_report
from sentence_document import Block, read_html, read_markdown
from sentence_facts import Facts
from sentence_raw import raw_of
from test_sentences import CHECKERS, PICTURE
from tiny_sweeps import run_here

from cluster.stores.folder import FolderStore
from spurious.squares import images
from sweeps.commands.report import read_report_input
from sweeps.plan.plan import Plan
from sweeps.report import figure
from sweeps.report.build import build_report
from sweeps.results import tables as results
from sweeps.spec.model import Spec, parse_spec

for _name in CHECKERS:
    importlib.import_module(f"sentence_{_name}")

TEXT = """
name: shapes
dataset: {name: gaussian-squares, image_size: 16, abnormality_size: 4, spurious_size: 4,
          spurious_given_positive: 0.8, spurious_given_negative: 0.2,
          prevalence: 0.5, n_train: 40, n_val: 30, n_test: 60}
axes: {specificity: [label, mask], budget: [all], method: [erm], seed: [0, 1]}
model: {classifier: {name: small-cnn, channels: 4, levels: 1},
        segmenter: {name: small-unet, channels: 4, levels: 1}}
train: {epochs: 3, batch_size: 10}
embeddings: true
explanations: true
examples: 4
"""
R = [{"r": r} for r in (1, 3, 8)]
AVOID: dict[str, Any] = {
    "axes.specificity": ["label", *R, "mask"],
    "axes.budget": [20, "all"],
    "axes.seed": [0, 1, 2],
}
NO_ROOM = {
    "dataset.overlap": "independent",
    "dataset.abnormality_size": 12,
    "dataset.spurious_size": 12,
    "dataset.spurious_given_positive": 1.0,
    "dataset.n_test": 1010,  # more than are projected
}
FEW = {
    "dataset.overlap": "independent",
    "axes.specificity": [R[1], "box"],
    "axes.seed": [0],
    "embeddings": False,
    "explanations": False,
    "examples": 0,
}
WIDE = {**FEW, "dataset.abnormality_size": 14}
RINGS = {
    "dataset.shape": "ring",
    "axes.specificity": R,
    "dataset.n_test": 12,  # fewer than the neighbours
}

PAIRS = {
    "axes.specificity": ["label", "mask"],
    "axes.method": ["erm", {"name": "exbl", "candidates": 4}],
    "train.epochs": 5,
    "train.evaluate_every": 2,
    "train.learning_rate": 1e-9,  # the metric that chooses the epoch stays the same
    "explanations": False,
    "examples": 0,
}
"""Exemplary explanations; metrics of some epochs alone."""


def run(store: FolderStore, overrides: dict[str, Any], cache: Path) -> tuple[Spec, Plan]:
    """Run the sweep; what there is already is kept."""
    spec = parse_spec(TEXT, overrides=overrides)
    return spec, run_here(store, spec, cache)


def read(
    store: FolderStore, spec: Spec, plan: Plan, folder: Path, patch: pytest.MonkeyPatch, **how: bool
) -> tuple[Facts, dict[str, list[Block]]]:
    """Make the report, and return what is true and what it says."""
    source, drawn = read_report_input(spec, plan, store), watch_figures(patch, **how)
    build_report(source, folder)
    trials = results.read_trials(store, plan.done)
    stored = {
        name: results.read_attempts(store, name, results.trials_with(store, name, trials))
        for name in ("epochs", "predictions", "embeddings", "examples")
    }
    predictions = dict(list(stored["predictions"].to_pandas().groupby("trial_id")))
    raw = raw_of(source, stored["epochs"].to_pandas(), predictions, folder)
    seen = {
        "pictures": drawn.read(),
        "embedded": set(stored["embeddings"].column("trial_id").to_pylist()),
        "pictured": set(stored["examples"].column("trial_id").to_pylist()),
        "pictured_each": spec.examples,
    }
    facts = Facts(dataclasses.replace(raw, others={**raw.others, **seen}))
    pages = {
        "report.md": read_markdown((folder / "report.md").read_text()),
        "report.html": read_html((folder / "report.html").read_text()),
    }
    return facts, pages


def hold(facts: Facts, pages: dict[str, list[Block]]) -> None:
    """Hold every block of both to its claim."""
    for name, blocks in pages.items():
        try:
            assert check_report(facts, blocks) > 30
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None


def test_squares_beside_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five annotations, two budgets, three seeds."""
    store = FolderStore(tmp_path / "store")
    spec, plan = run(store, AVOID, tmp_path / "cache")
    hold(*read(store, spec, plan, tmp_path / "report", monkeypatch, projects=False))


def test_squares_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No closed form; labels of seed 0 have no embeddings and masks no pictures; many images."""
    monkeypatch.setattr(figure, "draw_frontier_figure", lambda *_: PICTURE)
    store, cache = FolderStore(tmp_path / "store"), tmp_path / "cache"
    first = {"axes.specificity": ["label"], "axes.seed": [0], "embeddings": False, "examples": 0}
    run(store, NO_ROOM | first, cache)
    run(store, NO_ROOM | {"axes.specificity": ["mask"], "examples": 0}, cache)
    spec, plan = run(store, NO_ROOM, cache)
    hold(*read(store, spec, plan, tmp_path / "report", monkeypatch, projects=False))


@pytest.mark.parametrize(
    "overrides", [FEW, WIDE, RINGS, PAIRS], ids=["first", "wide", "rings", "pairs"]
)
def test_small_sweeps(
    overrides: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first 25 images; squares nearly as wide as images; no squares, real UMAP; eXBL."""
    monkeypatch.setattr(figure, "draw_frontier_figure", lambda *_: PICTURE)
    monkeypatch.setattr(images, "MOST_PIXELS", 25 * 16 * 16 + 9)
    store = FolderStore(tmp_path / "store")
    spec, plan = run(store, overrides, tmp_path / "cache")
    hold(*read(store, spec, plan, tmp_path / "report", monkeypatch, projects=True))
