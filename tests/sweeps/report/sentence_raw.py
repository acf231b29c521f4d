"""From the report's input to the plain tables that sentences are held to."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from sentence_facts import Raw

from spurious.data.budget import draw
from spurious.generators.gaussian_squares import GaussianSquaresSource
from spurious.scoring.registry import METRICS
from spurious.squares import images
from sweeps.report.tables import ReportInput


def raw_of(
    source: ReportInput,
    epochs: pd.DataFrame,
    predictions: Mapping[str, pd.DataFrame],
    folder: Path,
) -> Raw:
    """Return what a report was made from, without anything that the package computes.

    Args:
        source: The report's input.
        epochs: Rows of `epochs` as they are stored.
        predictions: Trial id to its rows of `predictions`.
        folder: Where the report's own tables are.
    """
    tables = {path.stem: pq.read_table(path).to_pandas() for path in folder.glob("*.parquet")}
    return Raw(
        source.trials,
        epochs,
        source.failures,
        predictions,
        [(*one.key, one.seed, str(one.trial_id)) for one in source.planned],
        dataclasses.asdict(source.prices),
        source.axis,
        source.margin,
        None if source.rule is None else str(source.rule),
        source.provenance.directions,
        source.compute,
        tables,
        _others(source, folder),
    )


def _others(source: ReportInput, folder: Path) -> dict[str, Any]:
    page = (folder / "report.html").read_text()
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    carried = 0
    if data:
        content = json.loads(data[1])
        codes = len(base64.b64decode(content["codes"])) // 2
        carried = codes // max(len(content["drawn"]), 1)
    return {
        "damaged": source.damaged,
        "unverified": source.unverified,
        "synthetic": source.provenance.synthetic,
        "created_at": source.provenance.created_at,
        "made_with": source.provenance.versions,
        "point": str(source.point),
        "outlines": source.outlines,
        "tune": source.tune,
        "grids": _grids(source),
        "papers": [table.where for table in source.published],
        "metric_names": {m.words[:1].upper() + m.words[1:]: m.name for m in METRICS.values()},
        "merged_epochs": source.epochs.rows,
        "files": {path.name for path in folder.iterdir()},
        "texts": _texts(source),
        "explained": source.explained,
        "search": source.search,
        "skipped": [reason for _, reason in source.skipped],
        "failure_meanings": source.failure_meanings,
        "examples": list(source.examples),
        "sample_ids": source.sample_ids,
        "covariates": source.covariates,
        "searches": [_search(of) for of in source.searches],
        "published": source.published,
        "carried": carried,
        "sweep": source.provenance.sweep,
        "overrides": source.provenance.overrides,
        "cautions": _count_items((folder / "report.md").read_text()),
        "squares": None if source.squares is None else _squares(source),
    }


def _squares(source: ReportInput) -> dict[str, Any]:
    """The generator's training images, which of them were annotated, and how many are measured."""
    assert source.squares is not None
    generator = GaussianSquaresSource(source.squares)
    names = [name for name in generator.index() if name.startswith("train-")]
    drawn = [generator.load(name) for name in names]
    labels = np.array([record.label for record in drawn])
    nothing = np.zeros_like(drawn[0].mask)
    digest = source.provenance.dataset_digest
    return {
        "options": dataclasses.asdict(source.squares),
        "labels": labels,
        "pixels": np.stack([record.image[:, :, 0] for record in drawn]).astype(np.float64),
        "abnormal": np.stack([record.mask for record in drawn]),
        "blocks": np.stack([record.features.get("block", nothing) for record in drawn]),
        "most_pixels": images.MOST_PIXELS,
        "annotated": {
            (one.key[1], one.seed): draw(labels, one.cell.budget, digest, one.seed)
            for one in source.planned
        },
    }


def _count_items(markdown: str) -> int:
    """Count the items between the answer and the facts of the dataset."""
    return len(re.findall("^- ", markdown.partition("\nDataset ")[0], re.MULTILINE))


def _search(of: Any) -> dict[str, Any]:
    chosen = None if of.chosen is None else of.tried[of.chosen]
    return {
        **{"key": of.cell.key, "method": of.cell.key[2], "is_over": of.is_over},
        **{"states": [each.state for each in of.tried], "chosen": of.chosen},
        "trials": [len(each.trials) for each in of.tried],
        "value": None if chosen is None else chosen.value,
        "values": json.dumps({} if chosen is None else dict(chosen.values)),
    }


def _texts(source: ReportInput) -> list[str]:
    """What papers and the plan say of themselves, which the report passes on."""
    texts = [note[:1].upper() + note[1:] + "." for note in source.notes]
    texts += [source.no_covariates] if source.no_covariates else []
    for table in source.published:
        dataset = table.values[0].dataset
        texts += [f"{table.paper}. {table.where}, {dataset}: {table.shows}.", *table.notes]
        texts += [f"Published beside measured: {table.where}", table.where]
    texts.append(" ".join(source.provenance.spec_text.split()))
    return sorted(texts, key=len, reverse=True)


def _grids(source: ReportInput) -> list[list[tuple[str, str, str]]]:
    """Keys of cells that differ in tuned options alone."""
    groups: dict[Any, list[tuple[str, str, str]]] = {}
    for cell in {one.key: one.cell for one in source.planned}.values():
        options = dataclasses.asdict(cell.method.options)
        if set(source.tune) & set(options):
            kept = tuple((k, repr(v)) for k, v in options.items() if k not in source.tune)
            groups.setdefault((*cell.key[:2], cell.method.name, kept), []).append(cell.key)
    return [group for group in groups.values() if len(group) > 1]
