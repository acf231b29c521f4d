"""Half-real films: masks and tube labels of tables, on films that are drawn."""

from __future__ import annotations

import hashlib
import pickle
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from siim_release import RELEASED_TABLE, RELEASED_TUBES, needs_table, needs_tubes

from spurious.config.datasets import SiimAcrOptions
from spurious.data.randomness import generator
from spurious.errors import DataError
from spurious.generators.chest.chest_anatomy import Anatomy, draw_anatomy
from spurious.generators.chest.half_real import HalfRealChest, render_half_real, unite
from spurious.generators.chest.half_real_writer import draw_half_real_cases, write_half_real
from spurious.generators.chest.placement import lung_at, place_around
from spurious.generators.chest.raster import region
from spurious.readers.siim_acr.siim_acr import SiimAcr

SIDE = 1024
UID = "1.2.276.0.7230010.3.1.4.8323329"


def block(left: int, top: int, width: int, height: int) -> str:
    """Spell a block's code by hand: a gap of a column less the run, from one run to the next."""
    return f"{left * SIDE + top} {height}" + f" {SIDE - height} {height}" * (width - 1)


TALL, FLAT = block(170, 200, 90, 160), block(200, 340, 120, 40)
RIGHT = block(760, 220, 80, 150)
LINES = (
    "ImageId, EncodedPixels",
    f"{UID}.10.1.5, {TALL}",
    f"{UID}.9.1.5, -1",
    f"{UID}.11.1.5, {RIGHT}",
    f"{UID}.10.1.5, {FLAT}",
    f"{UID}.12.1.5,-1",
    f"{UID}.3.1.5, {block(180, 640, 60, 200)}",
    f"{UID}.4.1.5, -1",
)
"""Six images: of train 9 and 10, which has two rows; of val 11 and 12; of test 3 and 4."""
TUBES = {f"{UID}.{number}.1.5": tube for number, tube in ((11, 1), (12, 0), (3, 0), (4, 1))}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> HalfRealChest:
    """Options that name the tables above, in the released formats."""
    folder = tmp_path_factory.mktemp("tables")
    (folder / "table.csv").write_text("\n".join(LINES) + "\n")
    labels = {image: bool(tube) for image, tube in TUBES.items()}
    (folder / "tubes.pkl").write_bytes(pickle.dumps(labels, protocol=4))
    return HalfRealChest(
        annotations=str(folder / "table.csv"),
        tubes=str(folder / "tubes.pkl"),
        detail=128,
        pneumothorax_contrast=2,
    )


@pytest.fixture(scope="module")
def written(tables: HalfRealChest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The six films as a folder."""
    folder = tmp_path_factory.mktemp("written") / "half-real"
    write_half_real(folder, tables)
    return folder


def films(folder: Path) -> dict[str, str]:
    """SHA-256 of every film by its image."""
    paths = (folder / "dicom-images-train").glob("*/*/*.dcm")
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_the_reader_finds_what_the_tables_say(written: Path) -> None:
    """Splits, labels, united masks and tubes; training films have a tube that nobody labelled."""
    reader = SiimAcr(written, SiimAcrOptions(image_size=SIDE))
    records = {image: reader.load(image) for image in reader.index()}
    splits = {"10": "train", "9": "train", "11": "val", "12": "val", "3": "test", "4": "test"}
    assert {image.split(".")[-3]: record.split for image, record in records.items()} == splits
    tubes = {image: record.attributes["tube"] for image, record in records.items()}
    assert tubes == dict.fromkeys(records) | TUBES
    united = records[f"{UID}.10.1.5"]
    expected = np.zeros((SIDE, SIDE), bool)
    expected[200:360, 170:260] = expected[340:380, 200:320] = True
    assert united.mask is not None
    assert np.array_equal(united.mask, expected)
    assert (united.label, united.abnormalities) == (1, 1)
    assert [records[f"{UID}.{n}.1.5"].label for n in (9, 12, 4)] == [0, 0, 0]
    assert len({record.patient_id for record in records.values()}) == 6
    assert reader.provenance()["synthetic"] == "spurious-sweeps half-real chest phantom"


def test_the_tables_of_the_folder_are_the_released_rows(written: Path) -> None:
    """Row by row, image by image, and the pickle in its order."""
    rows = (written / "train-rle.csv").read_text().splitlines()
    assert rows[0] == LINES[0]
    spelled = [line.replace(",-1", ", -1") for line in LINES[1:]]
    assert sorted(rows[1:]) == sorted(spelled)
    assert list(pickle.loads((written / "cxr_tube_dict.pkl").read_bytes())) == list(TUBES)


def test_the_same_options_give_the_same_bytes(
    tables: HalfRealChest, written: Path, tmp_path: Path
) -> None:
    """Another seed gives other films, and a folder that holds something is left alone."""
    write_half_real(tmp_path / "again", tables)
    assert films(tmp_path / "again") == films(written)
    case = draw_half_real_cases(tables)[0]
    other = replace(tables, seed=1)
    assert not np.array_equal(render_half_real(other, case), render_half_real(tables, case))
    with pytest.raises(DataError, match="not empty"):
        write_half_real(written, tables)


def test_air_changes_its_mask_alone_and_anatomy_tells_nothing(tables: HalfRealChest) -> None:
    """Without air the same patient stays; a negative film has another film's place."""
    cases = {case.image.split(".")[-3]: case for case in draw_half_real_cases(tables)}
    assert cases["12"].place == cases["11"].codes == (RIGHT,)
    assert cases["9"].place == cases["10"].codes == (TALL, FLAT)
    config = replace(tables, detail=512)
    case = replace(cases["10"], tube=False)
    with_air = render_half_real(config, case).astype(int)
    without = render_half_real(config, replace(case, codes=())).astype(int)
    mask = unite(case.codes)
    near = cv2.dilate(mask.astype(np.uint8), np.ones((75, 75), np.uint8)) > 0
    # edge enhancement spreads over 2 % of the film, fainter than the air itself
    assert np.abs(with_air - without)[~near].max() <= 12
    inside = cv2.erode(mask.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
    assert with_air[inside].mean() < without[inside].mean() - 5


def test_tubes_of_unlabelled_films_follow_the_labelled_ones(tmp_path: Path) -> None:
    """Shares by label are those of labelled films, or as told; splits keep shares of groups."""
    labels = dict[str, bool]()
    lines = [LINES[0]]
    for number in range(400):
        positive = number % 4 == 0
        lines.append(f"{UID}.{number}.1.5, {TALL if positive else '-1'}")
        if number < 200:  # tubes on 3 of 5 positive and on 1 of 5 negative films
            labels[f"{UID}.{number}.1.5"] = number % 5 < (3 if positive else 1)
    ordered = list(labels)[100:] + list(labels)[:100]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "tubes.pkl").write_bytes(pickle.dumps({i: labels[i] for i in ordered}, protocol=4))
    config = HalfRealChest(
        annotations=str(tmp_path / "table.csv"), tubes=str(tmp_path / "tubes.pkl"), n_train=80
    )
    cases = draw_half_real_cases(config)
    assert all(case.tube == labels[case.image] for case in cases if case.image in labels)

    def groups(config: HalfRealChest, split: str) -> Mapping[tuple[bool, bool], int]:
        return Counter(
            (bool(case.codes), case.tube)
            for case in draw_half_real_cases(config)
            if case.split == split
        )

    assert groups(config, "train") == {(1, 1): 12, (1, 0): 8, (0, 1): 12, (0, 0): 48}
    told = replace(config, p_tube_given_positive=1.0, p_tube_given_negative=0.0, n_val=20)
    assert groups(told, "train") == {(1, 1): 20, (0, 0): 60}
    assert groups(told, "val") == {(1, 1): 3, (1, 0): 2, (0, 1): 3, (0, 0): 12}
    untold = replace(told, tubes=None, n_test=40, n_train=None)
    assert [sum(groups(untold, split).values()) for split in ("train", "val", "test")] == [
        340, 20, 40,
    ]  # fmt: skip
    assert all(c.tube_labelled == (c.split != "train") for c in draw_half_real_cases(untold))


def test_tables_and_options_that_do_not_do_are_refused(
    tables: HalfRealChest, tmp_path: Path
) -> None:
    """Each with what to give instead; what is named does."""
    untold = replace(tables, tubes=None)
    with pytest.raises(DataError, match="or give n_val and n_test"):
        draw_half_real_cases(untold)
    untold = replace(untold, n_val=2, n_test=2)
    with pytest.raises(DataError, match="give p_tube_given_positive"):
        draw_half_real_cases(untold)
    untold = replace(untold, p_tube_given_positive=0.5, p_tube_given_negative=0.5)
    assert len(draw_half_real_cases(untold)) == 6
    with pytest.raises(DataError, match="n_train=3 is more than the 2 films"):
        draw_half_real_cases(replace(tables, n_train=3))
    named = tmp_path / "named.csv"
    named.write_text(f"{LINES[0]}\n../../outside, -1\n{UID}.9.1.5, -1\n")
    with pytest.raises(DataError, match=r"(?s)1 images are not named.*4 tube labels are of no im"):
        draw_half_real_cases(replace(tables, annotations=str(named)))
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(b"\x1f\x8b\x08\x00")
    with pytest.raises(DataError, match="not a whole gzip file"):
        draw_half_real_cases(replace(tables, annotations=str(cut)))


def test_lungs_come_to_lie_around_a_mask() -> None:
    """Wherever a lung may be, most of the mask lies in one, at its edge."""

    def share(anatomy: Anatomy, mask: np.ndarray) -> float:
        lungs = [region(lung.outline, 256) for lung in anatomy.lungs]
        return float((mask & (lungs[0] | lungs[1])).sum() / mask.sum())

    before, after = [], []
    for number in range(12):
        rng = generator(0, "masks", number)
        left, top = (15, 165)[number % 2] + int(rng.integers(45)), int(rng.integers(20, 190))
        mask = np.zeros((256, 256), bool)
        mask[top : top + 30, left : left + 15] = True
        anatomy = draw_anatomy(generator(0, "anatomy", number), female=False)
        placed = place_around(generator(0, "placement", number), anatomy, mask)
        before.append(share(anatomy, mask))
        after.append(share(placed, mask))
        assert lung_at(placed, mask) == number % 2
    assert np.mean(after) > 0.9 > np.mean(before) + 0.1


@needs_table
@needs_tubes
def test_the_released_tables_give_the_groups_of_the_shipped_sweep() -> None:
    """4,000 of 10,096 training films with their share of positives, and all that are labelled."""
    config = HalfRealChest(annotations=str(RELEASED_TABLE), tubes=str(RELEASED_TUBES), n_train=4000)
    groups = Counter(
        (case.split, bool(case.codes), case.tube) for case in draw_half_real_cases(config)
    )
    keys = [(label, tube) for label in (False, True) for tube in (False, True)]
    counted = {split: tuple(groups[split, *key] for key in keys) for split in ("val", "test")}
    assert counted == {"val": (639, 107, 54, 151), "test": (667, 85, 66, 182)}
    assert tuple(groups["train", *key] for key in keys) == (2722, 400, 233, 645)
