"""Measures of explanations, by hand; ties, maps of zeros and chance levels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spurious.scoring.explanations import (
    activation_precision,
    chance_level,
    pointing_hits,
    share_inside,
)


def precision_of(values: list[float], inside: list[int], percent: float) -> float:
    """Of one image of a single row."""
    maps = np.array(values).reshape(1, 1, -1)
    regions = np.zeros(maps.shape, dtype=bool)
    regions[0, 0, inside] = True
    return float(activation_precision(maps, regions, percent)[0])


@pytest.mark.parametrize(("percent", "kept"), [(5.0, 1), (10.0, 2)])
def test_the_strongest_of_twenty(percent: float, kept: int) -> None:
    """The limits are 19.05 and 18.1, so that one and two pixels count."""
    values = [float(value) for value in range(1, 21)]
    assert np.percentile(values, 100 - percent) == pytest.approx(20 - 0.19 * percent)
    assert precision_of(values, list(range(20 - kept, 20)), percent) == 1.0
    assert precision_of(values, [20 - kept], percent) == 1 / kept
    assert precision_of(values, list(range(20 - kept)), percent) == 0.0


@pytest.mark.parametrize(("pixels", "kept"), [(49, 3), (224 * 224, 2509)])
def test_how_many_pixels_count(pixels: int, kept: int) -> None:
    """Of distinct values, 5 %."""
    values = np.random.default_rng(0).permutation(pixels).astype(float)
    order = np.argsort(values)
    assert precision_of(values.tolist(), order[-kept:].tolist(), 5.0) == 1.0
    assert precision_of(values.tolist(), order[-kept - 1 :].tolist()[:1], 5.0) == 0.0
    assert precision_of(values.tolist(), order[-kept:].tolist()[:1], 5.0) == 1 / kept


def test_ties_all_count() -> None:
    """A map of zeros has the region's share, and so has one with a single value above them."""
    region = list(range(30))
    assert precision_of([0.0] * 100, region, 5.0) == 0.3
    assert precision_of([1.0] + [0.0] * 99, region, 5.0) == 0.3
    regions = np.zeros((1, 10, 10), dtype=bool)
    regions[0, :3] = True
    assert chance_level(regions).tolist() == [0.3]


def test_shares_and_hits_by_hand() -> None:
    """Two images of 2 x 2; a map of zeros has no share, and its tied maxima are everywhere."""
    maps = np.array([[[3.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]], [[2.0, 2.0], [1.0, 0.0]]])
    regions = np.array([[[True, False], [False, True]]] * 3)
    shares = share_inside(maps, regions)
    assert shares[[0, 2]].tolist() == [0.75, 0.4]
    assert np.isnan(shares[1])
    assert pointing_hits(maps, regions).tolist() == [1.0, 0.5, 0.5]


@given(seed=st.integers(0, 1000), share=st.floats(0.1, 0.9))
def test_noise_is_at_its_chance_level(seed: int, share: float) -> None:
    """In the mean over images, of all three measures; scaling a map changes none."""
    rng = np.random.default_rng(seed)
    maps, regions = rng.random((400, 10, 10)), rng.random((400, 10, 10)) < share
    chance = chance_level(regions).mean()
    for measure, sd in (
        (activation_precision, 0.5 / 5**0.5),
        (share_inside, 0.1),
        (pointing_hits, 0.5),
    ):
        found = measure(maps, regions)
        assert found.mean() == pytest.approx(chance, abs=6 * sd / 20)
        np.testing.assert_allclose(measure(4.0 * maps, regions), found)
