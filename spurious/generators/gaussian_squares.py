"""Gaussian squares: the synthetic block data of Saab et al. 2022, section 3.2.2.

Each image is N(0, sd^2) noise plus `abnormality_mean` on the abnormal region and `spurious_mean`
on the spurious block. Training draws s from y; test draws s independently of y. Validation is
drawn as training is. The paper does not say what happens where the regions would overlap; by
default the spurious block is uniform among the positions that do not touch the abnormal block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from spurious.config.datasets import GaussianSquares
from spurious.config.fields import problems
from spurious.data.classes import ImageClass
from spurious.data.outlines import measure_outline
from spurious.data.overlaps import measure_overlap
from spurious.data.randomness import generator
from spurious.data.records import Record, SplitTable
from spurious.errors import ConfigError
from spurious.generators.numbered import list_ids, parse_id


def region(config: GaussianSquares) -> NDArray[np.bool_]:
    """(a, a) bool: the abnormality inside its bounding square."""
    side = config.abnormality_size
    if config.shape == "square":
        return np.ones((side, side), dtype=bool)
    centre = (side - 1) / 2.0
    rows, columns = np.mgrid[:side, :side]
    distance = np.hypot(rows - centre, columns - centre)
    disc = distance <= side / 2.0
    if config.shape == "disc":
        return np.asarray(disc)
    return np.asarray(disc & (distance > side / 2.0 - config.ring_width))


def _starts(count: int) -> NDArray[np.int64]:
    """(count ** 2, 2) all positions (row, column) below count, row by row."""
    return np.indices((count, count)).reshape(2, -1).T


def _free_starts(config: GaussianSquares, top: int, left: int) -> NDArray[np.int64]:
    """(P, 2) top-left corners where the spurious block misses the abnormal square."""
    a, b, n = config.abnormality_size, config.spurious_size, config.image_size
    starts = _starts(n - b + 1)
    rows, columns = starts[:, 0], starts[:, 1]
    apart = (rows + b <= top) | (top + a <= rows) | (columns + b <= left) | (left + a <= columns)
    return np.asarray(starts[apart])


class GaussianSquaresSource:
    """`RecordSource` of Gaussian squares; each record has a random generator of its own."""

    name = "gaussian-squares"
    attribute_names: tuple[str, ...] = ("block",)
    declared_directions: Mapping[str, int] = {"block": 1}
    partial: bool = False
    classes: Sequence[ImageClass] = ()

    def __init__(self, config: GaussianSquares) -> None:
        if messages := problems(config):
            raise ConfigError("; ".join(messages))
        self.config = config

    def index(self) -> Sequence[str]:
        """Return all sample ids, ascending."""
        return list_ids(self.config)

    def _draw_labels(self, split: str, rng: np.random.Generator) -> tuple[int, int]:
        config = self.config
        if split != "test":
            y = int(rng.random() < config.prevalence)
            chance = config.spurious_given_positive if y else config.spurious_given_negative
            return y, int(rng.random() < chance)
        prevalence = config.test_prevalence
        y = int(rng.random() < (config.prevalence if prevalence is None else prevalence))
        return y, int(rng.random() < config.test_spurious)

    def split_table(self, split: str) -> SplitTable:
        """Draw the labels of a split alone, which every record draws before its pixels."""
        drawn = [
            self._draw_labels(split, generator("gaussian-squares", self.config.seed, split, number))
            for number in range(getattr(self.config, f"n_{split}"))
        ]
        labels, blocks = np.array(drawn, np.int64).T
        return SplitTable(labels, labels.copy(), blocks[:, None] == 1)

    def load(self, sample_id: str) -> Record:
        """Draw one image: (n, n, 1) float32, mask (n, n).

        Raises:
            DataError: no such sample id.
        """
        split, number = parse_id(self.config, self.name, sample_id)
        config = self.config
        n, a, b = config.image_size, config.abnormality_size, config.spurious_size
        rng = generator("gaussian-squares", config.seed, split, number)
        y, s = self._draw_labels(split, rng)
        image = config.noise_sd * rng.standard_normal((n, n), dtype=np.float32)
        mask = np.zeros((n, n), dtype=bool)
        top, left = (int(start) for start in rng.integers(0, n - a + 1, size=2))
        starts = _starts(n - b + 1)
        if y:
            mask[top : top + a, left : left + a] = region(config)
            image += np.float32(config.abnormality_mean) * mask
            if config.overlap == "avoid":
                starts = _free_starts(config, top, left)
        row, column = (int(start) for start in starts[rng.integers(len(starts))])
        block = np.zeros_like(mask)
        if s:
            block[row : row + b, column : column + b] = True
            image[block] += np.float32(config.spurious_mean)
        overlap = measure_overlap(block, mask) if y else None
        return Record(
            sample_id=sample_id,
            patient_id=sample_id,
            split=split,
            label=y,
            image=image[:, :, None].astype(np.float32),
            mask=mask,
            abnormalities=y,
            attributes={"block": bool(s)},
            outline=measure_outline(mask),
            overlaps={} if overlap is None else {"block": overlap},
            features={"block": block} if s else {},
        )

    def provenance(self) -> Mapping[str, str]:
        """Return the generator, its version and options."""
        options = {key: str(value) for key, value in asdict(self.config).items()}
        return {"generator": self.name, "version": str(self.config.VERSION), **options}


Generator = GaussianSquaresSource
"""By which `gaussian-squares` is found."""
