"""Writes half-real chest films as a folder in the format of the SIIM-ACR release."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

from spurious.data.randomness import generator
from spurious.data.splits import EVALUATION_SPLITS, SPLITS
from spurious.errors import DataError
from spurious.generators.chest.film_file import write_film
from spurious.generators.chest.half_real import (
    HalfRealCase,
    HalfRealChest,
    film_header,
    render_half_real,
)
from spurious.generators.chest.half_real_tables import (
    TableFilm,
    choose_films,
    read_table_films,
    tube_rate,
)
from spurious.readers.marks import rle
from spurious.readers.siim_acr.tube_labels import TubeLabels, split_by_order, write_tube_csv

_RATES = {True: "p_tube_given_positive", False: "p_tube_given_negative"}


def write_half_real(
    folder: Path, config: HalfRealChest, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write `dicom-images-train/`, `train-rle.csv` and tube labels, which a reader takes.

    The mask table has the released rows of the films that are written. Tube labels are a pickle in
    the released order where that shows the splits, else a CSV with a column `split`. The same
    options give the same bytes. The mask table is written last, so an interrupted folder is not
    taken for a whole one.

    Args:
        folder: Made where absent; must be empty.
        config: Options.
        progress: Called with (films written, films in all) after each.

    Raises:
        DataError: The folder holds something already, or the tables or options do not do.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder}: not empty; name a new folder for the films")
    cases = draw_half_real_cases(config)
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["ImageId, EncodedPixels"]
    for done, case in enumerate(cases, start=1):
        write_film(folder, render_half_real(config, case), film_header(config, case))
        rows += [f"{case.image}, {code}" for code in case.codes or (rle.NO_MASK,)]
        if progress is not None:
            progress(done, len(cases))
    _write_tube_labels(folder, cases)
    (folder / "train-rle.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def draw_half_real_cases(config: HalfRealChest) -> list[HalfRealCase]:
    """Read the tables and draw what they leave open: splits, other films' tubes, places.

    Raises:
        DataError: The tables cannot be read or joined, or the options do not do for them.
    """
    tubes = Path(config.tubes) if config.tubes is not None else None
    if tubes is None and None in (config.n_val, config.n_test):
        raise DataError(
            "without tube labels nothing says which films are val and test; name the labels with "
            "'tubes', or give n_val and n_test"
        )
    films = read_table_films(Path(config.annotations), tubes)
    sizes = {"train": config.n_train, "val": config.n_val, "test": config.n_test}
    rngs = {split: generator(config.seed, "half-real films", split) for split in SPLITS}
    chosen = choose_films(films, sizes, rngs)
    shown = _draw_tubes(config, films, chosen)
    places = {
        split: [film.codes for film in chosen if film.codes and film.split == split]
        for split in SPLITS
    }
    return [
        HalfRealCase(
            image=film.image,
            split=film.split,
            codes=film.codes,
            place=film.codes or _draw_place(config.seed, film.image, places[film.split]),
            tube=shown[film.image],
            tube_labelled=film.tube is not None or film.split in EVALUATION_SPLITS,
        )
        for film in chosen
    ]


def _draw_place(seed: int, image: str, places: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    rng = generator(seed, "half-real place", image)
    return places[int(rng.integers(len(places)))] if places else ()


def _draw_tubes(
    config: HalfRealChest, films: Sequence[TableFilm], chosen: Sequence[TableFilm]
) -> dict[str, bool]:
    """Return whether each film shows a tube: as labelled, else by the rates, met exactly."""
    shown = {film.image: film.tube for film in chosen if film.tube is not None}
    for positive, option in _RATES.items():
        unknown = [f for f in chosen if f.image not in shown and bool(f.codes) == positive]
        for split in SPLITS:
            group = [film.image for film in unknown if film.split == split]
            rate: float | None = getattr(config, option)
            rate = tube_rate(films, positive=positive) if rate is None else rate
            if group and rate is None:
                raise DataError(
                    f"no labelled film {'with' if positive else 'without'} a pneumothorax says how "
                    f"often a tube comes with it; give {option}"
                )
            rng = generator(config.seed, "half-real tubes", split, int(positive))
            order = rng.permutation(len(group)).tolist()
            tubes = int(len(group) * (rate or 0.0) + 0.5)
            shown |= {group[i]: place < tubes for place, i in enumerate(order)}
    return shown


def _place_in_labels(case: HalfRealCase) -> tuple[int, list[int]]:
    return SPLITS.index(case.split), [int(part) for part in case.image.split(".")]


def _write_tube_labels(folder: Path, cases: Sequence[HalfRealCase]) -> None:
    """Write the labels, ascending UIDs in each split: as pickle where that shows the splits."""
    labelled = sorted((case for case in cases if case.tube_labelled), key=_place_in_labels)
    labels = TubeLabels(
        {case.image: case.tube for case in labelled},
        {case.image: case.split for case in labelled},
    )
    try:
        shows_splits = split_by_order(list(labels.present), "tube labels") == labels.splits
    except DataError:
        shows_splits = False
    if shows_splits:
        pickled = pickle.dumps(labels.present, protocol=4)
        (folder / "cxr_tube_dict.pkl").write_bytes(pickled)
    else:
        write_tube_csv(labels, folder / "cxr_tube_dict.csv")
