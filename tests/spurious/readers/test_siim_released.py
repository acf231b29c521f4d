"""The released SIIM-ACR tables, whole and without films, where they are beside us."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from siim_release import RELEASED_TABLE, RELEASED_TUBES, needs_table, needs_tubes

from spurious.data.specificity import count_components
from spurious.readers.issues import ReaderIssues
from spurious.readers.marks import rle
from spurious.readers.marks.rle_checks import find_other_starts
from spurious.readers.resize import shrink_mask
from spurious.readers.siim_acr.mask_table_checks import find_odd_shapes
from spurious.readers.siim_acr.siim_files import RLE, MaskRow, read_masks
from spurious.readers.siim_acr.tube_labels import read_tube_labels

SIDE = 1024

pytestmark = needs_table


@pytest.fixture(scope="module")
def masks() -> Mapping[str, tuple[MaskRow, ...]]:
    """Mask rows of every image, read from the gzipped table as it is released."""
    issues = ReaderIssues()
    masks = read_masks(RELEASED_TABLE, issues)
    issues.raise_if_any(RELEASED_TABLE.name)
    return masks


@dataclass(frozen=True)
class Drawn:
    """A united mask: its pixels; of every fifth one its components, and its pixels at 128 x 128."""

    area: int
    components: int | None = None
    staged_area: int | None = None


@pytest.fixture(scope="module")
def drawn(masks: Mapping[str, tuple[MaskRow, ...]]) -> Mapping[str, Drawn]:
    """Every positive image, with all of its codes decoded."""
    found = {}
    for number, image in enumerate(sorted(image for image, rows in masks.items() if rows)):
        union = np.zeros((SIDE, SIDE), bool)
        for row in masks[image]:
            mask, excess = rle.decode(row.code, SIDE, SIDE, RLE)
            assert excess == 0
            union |= mask.T  # columns are what lies together in memory
        found[image] = Drawn(int(np.count_nonzero(union)))
        if number % 5 == 0:
            rows, columns = np.flatnonzero(union.any(1)), np.flatnonzero(union.any(0))
            held = union[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            staged = np.count_nonzero(shrink_mask(union, 128, 128))
            found[image] = Drawn(found[image].area, count_components(held), int(staged))
    return found


def test_rows_images_and_positives_are_those_of_the_notes(
    masks: Mapping[str, tuple[MaskRow, ...]],
) -> None:
    """12,954 rows of 12,047 images, 2,669 of them positive with up to 10 masks each."""
    per_image = [len(rows) for rows in masks.values()]
    positive = [count for count in per_image if count]
    assert (len(per_image), len(positive), max(positive)) == (12_047, 2_669, 10)
    assert sum(max(1, count) for count in per_image) == 12_954


def test_no_code_looks_like_another_convention(
    masks: Mapping[str, tuple[MaskRow, ...]],
) -> None:
    """0 of 3,576 codes ascend, and all together are no cause for a warning."""
    codes = [row.code for rows in masks.values() for row in rows]
    ascending, judged = find_other_starts(codes, RLE)
    assert (len(codes), ascending) == (3_576, [])
    assert judged > 3_500
    assert find_odd_shapes(codes, SIDE) == []


def test_every_code_decodes_to_sizes_of_the_notes(drawn: Mapping[str, Drawn]) -> None:
    """Median 0.8 % of the film, 5th and 95th percentile 0.13 and 4.4 %, none empty."""
    areas = np.array([each.area for each in drawn.values()]) / SIDE**2
    assert len(areas) == 2_669
    assert areas.min() > 0
    assert [round(100 * share, 2) for share in np.quantile(areas, (0.05, 0.5, 0.95))] == [
        0.13, 0.82, 4.37,
    ]  # fmt: skip


def test_every_mask_survives_staging_at_128_pixels(drawn: Mapping[str, Drawn]) -> None:
    """Of every fifth: pooled masks cover more of the film, median 1.15 % against 0.8 %."""
    areas = np.array([each.staged_area for each in drawn.values() if each.components]) / 128**2
    assert areas.min() > 0
    assert [round(100 * share, 2) for share in np.quantile(areas, (0.05, 0.5, 0.95))] == [
        0.24, 1.15, 4.65,
    ]  # fmt: skip


def test_components_are_not_what_rows_say(
    masks: Mapping[str, tuple[MaskRow, ...]], drawn: Mapping[str, Drawn]
) -> None:
    """Of every fifth positive image: rows may touch, and one row may be several components."""
    judged = {image: each.components for image, each in drawn.items() if each.components}
    counts = Counter(min(count, 3) for count in judged.values())
    assert (counts[1], counts[2], counts[3]) == (361, 123, 50)
    fewer = sum(count < len(masks[image]) for image, count in judged.items())
    more = sum(count > len(masks[image]) for image, count in judged.items())
    assert (fewer, more) == (30, 75)


@needs_tubes
def test_all_tube_labels_join_and_give_the_groups_of_the_paper(
    masks: Mapping[str, tuple[MaskRow, ...]],
) -> None:
    """1,951 images; groups (pneumothorax, tube) of validation and test, and the rest is train."""
    issues = ReaderIssues()
    labels = read_tube_labels(RELEASED_TUBES, issues)
    assert issues.count == 0
    assert labels.present.keys() <= masks.keys()
    groups = Counter(
        (labels.splits[image], bool(masks[image]), tube) for image, tube in labels.present.items()
    )
    expected = {"val": (639, 107, 54, 151), "test": (667, 85, 66, 182)}
    for split, counts in expected.items():
        keys = [(split, label, tube) for label in (False, True) for tube in (False, True)]
        assert tuple(groups[key] for key in keys) == counts
    assert len(masks) - len(labels.present) == 10_096
