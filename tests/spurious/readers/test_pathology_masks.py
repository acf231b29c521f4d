"""Masks by image and pathology, in files written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues
from spurious.readers.marks.pathology_masks import (
    draw_pathology,
    read_pathology_masks,
    read_pathology_polygons,
)

FILM = "patient00001_study1_view1_frontal"
MASKS = {
    FILM: {
        "Pneumothorax": {"size": [4, 6], "counts": "441M="},
        "Edema": {"size": [4, 6], "counts": "h0"},  # all 24 are off
    }
}
POLYGONS = {
    FILM: {
        "img_size": [4, 6],
        "Support Devices": [[[1.0, 1.0], [3, 1], [3, 2], [1, 2]], [[5, 0], [5, 3]]],
    }
}


def write(folder: Path, held: Any) -> Path:
    """Write a file of the form."""
    path = folder / "gt.json"
    path.write_text(json.dumps(held))
    return path


def test_masks_and_polygons_are_drawn(tmp_path: Path) -> None:
    """Borders belong to polygons, as in the release's own code; what is not listed is empty."""
    film = read_pathology_masks(write(tmp_path, MASKS), ReaderIssues())[FILM]
    drawn = draw_pathology(film, "Pneumothorax", 4, 6)
    assert drawn.astype(int).tolist() == [
        [0, 1, 0, 0, 0, 0],
        [0, 1, 1, 0, 0, 0],
        *[[0, 1, 0, 0, 0, 0]] * 2,
    ]
    assert not draw_pathology(film, "Edema", 4, 6).any()
    film = read_pathology_polygons(write(tmp_path, POLYGONS), ReaderIssues())[FILM]
    drawn = draw_pathology(film, "Support Devices", 4, 6)
    assert drawn.astype(int).tolist() == [
        [0, 0, 0, 0, 0, 1],
        [0, 1, 1, 1, 0, 1],
        [0, 1, 1, 1, 0, 1],
        [0, 0, 0, 0, 0, 1],
    ]
    assert not draw_pathology(film, "Pneumothorax", 4, 6).any()


def test_what_does_not_fit_the_film_is_refused(tmp_path: Path) -> None:
    """Another size, a pathology that masks do not list, a polygon outside, a damaged mask."""
    film = read_pathology_masks(write(tmp_path, MASKS), ReaderIssues())[FILM]
    with pytest.raises(DataError, match=rf"Edema of {FILM}: .*size \[4, 6\]"):
        draw_pathology(film, "Edema", 6, 4)
    with pytest.raises(DataError, match=r"Lesion of .* which has Edema, Pneumothorax"):
        draw_pathology(film, "Lesion", 4, 6)
    film = read_pathology_polygons(write(tmp_path, POLYGONS), ReaderIssues())[FILM]
    with pytest.raises(DataError, match="img_size is 4 x 6, and the image has 8 x 12"):
        draw_pathology(film, "Support Devices", 8, 12)
    outside = {FILM: {"img_size": [4, 6], "Edema": [[[9, 1], [9, 2], [12, 2]]]}}
    film = read_pathology_polygons(write(tmp_path, outside), ReaderIssues())[FILM]
    with pytest.raises(DataError, match="a polygon lies outside the image of 4 x 6"):
        draw_pathology(film, "Edema", 4, 6)


@pytest.mark.parametrize(
    ("held", "what"),
    [
        (MASKS, r"img_size is None.*take gt_annotations, not gt_segmentations"),
        ({FILM: {"img_size": [4, 6.5]}}, r"img_size is \[4, 6.5\]"),
        ({FILM: []}, "not an object of pathologies"),
        ({FILM: {"img_size": [4, 6], "Edema": [[[1, 1]]]}}, "Edema: a polygon has 1 vertices"),
        ({FILM: {"img_size": [4, 6], "Edema": [[1, 1, 2, 2]]}}, "Edema: expected polygons"),
        ({FILM: {"img_size": [4, 6], "Edema": [[[1, 1], [2, 10**400]]]}}, "Edema: expected pol"),
        ({FILM: {"img_size": [4, 6], "Edema": [[[1, 1], [2, 1e300]]]}}, "Edema: a vertex is not"),
        ({FILM: {"img_size": [4, 6], "Edema": None}}, "Edema: expected polygons"),
    ],
)
def test_broken_polygons_are_problems_of_the_index(tmp_path: Path, held: Any, what: str) -> None:
    """With file, image and pathology."""
    issues = ReaderIssues()
    read_pathology_polygons(write(tmp_path, held), issues)
    with pytest.raises(DataError, match=rf"gt\.json: {FILM}:? .*{what}|gt\.json: {FILM} is {what}"):
        issues.raise_if_any("cxl")


def test_broken_masks_are_problems_of_the_index(tmp_path: Path) -> None:
    """Polygons where masks are expected, an empty file, and counts that were cut."""
    issues = ReaderIssues()
    read_pathology_masks(write(tmp_path, POLYGONS), issues)
    assert "take gt_segmentations, not gt_annotations" in issues.shown[0]
    with pytest.raises(DataError, match="no image in it"):
        read_pathology_masks(write(tmp_path, {}), issues)
    cut = {FILM: {"Edema": {"size": [4, 6], "counts": "441M"}}}
    film = read_pathology_masks(write(tmp_path, cut), ReaderIssues())[FILM]
    with pytest.raises(DataError, match=f"Edema of {FILM}: counts .* add up to"):
        draw_pathology(film, "Edema", 4, 6)
