"""Half-real chest films: the masks and tube labels of a release, on films that are drawn.

Which films there are, how many of each group, where a pneumothorax lies, how large it is and of how
many pieces, is that of the tables; every pixel is made up.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray

from spurious.config.fields import Probability, Seed
from spurious.data.randomness import derive, generator
from spurious.generators.chest.chest_anatomy import draw_anatomy
from spurious.generators.chest.chest_film import DrawnPlace, Findings, render_film
from spurious.generators.chest.chest_findings import draw_tube
from spurious.generators.chest.chest_phantom import Contrast
from spurious.generators.chest.film_file import FilmHeader
from spurious.generators.chest.placement import lung_at, place_around
from spurious.readers.marks import rle
from spurious.readers.resize import shrink_mask
from spurious.readers.siim_acr.siim_files import RLE

RELEASED_SIZE = 1024
"""Side of the films that the released masks are of."""

Films = Annotated[int, Ge(1), Le(20_000)]


@dataclass(frozen=True, kw_only=True)
class HalfRealChest:
    """Options of half-real films.

    Attributes:
        annotations: The released mask table (`train-rle.csv`, also gzipped).
        tubes: The released tube labels (`cxr_tube_dict.pkl`, or a CSV), which say what is `val`
            and `test`. Without them `n_val`, `n_test` and both rates of tubes are needed.
        n_train, n_val, n_test: Films per split, drawn by `seed` with the shares of all its groups;
            None for all.
        p_tube_given_positive, p_tube_given_negative: Share of the films without a tube label that
            show a tube; None for that among the labelled films.
        detail: Side in pixels at which films are drawn, before they are enlarged to the 1024 that
            the released masks are of; less is faster and does for small staged images.
        pneumothorax_contrast: 0 invisible, 1 as subtle as on films, above 1 clearer.
        tube_contrast: The same for tubes.
        seed: Every film derives from it and the film's name.
    """

    annotations: str
    tubes: str | None = None
    n_train: Films | None = None
    n_val: Films | None = None
    n_test: Films | None = None
    p_tube_given_positive: Probability | None = None
    p_tube_given_negative: Probability | None = None
    detail: Annotated[int, Ge(128), Le(RELEASED_SIZE)] = RELEASED_SIZE
    pneumothorax_contrast: Contrast = 1.0
    tube_contrast: Contrast = 1.0
    seed: Seed = 0


@dataclass(frozen=True)
class HalfRealCase:
    """One film to be drawn.

    Attributes:
        image: Its name in both tables.
        split: `train`, `val` or `test`.
        codes: Run-length codes of its masks at the released size; none without a pneumothorax.
        place: Codes of the masks that the anatomy is placed around: its own, or those of another
            film of the split, so that anatomy does not tell the label.
        tube: Whether the film shows a tube.
        tube_labelled: Whether the labels say so.
    """

    image: str
    split: str
    codes: tuple[str, ...]
    place: tuple[str, ...]
    tube: bool
    tube_labelled: bool


def render_half_real(config: HalfRealChest, case: HalfRealCase) -> NDArray[np.uint8]:
    """Return the (1024, 1024) uint8 film of a case.

    Anatomy, placement, tube and film have generators of their own, so a case that differs in its
    findings alone is the same patient on the same film.
    """
    seed, image, size = config.seed, case.image, config.detail
    anatomy = draw_anatomy(generator(seed, "chest anatomy", image), female=_is_female(config, case))
    lung, drawn = int(generator(seed, "half-real lung", image).integers(2)), None
    if case.place:
        mask = shrink_mask(unite(case.place), size, size)
        anatomy = place_around(generator(seed, "half-real placement", image), anatomy, mask)
        lung, drawn = lung_at(anatomy, mask), DrawnPlace(mask, air=bool(case.codes))
    findings = generator(seed, "chest findings", image)
    film, _ = render_film(
        generator(seed, "chest film", image),
        anatomy,
        Findings(
            tube=draw_tube(findings, anatomy.lungs[lung]) if case.tube else None,
            pneumothorax_contrast=config.pneumothorax_contrast,
            tube_contrast=config.tube_contrast,
            drawn=drawn,
        ),
        size,
    )
    released = (RELEASED_SIZE, RELEASED_SIZE)
    return np.asarray(cv2.resize(film, released, interpolation=cv2.INTER_CUBIC), np.uint8)


def unite(codes: Sequence[str]) -> NDArray[np.bool_]:
    """Unite the masks of run-length codes of the release, (1024, 1024) bool."""
    union = np.zeros((RELEASED_SIZE, RELEASED_SIZE), bool)
    for code in codes:
        union |= rle.decode(code, RELEASED_SIZE, RELEASED_SIZE, RLE)[0]
    return union


def film_header(config: HalfRealChest, case: HalfRealCase) -> FilmHeader:
    """Return what the file says: the table's name, and a made-up study, series and patient."""
    seed, image = config.seed, case.image
    patient = generator(seed, "half-real patient", image).bytes(16)
    return FilmHeader(
        study=f"2.25.{derive(seed, 'half-real study', image)}",
        series=f"2.25.{derive(seed, 'half-real series', image)}",
        image=image,
        patient_id=str(uuid.UUID(bytes=patient, version=4)),
        female=_is_female(config, case),
        drawn_by="half-real chest phantom",
    )


def _is_female(config: HalfRealChest, case: HalfRealCase) -> bool:
    """Return the sex of the made-up patient, which neither table knows."""
    return bool(generator(config.seed, "half-real sex", case.image).random() < 0.5)
