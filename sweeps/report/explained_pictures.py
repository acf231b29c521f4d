"""Example test images, and what each purchase's model looks at on them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import matplotlib
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sweeps.report.cells import CELL, cell_keys
from sweeps.report.explained import KINDS
from sweeps.report.figure import STYLE, as_png
from sweeps.report.panels import INK
from sweeps.report.wording import annotation, images

TILE = 64
"""Side of a map in the picture, pixels."""
GAP = 4
LETTER = 7
"""Widest letter of a label, pixels."""
LINE = 40
"""Letters of a label's line."""
MOST_ROWS = 30
"""Purchases of the picture; those of the largest budget come first."""
MAPS = ("saliency", "grad-cam", "prediction")
OUTLINE = (64, 200, 120)
PREFIX = "spurious_"

Pixels = NDArray[np.uint8]


def examples_png(
    examples: Mapping[str, pd.DataFrame], priced: pd.DataFrame, cells: pd.DataFrame
) -> bytes | None:
    """Return example images and each purchase's maps of them, a row each; None without any.

    Args:
        examples: Trial id to its rows of `examples`; at most one trial per cell.
        priced: The result of `price_trials`.
        cells: The result of `cells`, whose order the rows have.
    """
    of_cell = {
        tuple(row[name] for name in CELL): row
        for row in priced[priced["trial_id"].isin(list(examples))].to_dict("records")
    }
    shown = [of_cell[key] for key in cell_keys(cells) if key in of_cell]
    if not shown:
        return None
    largest = max(row["cell"].budget.images or 10**9 for row in shown)
    shown = sorted(shown, key=lambda row: (row["cell"].budget.images or 10**9) != largest)
    shown = shown[:MOST_ROWS]
    first = examples[shown[0]["trial_id"]]
    ids = in_groups(first)
    rows = [("test images", _image_row(first, ids))]
    for trial in shown:
        table = examples[trial["trial_id"]]
        cell = trial["cell"]
        bought = f"{annotation(cell.specificity)} {images(cell.budget)}, {trial['method']}"
        rows += [
            (f"{bought}\n{KINDS[kind]}", _map_row(table, kind, ids))
            for kind in MAPS
            if (table["picture"] == kind).any()
        ]
    return _draw_rows(rows, _headings(first, ids))


def in_groups(table: pd.DataFrame) -> list[str]:
    """Return the ids of the example images, group by group."""
    names = sorted(name for name in table.columns if str(name).startswith(PREFIX))
    of = table[(table["picture"] == "image") & table["sample_id"].notna()]
    ordered = of.sort_values(["label", *names, "sample_id"])
    return [str(name) for name in ordered["sample_id"]]


def _headings(table: pd.DataFrame, ids: Sequence[str]) -> list[str]:
    """Return a heading per column: means first, then label and attributes at each group's first."""
    names = sorted(name for name in table.columns if str(name).startswith(PREFIX))
    of = table[table["picture"] == "image"].set_index("sample_id")
    without = f"no {str(names[0]).removeprefix(PREFIX)}" if len(names) == 1 else "none"
    headings, before = ["mean\ny = 0", "mean\ny = 1"], ""
    for sample_id in ids:
        row = of.loc[sample_id]
        having = [str(name).removeprefix(PREFIX) for name in names if row[name] == 1]
        text = f"y = {row['label']}\n{', '.join(having) or without}"
        headings.append(text if text != before else "")
        before = text
    return headings


def tile(row: Mapping[Any, Any] | None, colour: bool) -> Pixels:
    """Return a picture as (TILE, TILE, 3), white where there is none; maps in colours."""
    if row is None:
        return np.full((TILE, TILE, 3), 255, np.uint8)
    shape = int(row["height"]), int(row["width"]), int(row["channels"])
    pixels = np.asarray(row["pixels"], np.uint8).reshape(shape)
    if row["picture"] == "prediction" and not pd.isna(row["sample_id"]):
        pixels = (pixels * float(row["highest"])).astype(np.uint8)  # probabilities, from 0 to 1
    enlarged = cv2.resize(pixels, (TILE, TILE), interpolation=cv2.INTER_NEAREST)
    if colour:
        mapped = matplotlib.colormaps["magma"](enlarged.reshape(TILE, TILE), bytes=True)
        return np.asarray(mapped[:, :, :3], np.uint8)
    return np.asarray(np.broadcast_to(np.atleast_3d(enlarged), (TILE, TILE, 3)), np.uint8)


def find_picture(table: pd.DataFrame, picture: str, sample_id: str) -> Mapping[Any, Any] | None:
    """Return the row of an image's picture; None where there is none."""
    rows = table[(table["picture"] == picture) & (table["sample_id"] == sample_id)]
    return None if rows.empty else rows.iloc[0].to_dict()


def _image_row(table: pd.DataFrame, ids: Sequence[str]) -> list[Pixels]:
    """Return the images with the outline of what is drawn on them; nothing under the means."""
    tiles = [tile(None, False), tile(None, False)]
    return [*tiles, *(outlined(table, sample_id) for sample_id in ids)]


def outlined(table: pd.DataFrame, sample_id: str) -> Pixels:
    """Return an example image, (TILE, TILE, 3), with the outline of its mask where there is one."""
    drawn = tile(find_picture(table, "image", sample_id), False).copy()
    if (mask := find_picture(table, "mask", sample_id)) is not None:
        inside = (tile(mask, False)[:, :, 0] > 127).astype(np.uint8)
        contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, contours, -1, OUTLINE, 1)
    return drawn


def _map_row(table: pd.DataFrame, kind: str, ids: Sequence[str]) -> list[Pixels]:
    means = table[(table["picture"] == kind) & table["sample_id"].isna()]
    of_label = {int(row["label"]): row for row in means.to_dict("records")}
    tiles = [tile(of_label.get(label), True) for label in (0, 1)]
    return [*tiles, *(tile(find_picture(table, kind, sample_id), True) for sample_id in ids)]


def _wrapped(text: str) -> str:
    """Break long lines, so that a label stays beside its row."""
    return "\n".join(
        part for line in text.splitlines() for part in textwrap.wrap(line, LINE) or [""]
    )


def _draw_rows(rows: Sequence[tuple[str, Sequence[Pixels]]], headings: Sequence[str]) -> bytes:
    rows = [(_wrapped(text), tiles) for text, tiles in rows]
    longest = max(len(line) for text, _ in rows for line in text.splitlines())
    step, left, top = TILE + GAP, 24 + LETTER * longest, 44
    height, width = top + step * len(rows), left + step * len(headings)
    canvas = np.full((height, width, 3), 255, np.uint8)
    for i, (_, tiles) in enumerate(rows):
        for j, tile in enumerate(tiles):
            y, x = top + i * step, left + j * step
            canvas[y : y + TILE, x : x + TILE] = tile
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.imshow(canvas, interpolation="nearest", aspect="auto")
        for i, (text, _) in enumerate(rows):
            middle = top + i * step + TILE / 2
            axes.text(left - 8, middle, text, ha="right", va="center", fontsize=8, color=INK)
        for j, text in enumerate(headings):
            axes.text(left + j * step, top - 6, text, va="bottom", fontsize=7, color=INK)
        return as_png(figure, 100)
