"""The model of squares: the paper's equations, the exact expectation, the generator itself."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spurious.config import GaussianSquares, Specificity
from spurious.errors import ConfigError
from spurious.generators.gaussian_squares import GaussianSquaresSource, _free_starts
from spurious.measures import empirical_mi, empirical_variance, mutual_information
from spurious.specificity import supervision_target
from spurious.square_model import closed_form, exact, maximiser, training_variance

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
