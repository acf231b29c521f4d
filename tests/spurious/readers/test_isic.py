"""Reader of ISIC 2018 task 1 with trap splits, on a phantom folder in its format."""

from __future__ import annotations

import io
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spurious.config.datasets import IsicOptions
from spurious.data.specificity import count_components
from spurious.errors import DataError
from spurious.generators.skin.isic_writer import image_id, write_isic
from spurious.generators.skin.skin_phantom import DRAWN, Case, SkinPhantom, draw_cases, render_case
from spurious.readers.isic.isic import Isic
from spurious.readers.isic.isic_files import ATTRIBUTES, IMAGE_FOLDER, MASK_FOLDER
from spurious.readers.resize import shrink_image, shrink_mask

PHANTOM = SkinPhantom(n_train=12, n_val=6, n_test=8, prevalence=0.5, width=96, seed=3)
HEIGHT = 72


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole phantom release, read only."""
    folder = tmp_path_factory.mktemp("isic") / "release"
    write_isic(folder, PHANTOM)
    return folder


@pytest.fixture
def folder(released: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(released, tmp_path / "release"))


def source(folder: Path, size: int = HEIGHT) -> Isic:
    """The reader under test."""
    return Isic(folder, IsicOptions(image_size=size))


def cases(split: str | None = None, malignant: bool | None = None) -> list[Case]:
    """The phantom's truth."""
    return [
        case
        for case in draw_cases(PHANTOM)
        if split in (None, case.split) and malignant in (None, case.malignant)
    ]


def picture(folder: Path, case: Case) -> Path:
    """Where an image lies."""
    return folder / IMAGE_FOLDER / f"{image_id(case)}.jpg"


def mask_of(folder: Path, case: Case) -> Path:
    """Where its mask lies."""
    return folder / MASK_FOLDER / f"{image_id(case)}_segmentation.png"


def rows(folder: Path, split: str, edit: Callable[[list[str]], list[str]]) -> None:
    """Rewrite the lines of a table under its header."""
    path = folder / f"isic_annotated_{split}1.csv"
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *edit(lines)]) + "\n")


def message(folder: Path) -> str:
    """What reading the index says is wrong."""
    with pytest.raises(DataError) as caught:
        source(folder).index()
    return str(caught.value)


@pytest.mark.parametrize("size", [HEIGHT, 32, 50])
def test_every_record_is_the_phantoms_truth(released: Path, size: int) -> None:
    """Ids, splits, labels, artefacts and masks of both labels; oblong images become squares."""
    reader = source(released, size)
    assert list(reader.index()) == [image_id(case) for case in cases()]
    assert reader.attribute_names == tuple(sorted(DRAWN)) == ATTRIBUTES
    for case in cases():
        record = reader.load(image_id(case))
        image, mask = render_case(PHANTOM, case)
        assert image.shape == (HEIGHT, 96, 3)
        assert record.split == case.split
        assert record.label == case.malignant
        assert record.patient_id == record.sample_id
        assert record.attributes == case.artefacts
        assert (record.mask == shrink_mask(mask, size, size)).all()
        assert record.mask.any()
        assert record.abnormalities == count_components(mask)
        expected = shrink_image(image, size, size).astype(int)
        assert record.image.shape == (size, size, 3)
        assert record.image.dtype == np.uint8
        # JPEG is lossy, most of all where hairs are: level with the picture on average
        assert np.abs(record.image - expected).mean() < 8


def test_colours_are_in_the_order_red_green_blue(released: Path) -> None:
    """Skin is more red than blue."""
    red, _, blue = source(released).load(image_id(cases()[0])).image.mean(axis=(0, 1))
    assert red > blue + 20


def test_images_of_val_are_taken_out_of_train(folder: Path) -> None:
    """The release has them in both tables; those of test are in one."""
    train = (folder / "isic_annotated_train1.csv").read_text()
    assert all(image_id(case) in train for case in cases("val"))
    assert not any(image_id(case) in train for case in cases("test"))
    reader = source(folder)
    found = [reader.load(image).split for image in reader.index()]
    assert [found.count(split) for split in ("train", "val", "test")] == [12, 6, 8]


def test_pickled_source_needs_no_index_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers get the index with the source, wherever they run; a relative folder stays it."""
    monkeypatch.chdir(folder.parent)
    reader = Isic(Path("release"), IsicOptions(image_size=HEIGHT, traps="release"))
    monkeypatch.chdir("/")
    ids = reader.index()
    clone = pickle.loads(pickle.dumps(reader))
    (folder / "isic_annotated_train1.csv").unlink()
    assert clone.load(ids[0]).sample_id == ids[0]
    assert reader.declared_directions == {}


def test_tables_may_lie_elsewhere_and_have_five_numbers(folder: Path, tmp_path: Path) -> None:
    """`traps` names their folder, `split` the number."""
    for split in ("train", "val", "test"):
        name = folder / f"isic_annotated_{split}1.csv"
        name.rename(tmp_path / f"isic_annotated_{split}4.csv")
    assert len(Isic(folder, IsicOptions(image_size=32, split=4, traps=str(tmp_path))).index()) == 26
    assert message(folder).count("cannot be read (No such file or directory)") == 3


def test_images_or_rows_without_a_partner_are_left_out_and_counted(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody labelled the one, nobody can see the other; both are logged and in provenance."""
    unlabelled, missing = cases("train")[:2]
    table = (folder / "isic_annotated_train1.csv").read_text()
    rows(folder, "train", lambda lines: [li for li in lines if image_id(unlabelled) not in li])
    reader = source(folder)
    assert set(reader.index()) == {image_id(c) for c in cases()} - {image_id(unlabelled)}
    held = reader.provenance()
    assert (held["images"], held["images_without_row"]) == ("25", "1")
    assert held["train_table"].startswith("isic_annotated_train1.csv sha256:")
    assert "1 images without row left out" in caplog.text
    with pytest.raises(DataError, match="no labelled image"):
        reader.load(image_id(unlabelled))
    (folder / "isic_annotated_train1.csv").write_text(table)
    picture(folder, missing).unlink()
    held = source(folder).provenance()
    assert (held["images_without_row"], held["rows_without_image"]) == ("0", "1")
    rows(folder, "train", lambda lines: [li for li in lines if image_id(unlabelled) not in li])
    assert (
        f"isic_annotated_test1.csv ({image_id(unlabelled)}), and 1 of its names have no image "
        f"({image_id(missing)})"
    ) in message(folder)


def test_names_that_differ_by_suffix_or_case_are_joined(folder: Path) -> None:
    """`.JPG`, `.jpeg` and `.PNG` files, and rows that name another suffix or none."""
    before = source(folder).index()
    for case, suffix in zip(cases(), (".JPG", ".jpeg", ".Jpeg"), strict=False):
        picture(folder, case).rename(picture(folder, case).with_suffix(suffix))
        mask_of(folder, case).rename(mask_of(folder, case).with_suffix(".PNG"))
    for split, suffix in (("train", ".JPG"), ("val", ".jpeg"), ("test", "")):
        rows(folder, split, lambda lines, end=suffix: [li.replace(".png", end) for li in lines])
    assert source(folder).index() == before
    shutil.copy(picture(folder, cases()[4]), picture(folder, cases()[4]).with_suffix(".JPEG"))
    assert "second file of that image" in message(folder)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(folder: Path, orientation: int) -> None:
    """A camera's EXIF orientation says how its pixels lie; values beyond 8 are refused."""
    case, exif = cases()[0], Image.Exif()
    path = picture(folder, case)
    with Image.open(path) as image:
        upright = np.asarray(image)
    # the stored pixels of each orientation, by the EXIF standard (CIPA DC-008, 4.6.4)
    turn = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
            5: upright.swapaxes(0, 1), 6: np.rot90(upright), 7: np.rot90(upright, 2).swapaxes(0, 1),
            8: np.rot90(upright, -1)}[orientation]  # fmt: skip
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(turn)).save(path, quality=98, subsampling=0, exif=exif)
    read = source(folder).load(image_id(case)).image.astype(int)
    assert np.abs(read - shrink_image(upright, HEIGHT, HEIGHT)).mean() < 3
    exif[0x0112] = 9
    Image.fromarray(upright).save(path, exif=exif)
    with pytest.raises(DataError, match=rf"{path.name}: .*EXIF orientation is 9"):
        source(folder).load(image_id(case))


@pytest.mark.parametrize("kind", ["picture", "mask"])
def test_damage_that_decoders_pass_over_is_refused(folder: Path, kind: str) -> None:
    """Half closed by an end mark, bytes zeroed, a chunk's CRC: the file is named."""
    case = cases()[0]
    path = picture(folder, case) if kind == "picture" else mask_of(folder, case)
    data = path.read_bytes()
    middle = len(data) // 2
    end = b"\xff\xd9" if kind == "picture" else data[-12:]
    for damaged in (
        data[:middle] + end,
        data[: middle - 20] + bytes(40) + data[middle + 20 :],
        data[:-13],
    ):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"{path.name}: cannot be read as "):
            source(folder).load(image_id(case))
    if kind == "picture":  # of which Pillow only warns
        cut_exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0"
        Image.open(io.BytesIO(data)).save(path, exif=cut_exif)
        with pytest.raises(DataError, match=rf"{path.name}: cannot be read as JPEG .Corrupt EXIF"):
            source(folder).load(image_id(case))
    path.write_bytes(data + b"trailing")
    assert source(folder).load(image_id(case)).mask.any()


def test_what_is_no_image_of_the_task_is_passed_over(folder: Path) -> None:
    """Superpixels of the release's other years, licences, and what macOS leaves behind."""
    case = cases()[0]
    (folder / IMAGE_FOLDER / f"{image_id(case)}_superpixels.jpg").write_bytes(b"x")
    (folder / IMAGE_FOLDER / f"._{image_id(case)}.jpg").write_bytes(b"x")
    (folder / MASK_FOLDER / "ATTRIBUTION.txt").write_text("x")
    assert len(source(folder).index()) == 26


def test_problems_of_tables_come_all_at_once(folder: Path) -> None:
    """One run names every bad line of all three tables; twenty in full, the others counted."""
    first, second, third, fourth = (image_id(case) for case in cases("train")[:4])
    val, test = image_id(cases("val")[0]), image_id(cases("test")[0])

    def changed(line: str) -> str:
        cells = line.split(",")
        if first in line:
            cells[2] = "yes"
        elif second in line:
            cells[-1] = "nevus"
        elif third in line:
            cells[-2] = str(1 - int(cells[-2]))
        elif fourth in line:
            cells[1] = "../../etc/passwd"
        elif val in line:
            cells[2] = str(1 - int(cells[2]))
        return ",".join(cells)

    rows(folder, "train", lambda lines: [*map(changed, lines), "5,only-two"])
    rows(folder, "test", lambda lines: [*lines, lines[0]])
    of_test = next(
        line
        for line in (folder / "isic_annotated_test1.csv").read_text().splitlines()
        if test in line
    )
    rows(folder, "val", lambda lines: [*lines, of_test])
    text = message(folder)
    assert text.startswith("isic: 8 problems")
    for part in (
        "dark_corner is 'yes' instead of 0 or 1",
        "label_string 'nevus'",
        "label is ",
        "image is '../../etc/passwd'; expected a name like ISIC_0000000.png",
        "2 cells instead of 12",
        "second row of ISIC_",
        f"{test} is in test, too (isic_annotated_test1.csv line ",
        f"{val} has other values than in isic_annotated_val1.csv line ",
    ):
        assert part in text
    rows(folder, "train", lambda lines: [f"{i},x" for i in range(30)])
    assert "and 12 more" in message(folder)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"a;b\n1;2\n", "delimiter looks like ';'"),
        (b"image,hair\n", "no column 'dark_corner', 'gel_border'"),
        ("image\n".encode("utf-16"), "not UTF-8"),
    ],
)
def test_tables_that_are_none_are_refused(folder: Path, content: bytes, what: str) -> None:
    """Each with its own reason and the file's name."""
    (folder / "isic_annotated_val1.csv").write_bytes(content)
    assert f"isic_annotated_val1.csv{': ' if content in (b'',) else ''}" in message(folder)
    assert what in message(folder)


def test_a_table_without_rows_is_refused(folder: Path) -> None:
    """A header alone is no split."""
    rows(folder, "val", lambda lines: [])
    assert "isic_annotated_val1.csv: no rows under its header" in message(folder)


def test_everything_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    """An empty folder lacks images, masks and three tables."""
    text = message(tmp_path)
    assert text.startswith("isic: 5 problems")
    assert f"no {IMAGE_FOLDER}/ISIC_0000000.jpg" in text
    assert f"no {MASK_FOLDER}/ISIC_0000000_segmentation.png" in text
    assert "see option 'traps'" in text


def test_missing_masks_are_named(folder: Path) -> None:
    """All of them, before a picture is decoded."""
    for case in cases("test")[:2]:
        mask_of(folder, case).unlink()
    text = message(folder)
    assert text.startswith("isic: 2 problems")
    assert all(f"{image_id(case)}: no {MASK_FOLDER}/" in text for case in cases("test")[:2])


def test_a_split_without_images_is_refused(folder: Path) -> None:
    """A partial download must not pass for a dataset without a test set."""
    for case in cases("test"):
        picture(folder, case).unlink()
    assert "no image with a row in split test" in message(folder)


def test_images_of_another_task_are_refused(folder: Path) -> None:
    """Task 3 has other images, which no row is of."""
    for i, path in enumerate(sorted((folder / IMAGE_FOLDER).glob("*.jpg"))):
        path.rename(path.with_stem(f"ISIC_{24306 + i:07d}"))
    assert "isic_annotated_test1.csv matches an image" in message(folder)


def test_links_that_leave_the_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    """A linked picture or mask could bring in anything; a link inside is fine."""
    first, second = cases("train")[:2]
    path = picture(folder, first)
    path.symlink_to(path.rename(folder / "inside"))
    assert len(source(folder).index()) == 26
    path.unlink()
    path.symlink_to((folder / "inside").rename(tmp_path / "outside"))
    mask = mask_of(folder, second)
    mask.symlink_to(mask.rename(tmp_path / "mask"))
    assert message(folder).count("a link that leaves the folder") == 2


def test_a_damaged_picture_is_named(folder: Path) -> None:
    """Cut off, of another format or grey: the path and what is wrong."""
    case = cases()[0]
    path = picture(folder, case)
    whole = path.read_bytes()
    os.truncate(path, 500)
    with pytest.raises(DataError, match=rf"{path.name}: cannot be read as JPEG"):
        source(folder).load(image_id(case))
    shutil.copy(mask_of(folder, case), path)
    with pytest.raises(DataError, match=rf"{path.name}: cannot be read as JPEG"):
        source(folder).load(image_id(case))
    path.write_bytes(whole)
    Image.open(path).convert("L").save(path)
    with pytest.raises(DataError, match=rf"{path.name}: colours are L instead of RGB"):
        source(folder).load(image_id(case))


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (np.zeros((HEIGHT, 96), np.uint8), "no lesion in it"),
        (np.full((HEIGHT, 96), 254, np.uint8), "6912 pixels are neither 0 nor 255"),
        (np.full((96, HEIGHT), 255, np.uint8), "96 x 72 pixels, and its image has 72 x 96"),
        (np.full((HEIGHT, 96, 3), 255, np.uint8), "colours are RGB instead of L or 1"),
    ],
)
def test_a_mask_that_is_none_is_named(folder: Path, values: np.ndarray, what: str) -> None:
    """Empty, not binary, of another size, or in colour."""
    case = cases()[0]
    path = mask_of(folder, case)
    Image.fromarray(values).save(path)
    with pytest.raises(DataError, match=rf"{path.name}: {what}"):
        source(folder).load(image_id(case))


def test_a_mask_of_one_bit_is_read(folder: Path) -> None:
    """Image tools store black and white so; the lesion is the same."""
    case = cases()[0]
    before = source(folder).load(image_id(case)).mask
    path = mask_of(folder, case)
    Image.open(path).convert("1").save(path)
    assert (source(folder).load(image_id(case)).mask == before).all()


def test_sizes_above_the_smaller_side_are_refused(released: Path) -> None:
    """Staging never enlarges, neither side."""
    with pytest.raises(DataError, match="72 x 96 pixels; expected sides of 73 or more"):
        source(released, 73).load(image_id(cases()[0]))
