"""The report's measures, the model of squares beside them, and the projected embeddings."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from report_tables import (
    EPOCHS_TRAINED,
    KEPT,
    Made,
    make,
    plan,
    report_input,
    small,
    tables,
)
from tiny_sweeps import TEXT, run_here, tiny

from cluster.stores.folder import FolderStore
from spurious.config.datasets import GaussianSquares
from spurious.config.options import Specificity
from spurious.scoring.selection import parse_rule
from spurious.squares.images import measure_squares
from sweeps.commands.context import SpecSource
from sweeps.commands.pull import pull
from sweeps.commands.report import read_report_input as input_of
from sweeps.plan.facts import plan_on
from sweeps.report.build import build_report
from sweeps.report.measures import measure_context, measure_rows, measures, square_note, square_rows
from sweeps.report.projection import GROUPS, project, projection_png
from sweeps.results.schemas import arrow_schema
from sweeps.spec.model import parse_spec

T_OF_2 = 4.302653
"""Student's t for 95 % of three seeds."""


def with_measures(made: Made, attributes: tuple[str, ...] = ("tube",)) -> Made:
    """The same tables with the rows of measures: numbers of the seed, so that means are known."""
    rows: list[dict[str, Any]] = []
    for trial in made.trials.to_dict("records"):
        common = {"trial_id": trial["trial_id"], "attempt": trial["attempt"], "schema_version": 2}
        once = [("train", "variance_measure", None, 0.5 + 0.1 * trial["seed"])]
        for number, name in enumerate(attributes):
            once += [
                ("test", "alignment_y0", name, 0.2 + 0.1 * trial["seed"] + number),
                ("test", "alignment_y1", name, math.nan),
            ]
        gaps = [
            (split, "auroc_gap", name, (0.01 if split == "test" else 9) * epoch, epoch)
            for split in ("val", "test")
            for name in attributes
            for epoch in range(1, EPOCHS_TRAINED + 1)
        ]
        for split, metric, name, value, epoch in [*((*row, KEPT) for row in once), *gaps]:
            where = {"split": split, "metric": metric, "attribute": name, "epoch": epoch}
            rows.append(common | where | {"value": value})
    both = pd.concat([made.epochs, pd.DataFrame(rows)], ignore_index=True)
    read = pa.Table.from_pandas(both, schema=arrow_schema("epochs"), preserve_index=False)
    return replace(made, epochs=read.to_pandas())


@pytest.fixture(scope="module")
def made() -> Made:
    """Labels, boxes and masks on 600 and on all images, three seeds each, with measures."""
    return with_measures(small())


def rows_of(made: Made, **changes: Any) -> list[dict[str, Any]]:
    """The page's table of measures."""
    priced, cells = tables(made, **changes)
    return measure_rows(cells, measures(priced, made.epochs))


def page_of(made: Made, out: Path, **changes: Any) -> str:
    """The page's HTML."""
    return build_report(report_input(made, **changes), out).page.read_text()


def test_measures_are_means_over_seeds_with_intervals(made: Made) -> None:
    """Every cell in the order of the page; t-intervals where seeds differ, dashes if undefined."""
    rows = rows_of(made)
    _, cells = tables(made)
    assert [row["method"] for row in rows] == cells["method"].tolist()
    half = T_OF_2 * 0.1 / math.sqrt(3)
    expected = [
        ("0.600", f"{0.6 - half:.3f} to {0.6 + half:.3f}"),
        ("0.300", f"{0.3 - half:.3f} to {0.3 + half:.3f}"),
        ("\N{EN DASH}", ""),
        ("0.060", ""),
    ]
    for row in rows:
        assert row["means"] == expected
        assert (row["attribute"], row["seeds"]) == ("tube", 3)
    assert rows[0]["annotation"] == "labels"
    assert rows[-1]["images"] == "all"


def test_gaps_follow_the_rule_and_alignment_stays(made: Made) -> None:
    """A gap is of the chosen epoch, as the AUROC is; embeddings there are of the kept one alone."""
    for row in rows_of(made, rule=parse_rule("last")):
        assert row["means"][1][0] == "0.300"
        assert row["means"][3][0] == "0.080"
    undefined = rows_of(made, rule=parse_rule("best val.dice"))[0]
    assert undefined["annotation"] == "labels"
    assert [mean for mean, _ in undefined["means"]] == ["0.600", "0.300"] + ["\N{EN DASH}"] * 2


def test_every_attribute_has_its_row() -> None:
    """Two attributes are two rows, one variance; none is one row with the variance alone."""
    made = make(small().planned[:3], attributes=("tube", "site"))
    site, tube = rows_of(with_measures(made, ("tube", "site")))
    assert (site["attribute"], tube["attribute"]) == ("site", "tube")
    assert site["means"][0] == tube["means"][0]
    assert (site["means"][1][0], tube["means"][1][0]) == ("1.300", "0.300")
    [none] = rows_of(with_measures(make(small().planned[:3], attributes=()), ()))
    assert none["attribute"] == ""
    assert [mean for mean, _ in none["means"]] == ["0.600"] + ["\N{EN DASH}"] * 3


def test_trials_from_before_measure_nothing(made: Made, tmp_path: Path) -> None:
    """Tables without these rows have no section; a sweep with some of them shows those."""
    assert "<h2>Measures</h2>" not in page_of(small(), tmp_path / "none")
    assert "<h2>Measures</h2>" in page_of(made, tmp_path / "all")
    gone = made.trials["trial_id"][made.trials["specificity"] != "mask"]
    new = ~made.epochs["metric"].isin(["variance_measure", "alignment_y0", "alignment_y1"])
    some = replace(made, epochs=made.epochs[new | ~made.epochs["trial_id"].isin(gone)])
    assert {row["annotation"] for row in rows_of(some)} == {"masks"}


def squares_of(made: Made, options: GaussianSquares) -> list[dict[str, Any]]:
    """The page's table of the model."""
    priced, cells = tables(made)
    return square_rows(options, cells, measures(priced, made.epochs))


def test_both_forms_stand_beside_the_measured_variance() -> None:
    """The paper's squares at its resolutions, in nats, bits, and the measured one's unit."""
    cells = plan(("label", "r=2", "r=20", "mask"), ("600",), ("erm", "jtt"))
    rows = squares_of(with_measures(make(cells)), GaussianSquares())
    assert [row["annotation"] for row in rows] == [
        *("labels", "coarse masks (r = 2)", "coarse masks (r = 20)", "masks")
    ]
    closed, exact = zip(*(row["forms"] for row in rows), strict=True)
    assert [form["variance"] for form in closed] == ["9.488", "9.488", "6.047", "1.000"]
    assert [form["variance"] for form in exact] == ["9.488", "10.251", "2.459", "1.000"]
    assert [form["nats"] for form in closed] == ["0.00385", "0.00385", "0.03554", "0.00000"]
    assert [form["nats"] for form in exact] == ["0.00385", "0.00571", "0.00456", "0.00000"]
    assert [form["bits"] for form in exact] == ["0.00556", "0.00824", "0.00658", "0.00000"]
    assert exact[1]["standardised"] == f"{10.250551 / 8.699356:.3f}"
    assert [row["measured"][0] for row in rows] == ["0.600"] * 4
    on_images = [row["on_images"] for row in rows]
    found = measure_squares(GaussianSquares(), (Specificity("label"), Specificity("r", r=20)))
    for row, specificity in ((on_images[0], "label"), (on_images[2], "r=20")):
        [own] = [of for key, of in found.by_specificity.items() if str(key) == specificity]
        assert row["variance"] == f"{own.variance:.3f}"
        assert row["nats"] == f"{own.mi:.5f}"
        assert row["bits"] == f"{own.mi_bits:.5f}"
    assert on_images[3]["nats"] == "0.00000"


def test_seeds_of_the_same_images_have_no_interval(made: Made) -> None:
    """One draw repeated says nothing of other draws: an interval of no width would be a lie."""
    same = made.epochs["metric"] == "variance_measure"
    epochs = made.epochs.assign(value=made.epochs["value"].where(~same, 0.6))
    for row in rows_of(replace(made, epochs=epochs)):
        assert row["means"][0] == ("0.600", "")
    for square in squares_of(replace(made, epochs=epochs), GaussianSquares()):
        assert square["measured"] == ("0.600", "")


def test_the_page_says_which_images_were_measured(made: Made) -> None:
    """All training images, or the first where they are many."""
    priced, cells = tables(made)
    notes = [
        measure_context(options, cells, measures(priced, made.epochs))["squares_note"]
        for options in (GaussianSquares(n_train=20), GaussianSquares(n_train=60, image_size=1024))
    ]
    assert re.search(r"Measured on \d+ abnormal images of all 20 training images,", notes[0])
    assert re.search(r"Measured on \d+ abnormal images of the first 19 training images,", notes[1])


def test_a_seed_counts_once_however_many_methods_it_has(made: Made) -> None:
    """The annotated images of a seed are those of every method: three values, not six."""
    [labels, *_] = squares_of(made, GaussianSquares())
    half = T_OF_2 * 0.1 / math.sqrt(3)
    assert labels["measured"] == ("0.600", f"{0.6 - half:.3f} to {0.6 + half:.3f}")


def test_the_note_says_why_the_forms_differ() -> None:
    """The border, the distance of the block, and where eq. (13) has its maximum."""
    note = square_note(GaussianSquares())
    for expected in ("border cuts the target off", "keeps away", "0.63 of the target"):
        assert expected in note
    overlapping = square_note(GaussianSquares(overlap="independent"))
    assert "may cover the abnormality" in overlapping
    assert "falls to 0" not in square_note(GaussianSquares(spurious_given_positive=0.0))


def test_the_page_has_the_model_of_squares_alone(made: Made, tmp_path: Path) -> None:
    """Only where the sweep is on them; without measured rows the forms are there all the same."""
    assert "model of squares" not in page_of(made, tmp_path / "other")
    page = page_of(small(), tmp_path / "squares", squares=GaussianSquares())
    section = page[page.index("model of squares") : page.index("What failed, was skipped")]
    assert "equations (7) and (13)" in section
    assert re.search(r"9\.488<span class=\"sub\">1\.091 standardised", section)
    assert section.count(" nats<") == 3 * 6
    text = (tmp_path / "squares" / "report.md").read_text()
    [line] = [line for line in text.splitlines() if line.startswith("| labels | all | 9.488")]
    assert line.count("|") == 11
    assert "\N{EN DASH}" in section


OVERRIDES: dict[str, Any] = {"embeddings": True, "train.epochs": 1, "dataset.n_test": 24}
FIRST_MASKS = OVERRIDES | {"axes.specificity": ["mask"], "axes.seed": [0]}


def settings(overrides: Mapping[str, Any]) -> tuple[str, ...]:
    """Overrides as a command line has them; JSON is YAML."""
    return tuple(f"{key}={json.dumps(value)}" for key, value in overrides.items())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    """A store with the sweep's results; the masks of seed 0 have no embeddings."""
    folder = tmp_path_factory.mktemp("swept")
    store = FolderStore(folder / "store")
    run_here(store, parse_spec(TEXT, overrides=FIRST_MASKS | {"embeddings": False}), folder)
    run_here(store, parse_spec(TEXT, overrides=OVERRIDES), folder)
    return store


def test_the_first_seed_that_has_embeddings_is_shown(store: FolderStore) -> None:
    """One trial a cell, with ids, labels, groups and finite vectors of its test images."""
    spec = parse_spec(TEXT, overrides=OVERRIDES)
    given = input_of(spec, plan_on(spec, store), store)
    trials = given.trials.set_index("trial_id")
    shown = {(trials.at[i, "specificity"], trials.at[i, "seed"]) for i in given.embeddings}
    assert shown == {("label", 0), ("mask", 1)}
    for table in given.embeddings.values():
        assert len(table) == 24
        assert set(table["split"]) == {"test"}
        assert set(table["label"]) == {0, 1}
        assert np.isfinite(np.stack(list(table["embedding"]))).all()
    assert given.squares == spec.dataset.options  # type: ignore[union-attr]


def test_other_shapes_have_no_model(tmp_path: Path) -> None:
    """The equations are of squares: a sweep on rings is reported without them."""
    spec = tiny(dataset__shape="ring", axes__specificity=["label"], axes__seed=[0], train__epochs=1)
    store = FolderStore(tmp_path / "store")
    given = input_of(spec, run_here(store, spec, tmp_path), store)
    assert given.squares is None
    assert given.embeddings == {}


def test_pull_writes_embeddings_where_there_are_any(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file with the rows of the three trials that have them; without them no file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TEXT)
    pull(SpecSource("tiny.yaml", settings(OVERRIDES)), store.url, tmp_path / "all")
    table = pq.read_table(tmp_path / "all" / "embeddings.parquet")
    assert table.num_rows == 3 * 24
    assert len(set(table.column("trial_id").to_pylist())) == 3
    assert table.schema.names[-2:] == ["embedding", "spurious_block"]
    pull(SpecSource("tiny.yaml", settings(FIRST_MASKS)), store.url, tmp_path / "none")
    assert (tmp_path / "none" / "predictions.parquet").exists()
    assert not (tmp_path / "none" / "embeddings.parquet").exists()


def embedded(made: Made, trials: int, n: int, **columns: Any) -> Mapping[str, pd.DataFrame]:
    """Embeddings of the first trials' test images: label and attribute far apart in 6 numbers."""
    rng = np.random.default_rng(4)
    label, tube = np.arange(n) % 2, np.arange(n) // 2 % 2
    found = {}
    for trial_id in made.trials.drop_duplicates(["specificity", "budget", "method"])["trial_id"]:
        vectors = rng.standard_normal((n, 6)) * 0.1
        vectors[:, 0] += 3 * label
        vectors[:, 1] += 3 * tube
        table = pd.DataFrame({"sample_id": [f"i{i:04d}" for i in range(n)], "label": label})
        table["embedding"] = list(vectors.astype(np.float32))
        found[trial_id] = table.assign(spurious_tube=tube == 1).assign(**columns)
    return dict(list(found.items())[:trials])


def test_groups_of_images_are_projected_apart(made: Made, tmp_path: Path) -> None:
    """Files, page and caption; the same bytes again; a panel with too few images says so."""
    rng = np.random.default_rng(1)
    directions = np.eye(4)[np.arange(40) % 4] + 0.05 * rng.standard_normal((40, 4))
    points = project(directions.astype(np.float32))
    assert points is not None
    centres = np.stack([points[i::4].mean(axis=0) for i in range(4)])
    nearest = ((points[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert nearest.tolist() == [i % 4 for i in range(40)]

    given = report_input(made, embeddings=embedded(made, trials=2, n=24))
    files = build_report(given, tmp_path)
    assert files.projection is not None
    assert files.projection.name == "projection.png"
    page = files.page.read_text()
    assert "<h2>Projected embeddings</h2>" in page
    assert "coloured by label (y) and attribute tube (s)" in page
    assert "<code>projection.png</code>" in page
    priced, cells = tables(made)
    assert projection_png(given.embeddings, priced, cells) == files.projection.read_bytes()


def test_what_cannot_be_projected_has_an_empty_panel(made: Made) -> None:
    """Too few images, or a model that broke down; attributes may be unknown or absent."""
    assert project(np.ones((4, 3), np.float32)) is None
    assert project(np.full((9, 3), np.nan, np.float32)) is None
    priced, cells = tables(made)
    few = embedded(made, trials=7, n=3, spurious_tube=None)
    assert projection_png(few, priced, cells)[1:4] == b"PNG"
    bare = {key: table.drop(columns="spurious_tube") for key, table in few.items()}
    assert projection_png(bare, priced, cells) != projection_png(few, priced, cells)
    assert len(set(GROUPS.values())) == 4


def test_without_embeddings_there_is_no_projection(made: Made, tmp_path: Path) -> None:
    """No file and no section, and UMAP is not imported for it."""
    files = build_report(report_input(made), tmp_path)
    assert files.projection is None
    assert not (tmp_path / "projection.png").exists()
    assert "Projected embeddings" not in files.page.read_text()
