"""The generator of Gaussian squares."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from spurious.config.datasets import GaussianSquares
from spurious.data.records import Record
from spurious.data.specificity import count_components
from spurious.errors import ConfigError, DataError
from spurious.generators.gaussian_squares import GaussianSquaresSource, _free_starts, region

GOLDEN = {
    "square": "40d62c962053bcd0fc5554668d1b8bd5cafb52f01dd795eb228b3f4e628c0f54",
    "ring": "f9a6e01227b390a1351399101bae8d80592f30099df763f8212ef76f812faae1",
}
"""SHA-256 over five records of each split; new pixels need a new `GaussianSquares.VERSION`."""

QUIET = GaussianSquares(noise_sd=1e-6)
"""Next to no noise: pixels show which regions cover them."""


def records(options: GaussianSquares, split: str = "train", n: int | None = None) -> list[Record]:
    """The first `n` records of a split, or all."""
    source = GaussianSquaresSource(options)
    ids = [sample_id for sample_id in source.index() if sample_id.startswith(split)]
    return [source.load(sample_id) for sample_id in ids[:n]]


def has_block(record: Record) -> bool:
    """The attribute."""
    return bool(record.attributes["block"])


def within(successes: int, draws: int, probability: float, sds: float = 4.0) -> bool:
    """Whether a binomial count lies within some standard deviations of its mean."""
    sd = np.sqrt(draws * probability * (1 - probability))
    return bool(abs(successes - draws * probability) <= sds * sd)


@pytest.mark.parametrize("shape", ["square", "ring"])
def test_pixels_are_pinned(shape: Any) -> None:
    """Same options, same bytes: staged squares are found by their options, not their pixels."""
    digest = hashlib.sha256()
    for split in ("train", "val", "test"):
        for record in records(GaussianSquares(shape=shape), split, 5):
            digest.update(record.image.tobytes())
            digest.update(np.packbits(record.mask).tobytes())
            digest.update(f"{record.sample_id}{record.label}{record.attributes}".encode())
    assert GaussianSquares.VERSION == 1
    assert digest.hexdigest() == GOLDEN[shape]


def test_record_fields() -> None:
    """Shapes, dtypes, one patient an image, one abnormality a positive image."""
    found = records(GaussianSquares(n_train=30, prevalence=0.5))
    assert {record.label for record in found} == {0, 1}
    for record in found:
        assert record.image.shape == (40, 40, 1)
        assert record.image.dtype == np.float32
        assert record.mask.shape == (40, 40)
        assert record.mask.dtype == bool
        assert record.abnormalities == record.label == int(record.mask.any())
        assert record.split == "train"
    assert len({record.patient_id for record in found}) == 30


def test_ids_are_sorted_and_complete() -> None:
    """Ids ascend as text and each loads as the record of that id."""
    source = GaussianSquaresSource(GaussianSquares(n_train=12, n_val=3, n_test=11))
    ids = list(source.index())
    assert ids == sorted(ids)
    assert len(set(ids)) == 26
    loaded = [source.load(sample_id) for sample_id in ids]
    assert [record.sample_id for record in loaded] == ids
    splits = [record.split for record in loaded]
    assert [splits.count(name) for name in ("train", "val", "test")] == [12, 3, 11]


@pytest.mark.parametrize(
    "sample_id",
    ["train-0000012", "train-12", "train-000000²", "extra-0000000", "train", "", "val-0000003"],
)
def test_unknown_ids_are_refused(sample_id: str) -> None:
    """Only ids of the index load; an image beyond `n_train` would be in no split's count."""
    source = GaussianSquaresSource(GaussianSquares(n_train=12, n_val=3, n_test=11))
    with pytest.raises(DataError, match="unknown sample id"):
        source.load(sample_id)


def test_an_image_does_not_depend_on_how_many_there_are() -> None:
    """A larger dataset of one seed begins with the smaller one; another seed shares nothing."""
    few = records(GaussianSquares(n_train=5))
    many = records(GaussianSquares(n_train=50, n_val=2, n_test=2))
    other = records(GaussianSquares(n_train=5, seed=1))
    for a, b, c in zip(few, many, other, strict=False):
        assert a.image.tobytes() == b.image.tobytes()
        assert (a.mask == b.mask).all()
        assert a.image.tobytes() != c.image.tobytes()
    images = {record.image.tobytes() for split in ("train", "val", "test") for record in
              records(GaussianSquares(n_train=5), split, 5)}  # fmt: skip
    assert len(images) == 15


def test_labels_and_attributes_follow_the_paper() -> None:
    """Train and val: s = y at prevalence .9. Test: s is a fair coin whatever y is."""
    options = GaussianSquares(n_train=600, n_val=600, n_test=600)
    for split in ("train", "val"):
        found = records(options, split)
        assert all(has_block(record) == bool(record.label) for record in found)
        assert within(sum(record.label for record in found), 600, 0.9)
    test = records(options, "test")
    assert within(sum(record.label for record in test), 600, 0.9)
    for label in (0, 1):
        blocks = [has_block(record) for record in test if record.label == label]
        assert within(sum(blocks), len(blocks), 0.5)


def test_other_marginals() -> None:
    """Every probability is an option of its own."""
    options = GaussianSquares(
        prevalence=0.3,
        spurious_given_positive=0.8,
        spurious_given_negative=0.1,
        test_prevalence=0.6,
        test_spurious=0.2,
        n_train=800,
        n_test=800,
    )
    train, test = records(options), records(options, "test")
    assert within(sum(record.label for record in train), 800, 0.3)
    for label, probability in ((1, 0.8), (0, 0.1)):
        blocks = [has_block(record) for record in train if record.label == label]
        assert within(sum(blocks), len(blocks), probability)
    assert within(sum(record.label for record in test), 800, 0.6)
    for label in (0, 1):
        blocks = [has_block(record) for record in test if record.label == label]
        assert within(sum(blocks), len(blocks), 0.2)


@pytest.mark.parametrize("shape", ["square", "disc", "ring"])
def test_the_mask_is_the_abnormality(shape: Any) -> None:
    """The mean is raised on exactly the masked pixels, which have the region's shape."""
    options = replace(QUIET, shape=shape, spurious_given_positive=0.0)
    for record in records(options, n=40):
        expected = np.where(record.mask, 2.0, 0.0)
        np.testing.assert_allclose(record.image[:, :, 0], expected, atol=1e-4)
        if record.label:
            (found,) = ndimage.find_objects(record.mask.astype(int))
            assert (record.mask[found] == region(options)).all()


@pytest.mark.parametrize("side", range(1, 17))
@pytest.mark.parametrize("shape", ["square", "disc", "ring"])
def test_regions_touch_their_square_and_hang_together(shape: Any, side: int) -> None:
    """One component (one abnormality, one box) that reaches all four sides of its square."""
    for width in range(1, (side + 1) // 2 if shape == "ring" else 2):
        options = GaussianSquares(shape=shape, abnormality_size=side, ring_width=width)
        mask = region(options)
        assert count_components(mask) == 1
        assert mask[0].any()
        assert mask[-1].any()
        assert mask[:, 0].any()
        assert mask[:, -1].any()
        if shape == "ring":
            assert not mask[side // 2, side // 2]
            assert not mask[(side - 1) // 2, (side - 1) // 2]


def test_noise_has_the_given_deviation() -> None:
    """Pixels away from both regions are N(0, sd^2)."""
    found = records(GaussianSquares(prevalence=0.0, noise_sd=3.0, n_train=50))
    pixels = np.concatenate([record.image.ravel() for record in found])
    assert abs(pixels.mean()) < 4 * 3.0 / np.sqrt(pixels.size)
    assert pixels.std() == pytest.approx(3.0, rel=4 / np.sqrt(2 * pixels.size))


@pytest.mark.parametrize("size", [(40, 8, 12), (40, 8, 16), (12, 2, 5)])
def test_the_block_avoids_the_abnormality(size: tuple[int, int, int]) -> None:
    """With `avoid` no pixel has both means, up to the largest block that always fits."""
    n, a, b = size
    options = replace(QUIET, image_size=n, abnormality_size=a, spurious_size=b, n_train=150)
    for record in records(options):
        values = np.rint(record.image[:, :, 0])
        assert set(np.unique(values).tolist()) <= {0.0, 2.0, -10.0}
        if record.label:
            assert (values == -10.0).sum() == b * b
            assert (values == 2.0).sum() == a * a


def test_blocks_are_uniform_where_they_may_be() -> None:
    """Without an abnormality each start is as likely: quarters of the positions and their mean."""
    options = replace(QUIET, prevalence=0.0, spurious_given_negative=1.0, n_train=1000)
    starts = np.array(
        [np.argwhere(record.image[:, :, 0] < -5).min(axis=0) for record in records(options)]
    )
    assert starts.min() == 0
    assert starts.max() == 28
    assert within(int((starts[:, 0] < 7).sum()), 1000, 7 / 29)
    assert within(int((starts[:, 1] >= 22).sum()), 1000, 7 / 29)


def test_abnormalities_are_uniform() -> None:
    """Starts cover 0 .. n - a with equal chances."""
    found = [
        np.argwhere(r.mask).min(axis=0) for r in records(replace(QUIET, n_train=1000)) if r.label
    ]
    starts = np.array(found)
    assert starts.min() == 0
    assert starts.max() == 32
    assert within(int((starts[:, 0] < 11).sum()), len(starts), 1 / 3)
    assert within(int((starts[:, 1] >= 22).sum()), len(starts), 1 / 3)


def test_overlap_of_independent_regions() -> None:
    """Independent placement overlaps with the exact probability .267539."""
    options = replace(QUIET, prevalence=1.0, overlap="independent", n_train=4000)
    overlaps = [bool((record.image[record.mask] < -5).any()) for record in records(options)]
    assert within(sum(overlaps), len(overlaps), 0.267539)
    values = {v for r in records(options, n=60) for v in np.unique(np.rint(r.image)).tolist()}
    assert values == {-10.0, -8.0, 0.0, 2.0}


def test_the_overlap_s_probability_is_counted() -> None:
    """Every place of the abnormality, with the places of the block that the source says miss it."""
    options = GaussianSquares()
    places = range(options.image_size - options.abnormality_size + 1)
    free = [len(_free_starts(options, top, left)) for top in places for left in places]
    every = (options.image_size - options.spurious_size + 1) ** 2
    assert 1 - np.mean(free) / every == pytest.approx(0.267539, abs=5e-7)


def test_variance_of_positive_images() -> None:
    """Pooled over the pixels of positive training images it is 9.4876, sd .014 over 135 images."""
    found = [record.image for record in records(GaussianSquares()) if record.label]
    pixels = np.stack(found).astype(np.float64)
    assert 125 <= len(found) <= 145
    assert pixels.var() == pytest.approx(9.4876, abs=3 * 0.014)


def test_impossible_options_are_refused() -> None:
    """A source of a block that cannot always be placed would fail in the middle of staging."""
    with pytest.raises(ConfigError, match="spurious_size 17 does not always fit"):
        GaussianSquaresSource(GaussianSquares(spurious_size=17))
    with pytest.raises(ConfigError, match="ring_width 4 leaves no hole"):
        GaussianSquaresSource(GaussianSquares(shape="ring", ring_width=4))
    with pytest.raises(ConfigError, match="abnormality_size 41 is larger than the image"):
        GaussianSquaresSource(GaussianSquares(abnormality_size=41))


def test_provenance_holds_every_option() -> None:
    """The manifest says how its images were made."""
    found = GaussianSquaresSource(GaussianSquares(seed=3)).provenance()
    assert found["generator"] == "gaussian-squares"
    assert found["version"] == str(GaussianSquares.VERSION)
    assert found["seed"] == "3"
    assert set(vars(GaussianSquares())) <= set(found)
