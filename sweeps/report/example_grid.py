"""Example test images by group: what each shown purchase scored them, answered, and looked at."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from cluster.common.wording import count_of, has_or_have, is_or_are
from spurious.data.attributes import UNKNOWN
from spurious.scoring.groups import mostly_contradicts
from spurious.scoring.operating_point import OperatingPoint
from sweeps.report.explained import KINDS
from sweeps.report.explained_pictures import MAPS, PREFIX, Pixels, in_groups, outlined, tile
from sweeps.report.short_names import shorten
from sweeps.report.shown import Shown
from sweeps.report.tables import ReportInput
from sweeps.report.wording import NONE, describe_cell, number, sentence

MOST_IMAGES = 12
"""Images of the page; of each group the first few, so that every group has some."""
MOST_BYTES = 400_000
"""Of pictures in the page; purchases beyond have none, the lowest robust AUROC first."""
MOST_LETTERS = 14
"""Of an image's id below it; the alternative text has all."""
COLOURS = 32
"""Of a picture in the page, which take half the bytes of all of them."""


@dataclass(frozen=True)
class Answers:
    """What a trial's kept model said of test images.

    Attributes:
        scores: Sample id to score.
        threshold: From it on an image is called abnormal; NaN where it is undefined.
    """

    scores: Mapping[str, float]
    threshold: float


def example_context(source: ReportInput, priced: pd.DataFrame, shown: Shown) -> dict[str, Any]:
    """Return the section: a table with a column per image, in groups, and rows of each purchase.

    Args:
        source: The report's input.
        priced: The result of `price_trials`.
        shown: The purchases.
    """
    of_key = {
        (row["specificity"], row["budget"], row["method"]): row
        for row in priced[priced["trial_id"].isin(list(source.examples))].to_dict("records")
    }
    trials = [of_key[key] for key in shown.keys if key in of_key]
    if not trials:
        return {"nothing": True}
    first = source.examples[trials[0]["trial_id"]]
    groups, left = _choose(first)
    ids = [sample_id for group in groups for sample_id in group["ids"]]
    for group in groups:
        group["is_robust"] = _contradicts(first, group["ids"][0], source.provenance.directions)
    known = _read_answers(source, [trial["trial_id"] for trial in trials])
    short = shorten(ids, MOST_LETTERS)
    images = [_encode(outlined(first, sample_id)) for sample_id in ids]
    rows_of = {
        trial["trial_id"]: _rows(source, trial, ids, known.get(trial["trial_id"]), _labels(first))
        for trial in trials
    }
    kept = _fitting(shown, trials, rows_of, sum(map(len, images)))
    rows = [
        row for trial in trials if trial["trial_id"] in kept for row in rows_of[trial["trial_id"]]
    ]
    without = len(trials) - len(kept)
    return {
        "nothing": False,
        "groups": groups,
        "images": [
            {"id": name, "short": short[name], "png": png}
            for name, png in zip(ids, images, strict=True)
        ],
        "rows": rows,
        "note": " ".join(_notes(shown, trials, known, left, without)),
        "point": str(source.point),
    }


def _fitting(
    shown: Shown,
    trials: Sequence[Mapping[Any, Any]],
    rows_of: Mapping[str, Sequence[Mapping[str, Any]]],
    spent: int,
) -> set[str]:
    """Return the trials whose pictures the page has room for, the best purchases first."""
    means = {
        key: float(cell["robust_auroc_mean"])
        for key, cell in zip(shown.keys, shown.cells, strict=True)
    }

    def place(trial: Mapping[Any, Any]) -> float:
        mean = means[trial["specificity"], trial["budget"], trial["method"]]
        return math.inf if math.isnan(mean) else -mean

    kept: set[str] = set()
    for trial in sorted(trials, key=place):
        rows = rows_of[trial["trial_id"]]
        size = sum(len(tile["png"] or "") for row in rows for tile in row["tiles"])
        if kept and spent + size > MOST_BYTES:
            break
        kept.add(trial["trial_id"])
        spent += size
    return kept


def _choose(table: pd.DataFrame) -> tuple[list[dict[str, Any]], int]:
    """Return groups of label and attributes with the ids of their images, and how many are left."""
    names = sorted(str(name) for name in table.columns if str(name).startswith(PREFIX))
    of = {row["sample_id"]: row for row in table[table["picture"] == "image"].to_dict("records")}
    groups: dict[tuple[Any, ...], list[str]] = {}
    every = in_groups(table)
    for sample_id in every:
        row = of[sample_id]
        values = tuple(None if pd.isna(row[name]) else bool(row[name]) for name in names)
        groups.setdefault((int(row["label"]), *values), []).append(sample_id)
    each = max(1, MOST_IMAGES // len(groups))
    chosen = [
        {"words": _describe_group(key, names), "ids": ids[:each]} for key, ids in groups.items()
    ]
    chosen = chosen[:MOST_IMAGES]
    return chosen, len(every) - sum(len(group["ids"]) for group in chosen)


def _describe_group(key: tuple[Any, ...], names: Sequence[str]) -> str:
    """Return `y = 1, tube`, `y = 0, no tube`, or with unknown attributes `tube?`."""
    parts = [f"y = {key[0]}"]
    for name, value in zip(names, key[1:], strict=True):
        word = name.removeprefix(PREFIX)
        parts.append(f"{word} not known" if value is None else word if value else f"no {word}")
    return ", ".join(parts)


def _contradicts(table: pd.DataFrame, sample_id: str, directions: Mapping[str, int]) -> bool:
    """Return whether robust AUROC is of this image's group."""
    row = table[(table["picture"] == "image") & (table["sample_id"] == sample_id)].iloc[0]
    names = [name for name in directions if PREFIX + name in table.columns]
    values = [row[PREFIX + name] for name in names]
    coded = [[UNKNOWN if pd.isna(value) else int(value) for value in values]]
    signs = [directions[name] for name in names]
    label = np.array([int(row["label"])])
    return bool(mostly_contradicts(label, np.array(coded, np.int8), signs)[0]) if names else False


def _labels(table: pd.DataFrame) -> dict[str, int]:
    of = table[(table["picture"] == "image") & table["sample_id"].notna()]
    return {str(name): int(y) for name, y in zip(of["sample_id"], of["label"], strict=True)}


def _read_answers(source: ReportInput, trial_ids: Sequence[str]) -> dict[str, Answers]:
    """Read scores and thresholds of trials at their kept epoch, as far as they are stored."""
    if source.read_predictions is None:
        return {}
    return {
        table.column("trial_id")[0].as_py(): answers_of(table, source.point)
        for table in source.read_predictions(sorted(trial_ids))
        if table.num_rows
    }


def answers_of(table: pa.Table, point: OperatingPoint) -> Answers:
    """Return what a trial's `predictions` say at the kept epoch.

    Args:
        table: Its rows of `predictions`.
        point: How the threshold is fixed on validation.
    """
    import pyarrow.compute as pc

    kept = table.filter(table.column("kept"))
    val, test = (kept.filter(pc.equal(kept.column("split"), split)) for split in ("val", "test"))
    labels, scores = (val.column(name).to_numpy() for name in ("label", "score"))
    columns = (test.column(name).to_pylist() for name in ("sample_id", "score"))
    return Answers(dict(zip(*columns, strict=True)), point.threshold(labels, scores))


def _rows(
    source: ReportInput,
    trial: Mapping[Any, Any],
    ids: Sequence[str],
    answers: Answers | None,
    labels: Mapping[str, int],
) -> list[dict[str, Any]]:
    """Return a purchase's rows: what it answered, and a row of tiles for each kind of map."""
    table = source.examples[trial["trial_id"]]
    by_picture = {
        (row["picture"], None if pd.isna(row["sample_id"]) else row["sample_id"], row["label"]): row
        for row in table.to_dict("records")
    }
    kinds = [kind for kind in MAPS if (table["picture"] == kind).any()]
    name = sentence(describe_cell(trial["cell"]))
    rows = []
    for place, kind in enumerate(kinds):
        means = [by_picture.get((kind, None, label)) for label in (0, 1)]
        of_images = [by_picture.get((kind, sample_id, labels[sample_id])) for sample_id in ids]
        each_answer = [None, None, *(_answer(answers, name, labels[name]) for name in ids)]
        rows.append(
            {
                "purchase": name if place == 0 else "",
                "seed": int(trial["seed"]),
                "threshold": NONE if answers is None else number(answers.threshold),
                "kind": KINDS[kind],
                "tiles": [
                    {
                        "png": None if of is None else _encode(tile(of, True)),
                        "answer": answer if place == 0 else None,
                    }
                    for of, answer in zip([*means, *of_images], each_answer, strict=True)
                ],
            }
        )
    return rows


def _answer(answers: Answers | None, sample_id: str, label: int) -> dict[str, Any] | None:
    """Return score and answer of one image; None where its score is not stored."""
    if answers is None or sample_id not in answers.scores:
        return None
    score = answers.scores[sample_id]
    if math.isnan(answers.threshold) or math.isnan(score):
        return {"score": number(score), "words": "no answer", "is_wrong": False}
    positive = score >= answers.threshold
    is_wrong = positive != (label == 1)
    words = "abnormal" if positive else "normal"
    return {"score": number(score), "words": words, "is_wrong": is_wrong}


def _notes(
    shown: Shown,
    trials: Sequence[Mapping[Any, Any]],
    known: Mapping[str, Answers],
    left: int,
    without: int,
) -> list[str]:
    notes = []
    if missing := len(shown.keys) - len(trials):
        notes.append(
            f"{missing:,} of {count_of(len(shown.keys), 'purchase')} kept no pictures: their "
            "trials ran without `examples`."
        )
    if unscored := sum(trial["trial_id"] not in known for trial in trials):
        notes.append(
            f"{sentence(count_of(unscored, 'purchase'))} {has_or_have(unscored)} no stored scores."
        )
    if left:
        notes.append(
            f"{count_of(left, 'more example image')} {is_or_are(left)} in the tables and not on "
            "the page."
        )
    if without:
        notes.append(
            f"{count_of(without, 'more purchase')} {has_or_have(without)} pictures, which would "
            "make the page long."
        )
    return notes


def _encode(pixels: Pixels) -> str:
    """Return PNG bytes of few colours as base64."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).quantize(COLOURS).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
