"""Explanations of the test split: what is measured where, and what becomes a picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_data import SMALL, fit_config, no_weights, squares, with_arrays

from spurious.config.machine import Machine
from spurious.data.dataset import Dataset
from spurious.data.drawn import BOXES, MASK
from spurious.data.masks import PackedMasks
from spurious.data.runs import encode_runs
from spurious.fit import fit
from spurious.generators.gaussian_squares import GaussianSquaresSource
from spurious.training.explained import SIDE, ExplanationRequest, Explanations, choose_examples
from spurious.training.loop import Fit, Hooks

OPTIONS = replace(SMALL, n_test=20, test_prevalence=0.5)


def features_of(data: Dataset) -> dict[str, list[list[int] | None]]:
    """Runs of the blocks on the test images."""
    source = GaussianSquaresSource(OPTIONS)
    records = [source.load(str(name)) for name in data.sample_ids[data.rows("test")]]
    return {"block": [_runs(record.features.get("block")) for record in records]}


def _runs(mask: object) -> list[int] | None:
    return encode_runs(mask) if isinstance(mask, np.ndarray) else None


def explained(data: Dataset, kind: str, request: ExplanationRequest) -> tuple[Fit, Explanations]:
    """An epoch of ERM, and what was explained."""
    outcome = fit(data, fit_config(kind, epochs=1), Machine(), Hooks(), no_weights, request)
    assert outcome.explanations is not None
    return outcome, outcome.explanations


@pytest.mark.parametrize(
    ("kind", "maps"), [("label", {"saliency", "grad-cam"}), ("mask", {"saliency", "prediction"})]
)
def test_each_map_is_measured_in_each_region_that_an_image_has(kind: str, maps: set[str]) -> None:
    """Masks of positives, blocks where there is one; chance is the region's share."""
    data = squares(OPTIONS)
    _, found = explained(data, kind, ExplanationRequest(features_of(data)))
    rows = data.rows("test")
    positives = np.flatnonzero(data.labels[rows] == 1)
    blocks = np.flatnonzero(data.attributes[rows, 0] == 1)
    for name in maps:
        for region, images in (("mask", positives), ("block", blocks)):
            of = [r for r in found.rows if (r["explanation"], r["region"]) == (name, region)]
            assert [row["position"] for row in of] == images.tolist()
            side = SMALL.abnormality_size if region == "mask" else SMALL.spurious_size
            assert {row["chance"] for row in of} == {side**2 / 256}
    assert len(found.rows) == len(maps) * (len(positives) + len(blocks))
    assert found.pictures == []
    for row in found.rows:
        assert 0 <= row["activation_precision"] <= 1
        assert 0 <= row["pointing"] <= 1


def test_explaining_changes_no_number() -> None:
    """The fit is the same to the last bit."""
    data = squares(OPTIONS)
    with_them, _ = explained(data, "label", ExplanationRequest(features_of(data), examples=2))
    without = fit(data, fit_config("label", epochs=1), Machine(), Hooks(), no_weights)
    assert without.explanations is None
    assert repr(with_them.rows) == repr(without.rows)  # NaN included
    for split, scores in without.kept_scores.items():
        assert np.array_equal(with_them.kept_scores[split], scores)


def test_undrawn_masks_are_no_regions_and_boxes_are() -> None:
    """Zeros of a mask that nobody drew say nothing; boxes that were drawn are measured."""
    data = squares(OPTIONS)
    rows = data.rows("test")
    drawn = np.full(len(data.labels), MASK, np.uint8)
    drawn[rows] = BOXES
    boxed = replace(with_arrays(data, drawn=drawn), boxes=PackedMasks(data.masks.bits, 16, 16))
    _, found = explained(boxed, "label", ExplanationRequest())
    assert {row["region"] for row in found.rows} == {"box"}
    assert len(found.rows) == 2 * int((data.labels[rows] == 1).sum())


def test_examples_are_the_first_of_each_group() -> None:
    """The same for every trial; each with its image, its maps, and the mask where there is one."""
    data = squares(OPTIONS)
    _, found = explained(data, "label", ExplanationRequest(measures=False, examples=1))
    rows = data.rows("test")
    groups = list(zip(data.labels[rows].tolist(), data.attributes[rows, 0].tolist(), strict=True))
    first = sorted(groups.index(group) for group in set(groups))
    assert len(first) == 4
    shown = {(p.position, p.kind) for p in found.pictures if p.position is not None}
    assert shown == {
        *((at, kind) for at in first for kind in ("image", "saliency", "grad-cam")),
        *((at, "mask") for at in first if groups[at][0] == 1),
    }
    assert found.rows == []


def test_means_weigh_every_image_alike() -> None:
    """Each map is divided by its sum, so that a mean of positive maps sums to one."""
    data = squares(OPTIONS)
    _, found = explained(data, "mask", ExplanationRequest(measures=False, examples=1))
    means = [p for p in found.pictures if p.position is None]
    assert {(p.kind, p.label) for p in means} == {
        (kind, label) for kind in ("saliency", "prediction") for label in (0, 1)
    }
    for mean in means:
        if mean.kind == "prediction":  # nowhere 0, so that bytes from 0 to its highest hold it
            total = mean.pixels.astype(float).sum() / 255 * mean.highest
            assert total == pytest.approx(1.0, rel=0.02)


def test_pictures_are_small() -> None:
    """Larger images are averaged over cells; a side of an image of 100 becomes 96."""
    data = squares(replace(OPTIONS, image_size=100, n_train=6, n_val=4, n_test=4))
    _, found = explained(data, "label", ExplanationRequest(measures=False, examples=1))
    assert {picture.pixels.shape for picture in found.pictures} == {(SIDE, SIDE, 1)}
    [image] = [p for p in found.pictures if p.kind == "image"][:1]
    assert image.pixels.min() == 0
    assert image.pixels.max() == 255


def test_of_many_groups_the_largest_are_shown() -> None:
    """Seven attributes would have 256."""
    data = squares(OPTIONS)
    rng = np.random.default_rng(0)
    attributes = rng.integers(0, 2, (len(data.labels), 7), dtype=np.int8)
    many = replace(
        data,
        attributes=attributes,
        attribute_names=tuple("abcdefg"),
        directions=(1,) * 7,
    )
    assert len(choose_examples(many, many.rows("test"), 1)) == 8
