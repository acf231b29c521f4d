"""Reads the tables of a SIIM-ACR release without its films, and draws splits of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spurious.data.splits import SPLITS
from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues
from spurious.readers.joins import name_some
from spurious.readers.siim_acr.siim_files import read_masks
from spurious.readers.siim_acr.tube_labels import TubeLabels, is_uid, read_tube_labels


@dataclass(frozen=True)
class TableFilm:
    """What the tables say of a film.

    Attributes:
        image: Its SOPInstanceUID.
        split: `train`, `val` or `test`; `train` where no table says.
        codes: Run-length codes of its masks, in the table's order.
        tube: Whether a tube is visible; None where nobody labelled it.
    """

    image: str
    split: str
    codes: tuple[str, ...]
    tube: bool | None


def read_table_films(annotations: Path, tubes: Path | None) -> list[TableFilm]:
    """Return every film of a mask table in its order, with the tube labels where there are any.

    Raises:
        DataError: A table cannot be read, an image is not named by a UID (names become those of
            files), or a tube label is of no film in the mask table.
    """
    issues = ReaderIssues()
    masks = read_masks(annotations, issues)
    labels = read_tube_labels(tubes, issues) if tubes is not None else TubeLabels({}, {})
    if strange := [image for image in masks if not is_uid(image)]:
        issues.add(
            f"{annotations.name}: {len(strange)} images are not named by a DICOM UID "
            f"({name_some(strange)}); use the table of the stage-1 release"
        )
    if strays := labels.present.keys() - masks.keys():
        issues.add(
            f"{len(strays)} tube labels are of no image in {annotations.name} "
            f"({name_some(strays)}); use the table and the labels of one release"
        )
    issues.raise_if_any("half-real films")
    return [
        TableFilm(
            image=image,
            split=labels.splits.get(image, "train"),
            codes=tuple(row.code for row in rows),
            tube=labels.present.get(image),
        )
        for image, rows in masks.items()
    ]


def choose_films(
    films: Sequence[TableFilm],
    sizes: Mapping[str, int | None],
    rngs: Mapping[str, np.random.Generator],
) -> list[TableFilm]:
    """Return as many films of each split as asked for, with the shares of all its groups.

    Where no film is of `val` or `test`, these splits are drawn out of all films first.

    Args:
        films: Films of the tables; their order stays.
        sizes: Split to films, None for all.
        rngs: Split to the generator that draws it.

    Raises:
        DataError: More films are asked for than there are.
    """
    rest, chosen = list(films), dict[str, TableFilm]()
    pooled = all(film.split == "train" for film in films)
    for split in reversed(SPLITS):
        pool = [film for film in rest if pooled or film.split == split]
        count = len(pool) if sizes[split] is None else sizes[split]
        if count is None or count > len(pool):
            raise DataError(
                f"n_{split}={count} is more than the {len(pool)} films that the tables have for "
                f"{split}; give at most that, or leave it out"
            )
        taken = _draw_share(pool, count, rngs[split])
        chosen |= {film.image: replace(film, split=split) for film in pool if film.image in taken}
        rest = [film for film in rest if film.image not in taken]
    return [chosen[film.image] for film in films if film.image in chosen]


def tube_rate(films: Iterable[TableFilm], *, positive: bool) -> float | None:
    """Return the share of labelled films of a label that show a tube; None without any."""
    labels = [film.tube for film in films if film.tube is not None and bool(film.codes) == positive]
    return sum(labels) / len(labels) if labels else None


def _draw_share(pool: Sequence[TableFilm], count: int, rng: np.random.Generator) -> set[str]:
    """Draw films of all groups (pneumothorax, tube) in their shares, by largest remainders."""
    groups: dict[tuple[bool, bool | None], list[str]] = {}
    for film in pool:
        groups.setdefault((bool(film.codes), film.tube), []).append(film.image)
    ordered = sorted(groups, key=str)
    exact = np.array([len(groups[key]) * count / max(1, len(pool)) for key in ordered])
    quotas = np.floor(exact).astype(int)
    for place in np.argsort(quotas - exact, kind="stable")[: count - int(quotas.sum())]:
        quotas[place] += 1
    taken: set[str] = set()
    for key, quota in zip(ordered, quotas.tolist(), strict=True):
        taken.update(groups[key][i] for i in rng.permutation(len(groups[key]))[:quota].tolist())
    return taken
