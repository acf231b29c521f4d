"""Chest films for the writers of released formats: pixels, masks and made-up patients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scipy import ndimage

from spurious.config.fields import Probability, Seed
from spurious.data.randomness import generator
from spurious.errors import DataError
from spurious.generators.chest.chest_anatomy import Anatomy, draw_anatomy
from spurious.generators.chest.chest_findings import draw_pneumothorax, draw_tube
from spurious.generators.chest.chest_phantom import Case, ChestPhantom, draw_cases, render_case
from spurious.generators.chest.raster import region, stroke
from spurious.readers.origin import MARK

Progress = Callable[[int, int], None]
Mask = NDArray[np.bool_]
_COMMENT = f"{MARK} chest phantom"


@dataclass(frozen=True, kw_only=True)
class FilmOptions:
    """Options of a small release with phantom films.

    The finding is drawn as a pneumothorax and the spurious feature as a chest tube, whatever the
    release calls them.

    Attributes:
        n_train, n_val, n_test: Films of each kind; a release without splits has them all in one.
        prevalence: Share of films with the finding.
        spurious_given_positive, spurious_given_negative: Share of training films with the spurious
            feature.
        eval_spurious_given_positive, eval_spurious_given_negative: The same in `val` and `test`.
        size: Side of the films in pixels.
        contrast: Of the finding: 0 invisible, 1 as subtle as on films, above 1 clearer.
        seed: Every film derives from it and the film's number.
    """

    n_train: Annotated[int, Ge(2), Le(20_000)] = 80
    n_val: Annotated[int, Ge(2), Le(20_000)] = 30
    n_test: Annotated[int, Ge(2), Le(20_000)] = 50
    prevalence: Probability = 0.5
    spurious_given_positive: Probability = 0.8
    spurious_given_negative: Probability = 0.2
    eval_spurious_given_positive: Probability = 0.5
    eval_spurious_given_negative: Probability = 0.5
    size: Annotated[int, Ge(128), Le(2048)] = 512
    contrast: Annotated[float, Ge(0.0), Le(5.0)] = 2.0
    seed: Seed = 0


@dataclass(frozen=True, eq=False)
class PhantomFilm:
    """One film.

    Attributes:
        case: What it shows, and of whom.
        pixels: (size, size) uint8.
        finding: (size, size) bool, of the pneumothorax.
        age: In years.
    """

    case: Case
    pixels: NDArray[np.uint8]
    finding: Mask
    age: int
    _config: ChestPhantom

    def make_uid(self) -> str:
        """Return a UID of the film's own."""
        return ".".join(["1.2.276.0.7230010.3.1.4.8323329", *map(str, self.case.uid_tail)])

    def lungs(self) -> tuple[Mask, Mask]:
        """Return the masks of the lungs, that on the left of the film first."""
        left, right = self._draw_anatomy().lungs
        return region(left.outline, self._config.size), region(right.outline, self._config.size)

    def heart(self) -> Mask:
        """Return the mask of the heart."""
        return region(self._draw_anatomy().heart, self._config.size)

    def tube(self) -> Mask:
        """Return the mask of the tube, empty where there is none."""
        config, case = self._config, self.case
        if not case.tube:
            return np.zeros((config.size, config.size), bool)
        anatomy = self._draw_anatomy()
        place = generator(config.seed, "chest findings", case.number)
        depths = (config.smallest_depth, config.largest_depth)
        air = draw_pneumothorax(place, anatomy, depths, config.p_second)
        tube = draw_tube(place, anatomy.lungs[air[0].lung])
        return stroke([tube.path], [tube.width], config.size) > 0.5

    def _draw_anatomy(self) -> Anatomy:
        number = self.case.number
        rng = generator(self._config.seed, "chest anatomy", number)
        return draw_anatomy(rng, female=self.case.female)


def draw_films(options: FilmOptions, progress: Progress | None = None) -> Iterator[PhantomFilm]:
    """Yield the films of a release in order: train, val, test.

    Args:
        options: Of the release.
        progress: Called with (films yielded, films in all) after each.
    """
    config = ChestPhantom(
        n_train=options.n_train,
        n_val=options.n_val,
        n_test=options.n_test,
        prevalence=options.prevalence,
        p_tube_given_positive=options.spurious_given_positive,
        p_tube_given_negative=options.spurious_given_negative,
        eval_p_tube_given_positive=options.eval_spurious_given_positive,
        eval_p_tube_given_negative=options.eval_spurious_given_negative,
        size=options.size,
        pneumothorax_contrast=options.contrast,
        seed=options.seed,
    )
    cases = draw_cases(config)
    for done, case in enumerate(cases, start=1):
        pixels, finding = render_case(config, case)
        age = int(generator(config.seed, "chest age", case.number).integers(18, 90))
        yield PhantomFilm(case, pixels, finding, age, config)
        if progress is not None:
            progress(done, len(cases))


def find_boxes(mask: Mask) -> list[tuple[int, int, int, int]]:
    """Return x, y, width and height of the box around each component of a mask."""
    labelled, _ = ndimage.label(mask, structure=[[1] * 3] * 3)
    return [
        (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        for rows, columns in ndimage.find_objects(labelled)
    ]


def prepare_folder(folder: Path) -> None:
    """Make a folder that a release is written into.

    Raises:
        DataError: It holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder}: not empty; name a new folder for the phantom")
    folder.mkdir(parents=True, exist_ok=True)


def save_png(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16] | Mask) -> None:
    """Write a PNG, grey or RGB, with the phantom's mark; a bool mask as 0 and 255."""
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = PngInfo()
    mark.add_text("Comment", _COMMENT)
    Image.fromarray(pixels).save(path, "PNG", pnginfo=mark)


def save_jpeg(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a grey JPEG with the phantom's mark."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "JPEG", quality=92, comment=_COMMENT)


def write_lines(path: Path, lines: list[str]) -> None:
    """Write a table of a release, a line each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
