"""DeLong's variances and covariances against R's pROC, an independent implementation.

`PROC` is the R program; with R 4.2.2 and pROC 1.18.0 (Debian 12's `r-cran-proc`) it printed the
values of `FIXED`. Where Rscript with pROC is installed, it also runs on random data sets.
"""

from __future__ import annotations

import functools
import io
import shutil
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from sweeps.report.inference.components import arrange, delong, take_reading

Floats = NDArray[np.float64]
Sides = tuple[Floats, Floats]
READERS = 3
PROC = """
suppressMessages(library(pROC))
data <- read.table(file("stdin"))
for (rows in split(data, data[[1]])) {
  curves <- lapply(rows[3:5], function(scores)
    roc(rows[[2]], scores, levels = c(0, 1), direction = "<"))
  values <- sapply(curves, function(curve) as.numeric(auc(curve)))
  variances <- sapply(curves, function(curve) var(curve, method = "delong"))
  pair <- function(i, j) cov(curves[[i]], curves[[j]], method = "delong")
  covariances <- c(pair(1, 2), pair(1, 3), pair(2, 3))
  cat(format(c(values, variances, covariances), digits = 17), "\\n")
}
"""

FIXED = {
    "ties": (
        [[1, 2, 3, 3], [2, 2, 4, 1], [9, 9, 9, 9]],
        [[0, 1, 2, 2, 1], [3, 2, 0, 2, 1], [1, 5, 5, 6, 9]],
        [0.8, 0.625, 0.9],
        [0.025625, 0.039375, 0.01],
        [-0.00380208333333333, -0.001875, -0.00625],
    ),
    "two positives": (
        [[1, 0], [5, 5], [2, 7]],
        [[3, 2, 1, 0, 1, 5, 2], [5, 5, 5, 5, 5, 5, 5], [1, 3, 5, 7, 9, 11, 13]],
        [0.178571428571429, 0.5, 0.321428571428571],
        [0.0225340136054422, 0.0, 0.0518707482993197],
        [0.0, -0.0212585034013605, 0.0],
    ),
    "unbalanced": (
        [
            [0.9, 0.8, 0.85, 0.1, 0.95, 0.6],
            [0.7, 0.7, 0.7, 0.2, 0.9, 0.4],
            [0.5, 0.6, 0.1, 0.2, 0.9, 0.8],
        ],
        [[0.2, 0.1, 0.8], [0.7, 0.1, 0.3], [0.2, 0.9, 0.5]],
        [0.777777777777778, 0.75, 0.472222222222222],
        [0.0279320987654321, 0.0388888888888889, 0.0575617283950617],
        [0.012037037037037, -0.00478395061728394, -0.0240740740740741],
    ),
    "perfect, reversed and constant scores": (
        [[3, 4, 5], [1, 2, 3], [2, 2, 2]],
        [[0, 1, 2], [4, 5, 6], [1, 2, 3]],
        [1.0, 0.0, 0.5],
        [0.0, 0.0, 0.0833333333333333],
        [0.0, 0.0, 0.0],
    ),
}
"""Positives and negatives by reader; AUROCs, variances and covariances (1-2, 1-3, 2-3) by pROC."""


def covariances(positives: Floats, negatives: Floats) -> Floats:
    """(9,) AUROCs, variances and covariances of three readers, as `PROC` prints them."""
    values, components = delong(positives, negatives)
    matrix = components @ components.T
    return np.concatenate([values, np.diag(matrix), matrix[np.triu_indices(READERS, 1)]])


def random_sets(count: int = 240) -> Iterator[Sides]:
    """Three readers of the same images: ties, few and many images, perfect and reversed scores."""
    random = np.random.default_rng(1988)
    for index in range(count):
        m, n = random.integers(2, 60, 2) if index % 3 else (2, int(random.integers(2, 200)))
        image = random.standard_normal(m + n)
        scores = image + random.standard_normal((READERS, m + n))
        scores[:, :m] += random.uniform(-0.5, 3.0, (READERS, 1))
        if index % 4 == 1:
            scores = scores.round()
        if index % 8 == 3:
            scores[0, :m] += 20.0
        if index % 8 == 5:
            scores[1, :m] -= 20.0
        if index % 16 == 7:
            scores[2] = 1.0
        yield scores[:, :m], scores[:, m:]


def run_proc(sets: list[Sides]) -> Floats:
    """(D, 9) what pROC prints."""
    lines = [
        f"{index} {label} {' '.join(repr(float(score)) for score in image)}"
        for index, sides in enumerate(sets)
        for label, side in zip((1, 0), sides, strict=True)
        for image in side.T
    ]
    done = subprocess.run(
        ["Rscript", "--vanilla", "-e", PROC],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return np.loadtxt(io.StringIO(done.stdout), ndmin=2)


@functools.cache
def has_proc() -> bool:
    """Whether Rscript with pROC is installed."""
    if shutil.which("Rscript") is None:
        return False
    load = ["Rscript", "--vanilla", "-e", "library(pROC)"]
    return subprocess.run(load, capture_output=True, check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("name", FIXED)
def test_fixed_sets_agree_with_proc(name: str) -> None:
    """To 1e-10; as readings of stored predictions, which are in single precision, to 1e-7."""
    positives, negatives, *printed = FIXED[name]
    sides = np.array(positives, dtype=np.float64), np.array(negatives, dtype=np.float64)
    np.testing.assert_allclose(covariances(*sides), np.concatenate(printed), rtol=0, atol=1e-10)
    m, n = sides[0].shape[1], sides[1].shape[1]
    labels, images = np.repeat([1, 0], (m, n)), list(range(m + n))
    taken = [take_reading(arrange(labels, images, images), scores) for scores in np.hstack(sides)]
    components = np.stack([reading.components for reading in taken if reading is not None])
    matrix = components @ components.T
    pairs = matrix[np.triu_indices(READERS, 1)]
    np.testing.assert_allclose(np.diag(matrix), printed[1], rtol=0, atol=1e-7)
    np.testing.assert_allclose(pairs, printed[2], rtol=0, atol=1e-7)


def test_random_sets_agree_with_proc() -> None:
    """Every AUROC, variance and covariance of 240 data sets, to 1e-10."""
    if not has_proc():
        pytest.skip("Rscript with pROC is not installed (apt-get install r-cran-proc)")
    sets = list(random_sets())
    measured = np.stack([covariances(*sides) for sides in sets])
    np.testing.assert_allclose(measured, run_proc(sets), rtol=0, atol=1e-10)
