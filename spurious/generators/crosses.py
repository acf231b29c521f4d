"""Crosses: the synthetic images of Viviano et al. 2019 and 2021, drawn as their code draws them.

The legacy generator of numpy is part of the definition: it gives the published images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spurious.config.datasets import Crosses
from spurious.data.classes import ImageClass
from spurious.data.outlines import measure_outline
from spurious.data.overlaps import measure_overlap
from spurious.data.records import Record, SplitTable
from spurious.data.specificity import count_components
from spurious.generators.numbered import list_ids, parse_id

SIDE = 28
ARMS = {"easy": (3, 5), "hard": (1, 3)}
"""Least arm in pixels, and what it stays below."""
EDGES = {"easy": 5, "hard": 3}
"""Pixels between the marker and the image's edges."""
MARKER_ROWS, MARKER_COLUMNS = 2, 3
_SEEDS = {"train": 1, "val": 2, "test": 3}


class _Drawing(NamedTuple):
    """One image, (28, 28) bool each: its crosses, and its marker."""

    crosses: NDArray[np.bool_]
    marker: NDArray[np.bool_]


@lru_cache(maxsize=8)
def _draw_split(options: Crosses, split: str) -> tuple[_Drawing, ...]:
    """Draw a split from its one random stream; validation and test are mirrored."""
    rng = np.random.RandomState(3 * options.seed + _SEEDS[split])
    count = int(getattr(options, f"n_{split}"))
    drawings = [_draw(options, int(number >= count // 2), rng) for number in range(count)]
    if split == "train":
        return tuple(drawings)
    return tuple(_Drawing(*(part[:, ::-1].copy() for part in drawn)) for drawn in drawings)


def _draw(options: Crosses, label: int, rng: np.random.RandomState) -> _Drawing:
    """Draw one training image; the order of the draws is the published one."""
    arm = int(rng.randint(*ARMS[options.difficulty]))
    rows, columns = (
        rng.choice(range(arm, SIDE - arm), size=label + 1, replace=False) for _ in range(2)
    )
    crosses, marker = np.zeros((2, SIDE, SIDE), dtype=bool)
    for row, column in zip(rows, columns, strict=True):
        crosses[row - arm : row + arm + 1, column] = True
        crosses[row, column - arm : column + arm + 1] = True
    edge = EDGES[options.difficulty]
    left = SIDE - edge - MARKER_COLUMNS if label else edge
    marker[SIDE - edge - MARKER_ROWS : SIDE - edge, left : left + MARKER_COLUMNS] = True
    return _Drawing(crosses, marker)


class CrossesSource:
    """`RecordSource` of crosses, whose masks are drawn for both labels."""

    name = "crosses"
    attribute_names: tuple[str, ...] = ("marker_right",)
    declared_directions: Mapping[str, int] = {"marker_right": 1}
    partial: bool = False
    classes: Sequence[ImageClass] = ()

    def __init__(self, config: Crosses) -> None:
        self.config = config

    def index(self) -> Sequence[str]:
        """Return all sample ids, ascending."""
        return list_ids(self.config)

    def split_table(self, split: str) -> SplitTable:
        """Return what the records of a split will say."""
        count = int(getattr(self.config, f"n_{split}"))
        labels = (np.arange(count) >= count // 2).astype(np.int64)
        drawings = _draw_split(self.config, split)
        regions = np.array([count_components(drawn.crosses) for drawn in drawings], np.int64)
        right = labels == int(split == "train")
        return SplitTable(labels, regions, right[:, None])

    def load(self, sample_id: str) -> Record:
        """Return one image: (28, 28, 1) float32 in {0, 1}, and its mask, (28, 28).

        Raises:
            DataError: no such sample id.
        """
        split, number = parse_id(self.config, self.name, sample_id)
        crosses, marker = _draw_split(self.config, split)[number]
        count = int(getattr(self.config, f"n_{split}"))
        label = int(number >= count // 2)
        right = bool(label) == (split == "train")
        overlap = measure_overlap(marker, crosses)
        return Record(
            sample_id=sample_id,
            patient_id=sample_id,
            split=split,
            label=label,
            image=(crosses | marker)[:, :, None].astype(np.float32),
            mask=crosses.copy(),
            abnormalities=count_components(crosses),
            attributes={"marker_right": right},
            outline=measure_outline(crosses),
            overlaps={} if overlap is None else {"marker_right": overlap},
            features={"marker_right": marker.copy()},
        )

    def provenance(self) -> Mapping[str, str]:
        """Return the generator, its version and options."""
        options = {key: str(value) for key, value in asdict(self.config).items()}
        return {"generator": self.name, "version": str(self.config.VERSION), **options}


Generator = CrossesSource
"""By which `crosses` is found."""
