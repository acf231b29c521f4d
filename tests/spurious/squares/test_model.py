"""The model of squares: the paper's equations, the exact expectation, the generator itself."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spurious.config.datasets import GaussianSquares
from spurious.config.options import Specificity
from spurious.data.specificity import supervision_target
from spurious.errors import ConfigError
from spurious.generators.gaussian_squares import GaussianSquaresSource, _free_starts
from spurious.scoring.measures import empirical_mi, empirical_variance, mutual_information
from spurious.squares.images import measure_squares
from spurious.squares.model import (
    _exact_joint,
    closed_form,
    exact,
    maximiser,
    training_variance,
)

PAPER = GaussianSquares()
LABEL, MASK = Specificity("label"), Specificity("mask")


def r(number: int) -> Specificity:
    """A resolution."""
    return Specificity("r", r=number)


CLOSED = [
    (1, 0.040000, 9.487600, 0.003854, 0.005560),
    (2, 0.040000, 9.487600, 0.003854, 0.005560),
    (4, 0.094675, 9.431324, 0.008842, 0.012757),
    (20, 0.640000, 6.046694, 0.035539, 0.051271),
    (40, 1.0, 1.0, 0.0, 0.0),
]
EXACT = [
    (1, 0.040000, 9.487600, 0.003854, 0.005560),
    (2, 0.053817, 10.250551, 0.005712, 0.008240),
    (4, 0.118164, 7.660897, 0.008264, 0.011922),
    (20, 0.647829, 2.459225, 0.004564, 0.006585),
    (40, 1.0, 1.0, 0.0, 0.0),
]
EXACT_W = {1: 0.093750, 2: 0.103527, 4: 0.071974, 20: 0.012370}


@pytest.mark.parametrize(
    ("form", "row"), [*product([closed_form], CLOSED), *product([exact], EXACT)]
)
def test_both_forms_at_the_papers_resolutions(form: Any, row: tuple[Any, ...]) -> None:
    """gamma, variance and information to the printed digits, in nats and bits."""
    resolution, gamma, variance, nats, bits = row
    found = form(PAPER, r(resolution))
    assert found.gamma == pytest.approx(gamma, abs=5e-7)
    assert found.variance == pytest.approx(variance, abs=5e-7)
    assert found.mi == pytest.approx(nats, abs=5e-7)
    assert found.mi_bits == pytest.approx(bits, abs=5e-7)


def test_the_share_of_spurious_pixels_depends_on_the_resolution() -> None:
    """The closed form has one w for all; in the generator the ring around Y has fewer."""
    for resolution, expected in EXACT_W.items():
        assert closed_form(PAPER, r(resolution)).w == pytest.approx(144 / 1536)
        assert exact(PAPER, r(resolution)).w == pytest.approx(expected, abs=5e-7)
    assert math.isnan(exact(PAPER, MASK).w)


def test_the_exact_information_peaks_before_the_closed_one() -> None:
    """Of the divisors of 40 r = 5 is the exact maximum, r = 20 that of the closed form."""
    divisors = (1, 2, 4, 5, 8, 10, 20, 40)
    assert max(divisors, key=lambda n: exact(PAPER, r(n)).mi) == 5
    assert max(divisors, key=lambda n: closed_form(PAPER, r(n)).mi) == 20
    assert exact(PAPER, r(5)).mi == pytest.approx(0.008489, abs=5e-7)
    for resolution, variance in ((5, 6.4848), (8, 4.5666), (10, 3.9135)):
        assert exact(PAPER, r(resolution)).variance == pytest.approx(variance, abs=5e-5)


def test_labels_boxes_and_masks_are_ends_of_the_scale() -> None:
    """A label is r = 1; the box of a square is the square itself, as the mask and r = n are."""
    for form in (closed_form, exact):
        assert form(PAPER, LABEL) == form(PAPER, r(1))
        for end in (MASK, Specificity("box"), r(40)):
            assert (form(PAPER, end).gamma, form(PAPER, end).variance) == (1.0, 1.0)


def test_rounding_is_down() -> None:
    """r = 3 has k = 13: the closed form's square has side 32, not the 34 of rounding up."""
    assert closed_form(PAPER, r(3)).gamma == pytest.approx(64 / 32**2)
    assert closed_form(PAPER, r(39)).gamma == 1.0


def test_the_maximiser_of_the_information() -> None:
    """Known values, the limits, and the maximum of eq. (13) written out and searched on a grid."""
    assert maximiser(0.09375) == pytest.approx(0.627362, abs=5e-7)
    assert maximiser(0.5) == pytest.approx(0.6)
    assert maximiser(1e-6) == pytest.approx(1 - 1 / math.e, abs=1e-5)
    assert maximiser(1 - 1e-9) == pytest.approx(0.5, abs=1e-6)
    w, gamma = 0.5, np.linspace(0.01, 0.99, 9801)
    rest, clean = 1 - gamma, gamma + (1 - w) * (1 - gamma)
    information = (
        w * rest * np.log(1 / rest) + (1 - w) * rest * np.log((1 - w) / clean)
        + gamma * np.log(1 / clean)
    )  # fmt: skip
    assert gamma[information.argmax()] == pytest.approx(maximiser(w), abs=1e-4)
    assert information.max() == pytest.approx(math.log(1.25))


def test_the_closed_variance_is_equation_7() -> None:
    """The equation written out, for other options and rho below 1."""
    options = replace(PAPER, spurious_given_positive=0.7, abnormality_mean=1.5, noise_sd=2.0)
    found = closed_form(options, r(10))
    g, w = 64 / 14**2, 0.7 * 144 / 1536
    q = w * (1 - g)
    expected = 4 + 1.5**2 * g * (1 - g) + 100 * q * (1 - q) + 2 * 1.5 * 10 * w * g * (1 - g)
    assert found.variance == pytest.approx(expected, abs=1e-9)
    assert found.w == pytest.approx(w)


def test_a_block_without_room_beside_the_abnormality_is_refused() -> None:
    """Two binary variables share at most ln 2; w above 1 is no probability, and 1 still is."""
    full = replace(PAPER, image_size=20, abnormality_size=12, overlap="independent")
    assert closed_form(replace(full, spurious_size=16), r(1)).w == 1.0
    for side in (17, 20):
        with pytest.raises(ConfigError, match=r"expected at most 1; use a smaller spurious_size"):
            closed_form(replace(full, spurious_size=side), r(5))
        for resolution in (1, 5, 20):
            assert exact(replace(full, spurious_size=side), r(resolution)).mi <= math.log(2)


def test_the_variance_of_all_training_pixels() -> None:
    """Nine of ten images are positive; another prevalence and spurious negatives by hand."""
    assert training_variance(PAPER) == pytest.approx(8.699, abs=5e-4)
    options = replace(PAPER, prevalence=0.5, spurious_given_negative=0.5)
    mean = 0.5 * (2 * 0.04 - 10 * 0.09) + 0.5 * 0.5 * -10 * 0.09
    square = 1 + 0.5 * (4 * 0.04 + 100 * 0.09) + 0.5 * 0.5 * 100 * 0.09
    assert training_variance(options) == pytest.approx(square - mean**2)


def counted(options: GaussianSquares, specificity: Specificity) -> NDArray[np.float64]:
    """P(Y, S | T = 1) by laying out every pair of blocks, with the real target."""
    n, a, b = options.image_size, options.abnormality_size, options.spurious_size
    counts = np.zeros((2, 2))
    every = np.array(list(product(range(n - b + 1), repeat=2)))
    for top, left in product(range(n - a + 1), repeat=2):
        abnormal = np.zeros((n, n), dtype=bool)
        abnormal[top : top + a, left : left + a] = True
        target = np.ones_like(abnormal)
        if specificity.kind != "label":
            target = supervision_target(abnormal, specificity)
        free = _free_starts(options, top, left) if options.overlap == "avoid" else every
        for row, column in free:
            spurious = np.zeros_like(abnormal)
            spurious[row : row + b, column : column + b] = True
            pairs = 2 * abnormal[target] + spurious[target]
            counts += np.bincount(pairs, minlength=4).reshape(2, 2) / len(free)
    return np.asarray(counts / counts.sum())


@pytest.mark.parametrize("overlap", ["avoid", "independent"])
@pytest.mark.parametrize("specificity", [LABEL, r(2), r(3), r(5), MASK], ids=str)
def test_exact_is_the_average_over_every_placement(overlap: str, specificity: Specificity) -> None:
    """A small image with every pair of blocks laid out gives the same numbers."""
    options = GaussianSquares(
        image_size=11, abnormality_size=3, spurious_size=4, overlap=overlap, noise_sd=0.5
    )  # type: ignore[arg-type]
    joint = counted(options, specificity)
    means = np.array([[0.0, -10.0], [2.0, -8.0]])
    mean = (joint * means).sum()
    found = exact(options, specificity)
    assert found.gamma == pytest.approx(joint[1].sum())
    assert found.variance == pytest.approx(0.25 + (joint * (means - mean) ** 2).sum())
    assert found.mi == pytest.approx(mutual_information(joint), abs=1e-12)
    if joint[0].sum() > 0:
        assert found.w == pytest.approx(joint[0, 1] / joint[0].sum())
    else:
        assert math.isnan(found.w)


def test_what_the_model_does_not_cover_is_refused() -> None:
    """Discs and rings have no such square, and r beyond the image no target."""
    for form in (closed_form, exact):
        with pytest.raises(ConfigError, match="has no ring; use it for shape: square alone"):
            form(replace(PAPER, shape="ring"), MASK)
        with pytest.raises(ConfigError, match=r"r=41 does not fit an image side of 40"):
            form(PAPER, r(41))
    with pytest.raises(ConfigError, match="has no disc"):
        training_variance(replace(PAPER, shape="disc"))


POSITIVES = 135
"""What the paper's 150 training images have on average."""
SD = {1: 0.014, 2: 0.22, 4: 0.53, 20: 0.19, 40: 0.016}
"""Standard deviation of the pooled variance over draws of 135 positive images."""


@pytest.fixture(scope="module")
def drawn() -> list[Any]:
    """Positive images of the generator itself."""
    source = GaussianSquaresSource(replace(PAPER, prevalence=1.0, n_train=POSITIVES))
    return [source.load(sample_id) for sample_id in source.index() if sample_id[:5] == "train"]


@pytest.mark.parametrize("resolution", SD)
def test_the_generator_agrees_with_the_exact_form(drawn: list[Any], resolution: int) -> None:
    """Measured on its images, within three standard deviations."""
    targets = [supervision_target(record.mask, r(resolution)) for record in drawn]
    pixels = np.concatenate([x.image[t][:, 0] for x, t in zip(drawn, targets, strict=True)])
    whole = np.stack([record.image for record in drawn]).astype(np.float64).var()
    measured = empirical_variance(
        (record.image, target) for record, target in zip(drawn, targets, strict=True)
    )
    assert measured * whole == pytest.approx(pixels.astype(np.float64).var(), rel=1e-6)
    assert measured * whole == pytest.approx(
        exact(PAPER, r(resolution)).variance, abs=3 * SD[resolution]
    )


def test_measured_information_agrees_with_the_exact_form(drawn: list[Any]) -> None:
    """The spurious mask is read off the images, and 135 of them give the exact value closely."""
    abnormal = np.stack([record.mask for record in drawn])
    spurious = np.stack([record.image[:, :, 0] for record in drawn]) < -5.0
    assert spurious.sum() == pytest.approx(POSITIVES * 144, rel=1e-3)
    for resolution in (1, 4, 40):
        targets = np.stack([supervision_target(mask, r(resolution)) for mask in abnormal])
        measured = empirical_mi(abnormal, spurious, targets)
        assert measured == pytest.approx(exact(PAPER, r(resolution)).mi, abs=1e-3)
    assert math.isnan(empirical_mi(abnormal, spurious, np.zeros_like(abnormal)))


@pytest.mark.parametrize(("resolution", "nats"), [(8, 0.008204), (10, 0.007661)])
def test_exact_information_between_the_papers_resolutions(resolution: int, nats: float) -> None:
    """Numbers of the audit of the paper's appendix."""
    assert exact(PAPER, r(resolution)).mi == pytest.approx(nats, abs=5e-7)


def paper_quadratic() -> tuple[float, float, float]:
    """Eq. (7) rearranged: c, b and a of Var = c + b gamma - a gamma^2."""
    w, mu_a, mu_s = 144 / 1536, 2.0, -10.0
    constant = 1 + mu_s**2 * w * (1 - w)
    linear = mu_a**2 - w * mu_s**2 + 2 * w**2 * mu_s**2 - 2 * mu_a * mu_s * w
    return constant, linear, (mu_a - w * mu_s) ** 2


def test_both_forms_of_equation_7_agree() -> None:
    """As a quadratic of gamma, to 1e-12."""
    constant, linear, square = paper_quadratic()
    for resolution in (1, 2, 3, 4, 5, 8, 10, 20, 40):
        found = closed_form(PAPER, r(resolution))
        expected = constant + linear * found.gamma - square * found.gamma**2
        assert found.variance == pytest.approx(expected, abs=1e-12)


def test_the_closed_variance_falls_from_the_first_resolution_on() -> None:
    """Eq. (8): its maximum, through three of our values, is at .0076958, below gamma(1) = .04."""
    forms = [closed_form(PAPER, r(resolution)) for resolution in (1, 4, 20)]
    square, linear, _ = np.polyfit([f.gamma for f in forms], [f.variance for f in forms], 2)
    _, expected, negative = paper_quadratic()
    assert -linear / (2 * square) == pytest.approx(0.0076958, abs=5e-8)
    assert expected / (2 * negative) == pytest.approx(0.0076958, abs=5e-8)
    assert forms[0].gamma > 0.0076958


@pytest.mark.parametrize(("resolution", "down", "up"), [(3, 32, 34), (9, 14, 16), (30, 8, 10)])
def test_the_paper_s_proof_rounds_up_where_its_definition_rounds_down(
    resolution: int, down: int, up: int
) -> None:
    """Where r does not divide n the sides differ; ours are the definition's, as `dilate` has it."""
    side = math.sqrt(64 / closed_form(PAPER, r(resolution)).gamma)
    assert side == pytest.approx(down)
    assert up == min(40, 8 + 2 * (math.ceil(40 / resolution) - 1))
    mask = np.zeros((40, 40), dtype=bool)
    mask[16:24, 16:24] = True
    assert supervision_target(mask, r(resolution)).sum() == down**2


@pytest.mark.parametrize(("resolution", "mean"), [(2, 34.485), (4, 23.273), (20, 9.939)])
def test_the_border_cuts_targets_off(resolution: int, mean: float) -> None:
    """Mean side over every place; at r = 2 the target is the whole image for 4.5 % of them."""
    sides = []
    for start in range(33):
        mask = np.zeros((40, 40), dtype=bool)
        mask[start : start + 8, start : start + 8] = True
        sides.append(int(supervision_target(mask, r(resolution)).any(axis=1).sum()))
    assert np.mean(sides) == pytest.approx(mean, abs=5e-4)
    if resolution == 2:
        assert np.mean([side == 40 for side in sides]) ** 2 == pytest.approx(0.0450, abs=5e-5)


def test_over_all_training_images_pixels_are_spurious_less_often() -> None:
    """P(S | Y = 0) and the information without the condition that the image is positive."""
    joint = 0.9 * _exact_joint(PAPER, LABEL) + 0.1 * np.array([[1.0, 0.0], [0.0, 0.0]])
    assert joint[0, 1] / joint[0].sum() == pytest.approx(0.084025, abs=5e-7)
    assert mutual_information(joint) == pytest.approx(0.003099, abs=5e-7)


def test_independent_blocks_cover_the_abnormality() -> None:
    """P(S = 1 | Y = 1) where nothing keeps them apart."""
    joint = _exact_joint(replace(PAPER, overlap="independent"), MASK)
    assert joint[1, 1] / joint[1].sum() == pytest.approx(0.1168, abs=5e-5)


MANY = replace(PAPER, prevalence=1.0, n_train=2000)
RESOLUTIONS = (1, 2, 4, 20, 40)
MI_ERROR = {1: 0.01, 2: 0.15, 4: 0.15, 20: 0.35, 40: 0.0}
"""Three standard errors relative to the value, or more: in one image of twenty the block touches
the ring around the abnormality that is all there is at r = 20."""


def test_measures_on_many_images_are_the_exact_ones() -> None:
    """Within about three standard errors of 2,000 images; and the bits of both."""
    found = measure_squares(MANY, tuple(map(r, RESOLUTIONS)))
    assert (found.images, found.positives) == (2000, 2000)
    scale = math.sqrt(POSITIVES / 2000)
    for resolution in RESOLUTIONS:
        own, expected = found.by_specificity[r(resolution)], exact(PAPER, r(resolution))
        assert own.gamma == pytest.approx(expected.gamma, rel=0.02)
        assert own.w == pytest.approx(expected.w, rel=MI_ERROR[resolution], nan_ok=True)
        assert own.variance == pytest.approx(expected.variance, abs=3 * SD[resolution] * scale)
        assert own.mi == pytest.approx(expected.mi, rel=MI_ERROR[resolution], abs=1e-9)
        assert own.mi_bits == pytest.approx(own.mi / math.log(2))
    again = measure_squares(replace(MANY, seed=1), (r(2), r(20))).by_specificity
    for resolution in (2, 20):
        assert again[r(resolution)].mi == pytest.approx(
            exact(PAPER, r(resolution)).mi, rel=MI_ERROR[resolution]
        )


def test_means_of_per_image_variances_are_another_measure() -> None:
    """The variance between images counts in the pooled one alone."""
    source = GaussianSquaresSource(replace(MANY, n_train=600))
    drawn = [source.load(name) for name in source.index() if name.startswith("train")]
    for resolution, expected in zip(RESOLUTIONS, (9.489, 10.22, 7.05, 2.45, 0.983), strict=True):
        of_images = [
            record.image[supervision_target(record.mask, r(resolution))].var() for record in drawn
        ]
        error = 3 * float(np.std(of_images)) * math.sqrt(1 / 600 + 1 / 3000) + 1e-3
        assert float(np.mean(of_images)) == pytest.approx(expected, abs=error)


def test_what_is_measured_has_its_block() -> None:
    """The mask of the block is where its mean was added."""
    source = GaussianSquaresSource(replace(PAPER, noise_sd=0.01, n_train=20))
    for name in (name for name in source.index() if name.startswith("train")):
        record = source.load(name)
        block = record.features.get("block", np.zeros((source.config.image_size,) * 2, bool))
        assert np.array_equal(block, record.image[:, :, 0] < -5)
        assert bool(block.any()) == record.attributes["block"]


def test_squares_without_a_positive_measure_nothing() -> None:
    """NaN, never 0; and images beyond the most that are drawn are left out."""
    found = measure_squares(replace(PAPER, prevalence=0.0, n_train=3), (LABEL,))
    assert found.positives == 0
    assert math.isnan(found.by_specificity[LABEL].variance)
    assert math.isnan(found.by_specificity[LABEL].mi)
    assert measure_squares(replace(PAPER, n_train=30, image_size=1024), (LABEL,)).images == 19
