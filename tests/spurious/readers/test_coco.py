"""COCO JSON, written by hand as tools export it."""

from __future__ import annotations

import copy
import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from marks_files import EXPORT, SQUARE

from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues
from spurious.readers.marks.coco import CocoImage, draw_coco
from spurious.readers.marks.coco_files import match_images, read_coco
from spurious.readers.marks.coco_rle import decode_coco_rle

A = [
    [1, 0, 0, 0, 1, 1],
    [0, 1, 1, 0, 1, 1],
    [0, 1, 1, 0, 0, 0],
    [0, 0, 0, 0, 0, 0],
]


def read(
    folder: Path, export: dict[str, Any], *categories: str, count: int = 0
) -> dict[str, CocoImage]:
    """Write and read an export that has `count` problems."""
    path, issues = folder / "coco.json", ReaderIssues()
    path.write_text(json.dumps(export))
    images = read_coco(path, issues, categories)
    assert issues.count == count, issues.shown
    if issues.count:
        issues.raise_if_any("coco")
    return images


def changed(**changes: Any) -> dict[str, Any]:
    """Change the first annotation of the export; None removes a key."""
    export = copy.deepcopy(EXPORT)
    export["annotations"][0].update(changes)
    return export


def test_polygons_and_both_run_lengths_are_drawn(tmp_path: Path) -> None:
    """Several polygons, an uncompressed and a compressed mask; boxes are those of what is drawn."""
    images = read(tmp_path, EXPORT)
    drawing = draw_coco(images["site/a.png"], 4, 6)
    assert drawing.mask is not None
    assert drawing.mask.astype(int).tolist() == A
    assert drawing.boxes.tolist() == [[1, 0, 6, 3], [0, 0, 1, 1]]
    compressed = draw_coco(images["c.png"], 4, 6)
    assert compressed.mask is not None
    assert compressed.mask.astype(int).tolist() == [
        [0, 1, 0, 0, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
    ]
    assert compressed.boxes.tolist() == [[1, 0, 3, 4]]


def test_a_listed_image_without_annotation_is_drawn_and_empty(tmp_path: Path) -> None:
    """Of a category, too: nobody saw a ruler on c.png."""
    images = read(tmp_path, EXPORT, "ruler")
    for name in ("site/b.png", "c.png"):
        drawing = draw_coco(images[name], 4, 6)
        assert drawing.mask is not None
        assert not drawing.mask.any()
        assert drawing.boxes.shape == (0, 4)
    ruler = draw_coco(images["site/a.png"], 4, 6)
    assert ruler.mask is not None
    assert ruler.mask.sum() == 1


def test_categories_are_found_in_any_case_and_the_nearest_is_named(tmp_path: Path) -> None:
    """Unless two differ in case alone; all that are lost are in one message."""

    def count(*categories: str) -> dict[str, int]:
        images = read(tmp_path, EXPORT, *categories)
        return {name: len(image.shapes) for name, image in images.items()}

    assert count("LESION") == count("lesion") != count()
    expected = "no category 'hair'; no category 'leson', did you mean lesion?; it has lesion, ruler"
    with pytest.raises(DataError, match=re.escape(expected)):
        read(tmp_path, EXPORT, "leson", "hair")
    two = {**EXPORT, "categories": [*EXPORT["categories"], {"id": 9, "name": "Lesion"}]}
    read(tmp_path, two, "lesion")
    with pytest.raises(DataError, match="category 'LESION' may be Lesion or lesion: write it"):
        read(tmp_path, two, "LESION")


def test_boxes_alone_draw_no_mask(tmp_path: Path) -> None:
    """Neither on their image nor, where no annotation has more, on one where nothing is."""
    export = changed(segmentation=[], bbox=[1, 0.5, 4, 2])
    some = draw_coco(read(tmp_path, export)["site/a.png"], 4, 6)
    assert some.mask is None
    assert some.boxes.tolist() == [[1, 0.5, 5, 2.5], [0, 0, 1, 1]]
    for annotation in export["annotations"]:
        annotation.update(segmentation=[], bbox=[0, 0, 2, 2])
    images = read(tmp_path, export)
    empty = draw_coco(images["site/b.png"], 4, 6)
    assert empty.mask is None
    assert empty.boxes.shape == (0, 4)


def test_shapes_past_the_border_are_clipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By more than a pixel with a warning; one below a pixel stays."""
    over = changed(segmentation=[[4, 2, 9, 2, 9, 5, 4, 5], [0.1, 0.1, 0.2, 0.1, 0.2, 0.2]])
    with caplog.at_level(logging.WARNING):
        drawing = draw_coco(read(tmp_path, over, "lesion")["site/a.png"], 4, 6)
    assert "annotation 10 of site/a.png goes 3.0 pixels past the image" in caplog.text
    assert drawing.mask is not None
    assert drawing.mask.sum() == 4 + 1
    assert drawing.boxes.tolist() == [[0.1, 0.1, 6, 4]]
    caplog.clear()
    draw_coco(read(tmp_path, changed(bbox=[0, 0, 6.4, 4], segmentation=[]))["site/a.png"], 4, 6)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"segmentation": [[7, 1, 9, 1, 9, 3]]}, "lies outside its image of 6 x 4"),
        ({"segmentation": [SQUARE, [0, 0, 400, 0, 400, 4]]}, "reaches far past it"),
        ({"segmentation": [], "bbox": [6, 0, 2, 2]}, "lies outside its image"),
        ({"segmentation": {"size": [6, 4], "counts": [24]}}, r"size \[6, 4\], and its image is 4"),
        ({"segmentation": {"size": [4, 6], "counts": [20]}}, "add up to 20 pixels instead of 4 x"),
    ],
)
def test_what_does_not_fit_the_image_is_refused(
    tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    """When it is drawn, with the annotation's id."""
    image = read(tmp_path, changed(**changes))["site/a.png"]
    with pytest.raises(DataError, match=f"annotation 10 of site/a.png: .*{what}"):
        draw_coco(image, 4, 6)


def test_an_image_of_another_size_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As a copy would be that was annotated; a file without sizes is warned of."""
    with pytest.raises(DataError, match=r"site/a\.png with 4 x 6 pixels, and the image has 8 x 12"):
        draw_coco(read(tmp_path, EXPORT)["site/a.png"], 8, 12)
    export = copy.deepcopy(EXPORT)
    del export["images"][0]["width"], export["images"][0]["height"]
    with caplog.at_level(logging.WARNING):
        image = read(tmp_path, export, "lesion")["site/a.png"]
    assert "1 images have no width and height" in caplog.text
    assert draw_coco(image, 8, 12).boxes.tolist() == [[1, 0, 6, 3]]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"id": 12}, "annotation 12: its id is missing, or another annotation has it"),
        ({"id": None}, "its id is missing"),
        ({"image_id": 9}, "annotation 10: its image_id 9 is not the id of an image"),
        ({"image_id": [1]}, "its image_id"),
        ({"segmentation": [[1, 1, 3, 1]]}, "4 numbers; expected 6"),
        ({"segmentation": [[*SQUARE, 1]]}, "9 numbers"),
        ({"segmentation": [["1", "1", 3, 1, 3, 3]]}, "not a list of numbers"),
        ({"segmentation": [[*SQUARE[:-1], 10**400]]}, "not finite, or far"),
        ({"segmentation": SQUARE}, "not a list of numbers"),
        ({"segmentation": "441M="}, "neither polygons nor a run-length mask"),
        ({"segmentation": {"counts": "441M="}}, "has no 'size' and 'counts'"),
        ({"segmentation": [], "bbox": [1, 1, 0, 3]}, "0 wide and 3 high"),
        ({"segmentation": [], "bbox": [1, 1, 3]}, "neither a segmentation nor a 'bbox'"),
        ({"segmentation": None, "bbox": None}, "neither a segmentation nor a 'bbox'"),
        ({"segmentation": [], "bbox": [1, 1, "3", 3]}, "something else than numbers"),
    ],
)
def test_broken_annotations_are_problems_of_the_index(
    tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    """Each with the annotation's id."""
    with pytest.raises(DataError, match=what):
        read(tmp_path, changed(**changes), count=1)


@pytest.mark.parametrize(
    ("image", "what"),
    [
        ({"id": 2, "file_name": "d.png"}, "two images have the id 2"),
        ({"id": 4, "file_name": "./site/a.png"}, "two images have the file_name 'site/a.png'"),
        ({"id": 4}, "no id or no file_name"),
        ({"id": 4, "file_name": "d.png", "width": 5.5, "height": 4}, "height 4 and width 5.5"),
        ({"id": 4, "file_name": "d.png", "width": 5}, "height None and width 5"),
    ],
)
def test_broken_images_are_problems_of_the_index(
    tmp_path: Path, image: dict[str, Any], what: str
) -> None:
    """Ids and names that repeat, or sizes that are none."""
    export = copy.deepcopy(EXPORT)
    export["images"].append(image)
    with pytest.raises(DataError, match=what):
        read(tmp_path, export, count=1)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (json.dumps(EXPORT)[:-9], "not JSON, or cut off"),
        ("[" * 100_000, "not JSON, or cut off"),
        ('{"images": [{"id": NaN}]}', "NaN is not a number"),
        ('{"images": ' + "1" * 5000 + "}", "not JSON"),
        ('{"images": [], "images": []}', "the key 'images' is there twice"),
        ("[]", "holds a list"),
        ("\xff", "not UTF-8"),
        ('{"shapes": [], "imagePath": "a.png"}', "'images' is not a list.*export it as COCO"),
        ('{"images": [], "annotations": [1]}', "'annotations' is not a list of objects"),
        ('{"images": [], "annotations": []}', "no annotation; expected one"),
    ],
)
def test_files_that_are_no_coco_are_refused(tmp_path: Path, text: str, what: str) -> None:
    """Cut, nested without end, not JSON, another tool's own format; named."""
    path = tmp_path / "export.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=rf"export\.json: .*{what}"):
        read_coco(path, ReaderIssues())
    with pytest.raises(DataError, match=r"none\.json: cannot be read"):
        read_coco(tmp_path / "none.json", ReaderIssues())


def test_images_are_matched_by_path_and_then_by_a_unique_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An image that is not listed has no entry; one that two entries fit is a problem."""
    images, issues = read(tmp_path, EXPORT), ReaderIssues()
    with caplog.at_level(logging.WARNING):
        matches = match_images(images, ["site/a.png", "x/c.png", "new.png"], "coco.json", issues)
    assert {path: image.name for path, image in matches.items()} == {
        "site/a.png": "site/a.png",
        "x/c.png": "c.png",
    }
    assert "coco.json: 1 entries have no image (site/b.png)" in caplog.text
    assert not issues.count
    match_images(images, ["x/c.png", "y/c.png", "a.png"], "coco.json", issues)
    assert issues.shown == [
        "coco.json: 'c.png' is the name of 2 images (x/c.png, y/c.png) and of 1 entries (c.png); "
        "write the path from the images' folder as file_name"
    ]
    match_images(images, ["a.jpg"], "coco.json", issues)
    assert "no file_name matches an image (one is 'c.png', an image is 'a.jpg')" in issues.shown[1]


def test_compressed_counts_are_those_of_pycocotools() -> None:
    """Random masks, large runs among them, encoded by the tool that defines the format."""
    coco = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for share in (0.0, 0.02, 0.5, 1.0):
        mask = rng.random((37, 23)) < share
        mask = np.kron(mask, np.ones((1 if share == 0.5 else 9, 5), bool)) > 0
        code = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        held = {"size": list(code["size"]), "counts": code["counts"].decode()}
        assert (decode_coco_rle(held, *mask.shape) == mask).all()


@pytest.mark.parametrize(
    ("counts", "what"),
    [
        ("441M", "add up to"),
        ("441", "add up to"),
        ("4P", "end inside a number"),
        ("44 M=", "the character ' '"),
        ("44\\u00e9", "the character"),
        ("4441C", "a run of -"),
        ("PPPPPPPPP1", "above 32 bits"),
        ([4, -4, 24], "below 0"),
        ([4.0, 20], "neither text nor a list of integers"),
        ([True, 23], "neither text"),
        (None, "neither text"),
        ("", "add up to 0"),
    ],
)
def test_damaged_counts_are_refused(counts: Any, what: str) -> None:
    """pycocotools decodes most of these to some mask."""
    with pytest.raises(DataError, match=what):
        decode_coco_rle({"size": [4, 6], "counts": counts}, 4, 6)
    with pytest.raises(DataError, match="not an object"):
        decode_coco_rle([4, 20], 4, 6)
