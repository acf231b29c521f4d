"""Masks and boxes of a folder: what is drawn, what is empty, what nobody drew."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from small_folder import (
    COLUMNS,
    HEIGHT,
    NAMES,
    ROWS,
    WIDTH,
    reader,
    refusal,
    write_csv,
    write_images,
    write_mask,
    write_team,
)

from spurious.errors import DataError
from spurious.readers.images import turn_upright
from spurious.readers.resize import shrink_mask

HALF = (slice(4, 8), slice(5, 10))
"""Rows and columns of a lesion."""

RSNA = ("x", "y", "width", "height")


def states(folder: Path, **options: Any) -> dict[str, tuple[bool | None, int | None, int]]:
    """By image: whether its mask holds pixels, number of boxes, abnormalities."""
    source = reader(folder, **options)
    return {
        record.sample_id: (
            None if record.mask is None else bool(record.mask.any()),
            None if record.boxes is None else len(record.boxes),
            record.abnormalities,
        )
        for record in map(source.load, source.index())
    }


def test_blank_is_not_drawn_and_zeros_are_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A positive with an empty mask is warned of; a negative may hold a lesion."""
    masks = {name: (f"masks/{name}.png",) for name in "abc"}
    write_team(tmp_path, ("mask_file_name",), masks)
    write_mask(tmp_path / "masks" / "a.png", *HALF)
    write_mask(tmp_path / "masks" / "b.png", *HALF)
    write_mask(tmp_path / "masks" / "c.png")
    held = states(tmp_path)
    assert held["a"] == held["b"] == (True, None, 1)
    assert (held["c"], held["d"]) == ((False, None, 0), (None, None, 0))
    assert [record.message for record in caplog.records if "empty" in record.message] == [
        "c: label 1 with a mask that is drawn and empty; look whether it was forgotten"
    ]
    record = reader(tmp_path).load("b")
    assert record.outline is not None
    assert record.outline.area == 20 / (HEIGHT * WIDTH)
    assert reader(tmp_path).load("d").outline is None
    empty = states(tmp_path, normal_images="empty")
    assert (empty["d"], empty["h"]) == ((False, None, 0), (None, None, 0))


def test_partial_says_whether_every_image_has_its_mask(tmp_path: Path) -> None:
    """Only with boxes or without some masks; readers of normal images count."""
    write_team(tmp_path)
    for name, label, *_ in ROWS:
        if label:
            write_mask(tmp_path / "masks" / str(name), *HALF)
    source, filled = reader(tmp_path), reader(tmp_path, normal_images="empty")
    assert (source.partial, filled.partial) == (True, False)
    assert "4 of 8 images have a mask, 0 have boxes of their own" in source.notes
    added = "4 more of label 0 without a mask count as drawn and empty (normal_images=empty)"
    assert f"4 of 8 images have a mask, 0 have boxes of their own; {added}" in filled.notes


def test_notes_say_how_many_images_get_empty_boxes(tmp_path: Path) -> None:
    """A normal image with a box keeps it; nothing is filled where nobody drew anything."""
    columns = ("x_min", "y_min", "x_max", "y_max")
    write_team(tmp_path, columns, {"a": (1, 1, 5, 5), "b": (1, 1, 5, 5)})
    note = "0 of 8 images have a mask, 2 have boxes of their own; 3 more of label 0 without a box"
    assert any(held.startswith(note) for held in reader(tmp_path, normal_images="empty").notes)
    drawn = states(tmp_path, normal_images="empty").values()
    assert sum(boxes is not None for _, boxes, _ in drawn) == 5
    write_team(tmp_path)
    bare = reader(tmp_path, normal_images="empty").notes
    assert "0 of 8 images have a mask, 0 have boxes of their own" in bare


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("a.png", "masks/a.bmp"),
        ("a.png", "masks/a_segmentation.tif"),
        ("train/images/a.png", "train/masks/a.png"),
        ("train/yes/a.png", "masks/train/yes/a.png"),
        ("images/a.png", "deep/masks/a_mask.png"),
    ],
)
def test_masks_have_the_name_of_their_image(image: str, mask: str, tmp_path: Path) -> None:
    """In a folder of masks anywhere, with any ending."""
    write_images(tmp_path, [image, *NAMES[1:]])
    rows = [(image if row[0] == "a.png" else row[0], *row[1:]) for row in ROWS]
    write_csv(tmp_path / "metadata.csv", COLUMNS, rows)
    write_mask(tmp_path / mask, *HALF)
    source = reader(tmp_path)
    record = source.load(image.removesuffix(".png"))
    assert record.mask is not None
    assert record.mask.any()
    assert sum(marks.has_mask for marks in source.contents.marks.values()) == 1


def test_masks_of_no_image_are_refused(tmp_path: Path) -> None:
    """Else a folder of masks with other names would count as not drawn without a word."""
    write_team(tmp_path)
    write_mask(tmp_path / "masks" / "lesion_1.png", *HALF)
    assert "1 of 1 files in masks have the name of no image (masks/lesion_1.png)" in refusal(
        tmp_path
    )


def test_a_column_of_masks_next_to_images_of_the_same_name(tmp_path: Path) -> None:
    """Mask files of any folder are not images; their folder tells the two apart."""
    write_images(tmp_path / "images", NAMES)
    rows = [(*row, f"seg/{row[0]}") for row in ROWS]
    write_csv(tmp_path / "metadata.csv", (*COLUMNS, "mask"), rows)
    for name in NAMES:
        write_mask(tmp_path / "seg" / name, *HALF)
    source = reader(tmp_path)
    assert [source.load(i).mask is not None for i in source.index()] == [True] * 8
    assert source.provenance()["images_without_row"] == "0"


@pytest.mark.parametrize(
    ("cell", "reason"),
    [("masks/z.png", "is not a file"), ("../z.png", "leads out"), ("a.png", "names an image")],
)
def test_a_cell_that_names_no_mask_is_refused(cell: str, reason: str, tmp_path: Path) -> None:
    """Only a blank one says that nobody drew."""
    write_team(tmp_path, ("mask_file_name",), {"a": (cell,)})
    message = refusal(tmp_path)
    assert reason in message
    assert "metadata.csv line 2" in message


def test_boxes_in_four_columns(tmp_path: Path) -> None:
    """Several rows are several boxes; an image with a mask keeps both."""
    write_team(tmp_path, RSNA, {"b": (0, 0, 10, 8), "c": (2.5, 2, 5, 4)})
    with (tmp_path / "metadata.csv").open("a") as file:
        file.write("b.png,1,1,0,p1,train,15,8,5,8\n")
    write_mask(tmp_path / "masks" / "c.png", slice(2, 6, 2), slice(3, 7))
    held = states(tmp_path)
    assert (held["a"], held["b"], held["c"]) == ((None, None, 0), (None, 2, 2), (True, 1, 2))
    boxes = reader(tmp_path).load("b").boxes
    assert boxes is not None
    assert boxes.dtype == np.int32
    assert boxes.tolist() == [[0, 0, 4, 4], [6, 4, 8, 8]]
    named = {"boxes": "x,y,width,height", "box_form": "x0 y0 x1 y1"}
    assert "line 10: box 15, 8, 5, 8 is -10 wide" in refusal(tmp_path, **named)
    assert states(tmp_path, normal_images="empty")["a"] == (False, 0, 0)
    assert "box_form" in refusal(tmp_path, boxes="ruler,ink,label,width")


def test_bad_boxes_are_named_by_their_lines(tmp_path: Path) -> None:
    """Blank in part, no number, and outside the image."""
    cells = {"a": (1, 2, "", 4), "b": (1, 2, "w", 4), "c": (50, 50, 4, 4)}
    write_team(tmp_path, RSNA, cells)
    message = refusal(tmp_path)
    assert "line 2" in message
    assert "line 3" in message
    write_team(tmp_path, RSNA, {"c": cells["c"]})
    with pytest.raises(DataError, match=r"c\.png.*outside"):
        reader(tmp_path).load("c")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        # 4 rows of 5 pixels from row 4, column 5 of 16 x 20 pixels, in three conventions
        (("absolute", 1, "rows"), "86 5 106 5 126 5 146 5"),
        (("absolute", 0, "columns"), "84 4 100 4 116 4 132 4 148 4"),
        (("relative", 0, "columns"), "84 4 12 4 12 4 12 4 12 4"),
    ],
)
def test_codes_in_the_declared_convention(
    options: tuple[str, int, str], code: str, tmp_path: Path
) -> None:
    """-1 is empty, blank is not drawn; a wrong declaration of starts is refused by its lines."""
    write_team(tmp_path, ("EncodedPixels",), {"b": (code,), "e": ("-1",)})
    declared = dict(zip(("rle_starts", "rle_base", "rle_order"), options, strict=True))
    source = reader(tmp_path, rle="EncodedPixels", **declared)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[HALF] = True
    record = source.load("b")
    assert record.mask is not None
    assert np.array_equal(record.mask, shrink_mask(mask, 8, 8))
    held = states(tmp_path, rle="EncodedPixels", **declared)
    assert (held["a"], held["e"]) == ((None, None, 0), (False, None, 0))
    other = {"absolute": "relative", "relative": "absolute"}[options[0]]
    message = refusal(tmp_path, rle="EncodedPixels", **{**declared, "rle_starts": other})
    assert "line" in message


EXPORT = {
    "images": [
        {"id": n, "file_name": name, "height": HEIGHT, "width": WIDTH}
        for n, name in enumerate(NAMES)
    ],
    "categories": [{"id": 1, "name": "lesion"}, {"id": 2, "name": "ruler"}],
    "annotations": [
        {"id": 1, "image_id": n, "category_id": 1, "bbox": [5, 4, 5, 4], "area": 20, "iscrowd": 0}
        | {"id": n, "segmentation": [[5, 4, 10, 4, 10, 8, 5, 8]]}
        for n, row in enumerate(ROWS)
        if row[1]
    ]
    + [{"id": 99, "image_id": 0, "category_id": 2, "segmentation": [[0, 0, 4, 0, 4, 4]]}],
}


def test_a_coco_export_gives_masks_and_labels(tmp_path: Path) -> None:
    """Images that it lists were looked at; of the categories, the named one counts."""
    write_images(tmp_path, NAMES)
    write_csv(tmp_path / "m.csv", ("file_name", "split"), [(row[0], row[5]) for row in ROWS])
    (tmp_path / "coco.json").write_text(json.dumps(EXPORT))
    options = {"table": str(tmp_path / "m.csv"), "coco": "coco.json", "category": "lesion"}
    held = states(tmp_path, **options, label="coco")
    labels = reader(tmp_path, **options, label="coco").contents.entries
    for row in ROWS:
        name = str(row[0])[0]
        assert labels[name].label == row[1]
        assert held[name] == ((True, None, 1) if row[1] else (False, None, 0))
    assert "--set label=COLUMN" in refusal(tmp_path, **options)


def test_a_coco_file_of_boxes_in_each_split_folder(tmp_path: Path) -> None:
    """As Roboflow exports them: names are relative to the split's folder."""
    names: dict[str, list[str]] = {}
    for name, *_, split in ROWS:
        folder = {"val": "valid"}.get(str(split), str(split))
        write_images(tmp_path / folder, [str(name)])
        names.setdefault(folder, []).append(str(name))
    labels = {str(row[0]): row[1] for row in ROWS}
    for folder, held in names.items():
        images = [{"id": i, "file_name": name} for i, name in enumerate(held)]
        boxes = [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [5, 4, 5, 4]}
            for i, name in enumerate(held)
            if labels[name]
        ]
        export = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "x"}]}
        (tmp_path / folder / "_annotations.coco.json").write_text(json.dumps(export))
    held_by = states(tmp_path, coco="_annotations.coco.json", label="coco")
    assert held_by["train/b"] == (None, 1, 1)
    assert held_by["valid/e"] == (None, 0, 0)


@pytest.mark.parametrize("stored", [True, False])
def test_masks_are_turned_as_their_images_are(stored: bool, tmp_path: Path) -> None:
    """A mask of the size before turning is turned along; an upright one stays."""
    write_team(tmp_path)
    upright = np.zeros((HEIGHT, WIDTH), np.uint8)
    upright[HALF] = 255
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(turn_upright(upright, 8)).save(tmp_path / "b.png", exif=exif)
    (tmp_path / "masks").mkdir()
    mask = turn_upright(upright, 8) if stored else upright
    Image.fromarray(mask).save(tmp_path / "masks" / "b.png")
    record = reader(tmp_path).load("b")
    assert record.mask is not None
    assert np.array_equal(record.mask, shrink_mask(upright > 0, 8, 8))
    assert np.array_equal(record.image[..., 0] > 0, record.mask)


def test_a_turned_image_with_a_mask_of_either_size_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Upside down, both have one size: nothing shows which the mask has."""
    write_team(tmp_path)
    exif = Image.Exif()
    exif[274] = 3
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(tmp_path / "b.png", exif=exif)
    write_mask(tmp_path / "masks" / "b.png", *HALF)
    with caplog.at_level(logging.WARNING):
        reader(tmp_path).load("b")
    assert "EXIF orientation 3; its mask is taken as upright" in caplog.text


def test_classes_of_a_mask_are_chosen(tmp_path: Path) -> None:
    """A mask of several classes is refused until the ones that count are named."""
    write_team(tmp_path)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[HALF], labels[0] = 2, 1
    (tmp_path / "masks").mkdir()
    Image.fromarray(labels).save(tmp_path / "masks" / "b.png")
    with pytest.raises(DataError, match="several classes"):
        reader(tmp_path).load("b")
    record = reader(tmp_path, mask_values="2").load("b")
    assert record.mask is not None
    assert np.array_equal(record.mask, shrink_mask(labels == 2, 8, 8))


def test_boxes_of_hugging_faces_objects(tmp_path: Path) -> None:
    """x, y, width, height in lists; an empty list says that somebody looked."""
    write_images(tmp_path, NAMES)
    boxes = {"b": [[0, 0, 10, 8], [15, 8, 5, 8]], "a": []}
    lines = []
    for row in ROWS:
        cells: dict[str, Any] = dict(zip(COLUMNS, row, strict=True))
        if row[0][0] in boxes:
            held = boxes[row[0][0]]
            cells["objects"] = {"bbox": held, "categories": [0] * len(held)}
        lines.append(json.dumps(cells))
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    held_by = states(tmp_path)
    assert [held_by[i][1] for i in "abc"] == [0, 2, None]
    record = reader(tmp_path).load("b")
    assert record.boxes is not None
    assert record.boxes.tolist() == [[0, 0, 4, 4], [6, 4, 8, 8]]


def test_masks_among_the_images_are_refused(tmp_path: Path) -> None:
    """Else they would be staged as images; moved as the message says, they are masks."""
    write_team(tmp_path)
    write_mask(tmp_path / "b_mask.png", *HALF)
    assert "1 files look like masks and not like images (b_mask.png)" in refusal(tmp_path)
    assert list(reader(tmp_path, mask="none").index()) == list("abcdefgh")
    (tmp_path / "lesion_masks").mkdir()
    shutil.copy(tmp_path / "b_mask.png", tmp_path / "lesion_masks" / "b_mask.png")
    assert "--set masks=lesion_masks" in refusal(tmp_path)
    shutil.rmtree(tmp_path / "lesion_masks")
    (tmp_path / "masks").mkdir()
    (tmp_path / "b_mask.png").rename(tmp_path / "masks" / "b_mask.png")
    assert states(tmp_path)["b"] == (True, None, 1)


def test_masks_of_volumetric_formats(tmp_path: Path) -> None:
    """A NIfTI label map and a DICOM Segmentation, by the name of their image."""
    write_team(tmp_path)
    (tmp_path / "masks").mkdir()
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[HALF] = 1
    as_itk_stores_pictures = nibabel.Nifti1Image(mask.T[..., None], np.diag([-1.0, -1.0, 1.0, 1.0]))
    nibabel.save(as_itk_stores_pictures, tmp_path / "masks" / "c.nii.gz")
    slice_of_ct = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    values = np.zeros((1, 128, 128), np.uint8)
    values[0, 32:64, 32:64] = 1
    code = highdicom.sr.CodedConcept("1", "99X", "x")
    manual = highdicom.seg.SegmentAlgorithmTypeValues.MANUAL
    described = [highdicom.seg.SegmentDescription(1, "lesion", code, code, manual)]
    segmentation = highdicom.seg.Segmentation(
        [slice_of_ct], values, "BINARY", described, "1.2.7", 1, "1.2.8", 1, *"abcd"
    )
    segmentation.save_as(tmp_path / "masks" / "b.dcm")
    Image.fromarray(values[0]).save(tmp_path / "b.png")
    source = reader(tmp_path)
    drawn = {name: source.load(name).mask for name in "bc"}
    assert np.array_equal(drawn["c"], shrink_mask(mask > 0, 8, 8))
    assert np.array_equal(drawn["b"], shrink_mask(values[0] > 0, 8, 8))
