"""COVID-19 Radiography Database: four classes, lung masks, and the source of every film."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spurious.config.release_fields import parse_names
from spurious.config.releases import COVID_CLASSES, CovidRadiographyOptions
from spurious.data.classes import ImageClass
from spurious.data.outlines import measure_outline
from spurious.data.records import Record
from spurious.data.specificity import count_components
from spurious.readers.base import FolderReader, Index, name_and_hash
from spurious.readers.covid_radiography.covid_files import (
    Film,
    count_without,
    find_films,
    find_home,
    read_sources,
)
from spurious.readers.grey_films import read_grey
from spurious.readers.issues import ReaderIssues
from spurious.readers.marks.mask_files import read_mask
from spurious.readers.resize import shrink_image, shrink_mask
from spurious.readers.split_draw import draw_splits


@dataclass(frozen=True, kw_only=True)
class CovidIndex(Index):
    """Films of the chosen classes."""

    films: Mapping[str, Film]
    sources: Mapping[str, str]
    splits: Mapping[str, str]


class CovidRadiography(FolderReader[CovidRadiographyOptions, CovidIndex]):
    """The release as a record source: PNG films, masks of the lungs, workbooks.

    Folder: `{COVID,Lung_Opacity,Normal,Viral Pneumonia}/{images,masks}/<Class>-<n>.png` and
    `<Class>.metadata.xlsx`, with or without `COVID-19_Radiography_Dataset/` around them.

    - Label 1 is a film of a `positive` class, label 0 one of the `negative` classes, which are all
      others where none is named. With `classes: all` a record has its class, too.
    - The mask is of both **lungs**, on films of every class: a region that an annotator draws in
      the same way on each film, not the abnormality (`mask: lungs` of the provenance).
    - Masks have 256 pixels a side and three channels, films 299; they are enlarged to the nearest
      pixel. Old releases have no masks: then `mask` is None.
    - Attribute `source`, with the option of that name: the film's URL contains its text. Classes
      come from different hospitals, which a model can tell by the film.
    - Patients are not known; every film counts as one. Splits are drawn by label (or class) and
      source.
    """

    name = "covid-radiography"
    partial = True

    def __init__(self, folder: Path, options: CovidRadiographyOptions) -> None:
        super().__init__(folder, options)
        self.positive = parse_names(options.positive)
        named = parse_names(options.negative)
        self.negative = named or tuple(kind for kind in COVID_CLASSES if kind not in self.positive)
        self.attribute_names = ("source",) if options.source else ()
        if options.classes == "all":
            chosen = {*self.positive, *self.negative}
            self.classes = tuple(
                ImageClass(kind, kind in self.positive) for kind in COVID_CLASSES if kind in chosen
            )

    def read_record(self, sample_id: str, path: Path) -> Record:
        """Decode, shrink and return one record; image (size, size, 1) uint8.

        Raises:
            DataError: Unreadable file, or a mask that does not fit.
        """
        contents, side = self.contents, self.options.image_size
        film, source = contents.films[sample_id], contents.sources.get(sample_id.casefold())
        pixels = read_grey(path)
        mask = None if film.mask is None else read_mask(film.mask, pixels.shape)
        return Record(
            sample_id=sample_id,
            patient_id=sample_id,
            split=contents.splits[sample_id],
            label=int(film.kind in self.positive),
            image=shrink_image(pixels, side, side)[:, :, None],
            mask=None if mask is None else shrink_mask(mask, side, side),
            abnormalities=0 if mask is None else count_components(mask),
            attributes=self._attributes(source),
            covariates={"class": film.kind, "url": source},
            outline=None if mask is None else measure_outline(mask),
            class_number=self._find_class(film),
        )

    def read_index(self, issues: ReaderIssues) -> CovidIndex:
        """Join films, masks and workbooks."""
        options, size = self.options, self.options.image_size
        home, kinds = find_home(self.folder), (*self.positive, *self.negative)
        films = find_films(home, kinds, issues)
        sources, books = read_sources(home, kinds, issues)
        self._check_source(sources, issues)
        issues.raise_if_any(self.name)
        strata = {
            name: self._stratum(film, sources.get(name.casefold())) for name, film in films.items()
        }
        return CovidIndex(
            images={name: films[name].image for name in sorted(films)},
            origin={
                "format": "COVID-19 Radiography Database",
                "positive": ", ".join(self.positive),
                "negative": ", ".join(self.negative),
                **self._describe_classes(),
                "split": f"drawn {options.split} by film, {self._stratified} and source, seed "
                f"{options.seed}",
                "image": f"area-averaged to {size}",
                "mask": "lungs",
                "mask_files": f"enlarged to the film's size, max-pooled to {size}",
                "films_without_mask": str(sum(film.mask is None for film in films.values())),
                "films_without_row": str(count_without(films, sources)),
                "patients": "not known; every film counts as one",
                **{f"{book.name}": name_and_hash(book) for book in books},
            },
            films=films,
            sources=sources,
            splits=draw_splits({name: name for name in films}, strata, options),
        )

    @property
    def _stratified(self) -> str:
        return "class" if self.classes else "label"

    def _describe_classes(self) -> dict[str, str]:
        return {"classes": ", ".join(each.name for each in self.classes)} if self.classes else {}

    def _find_class(self, film: Film) -> int | None:
        """Return the number of a film's class; None where labels are all that is told apart."""
        numbers = (at for at, each in enumerate(self.classes) if each.name == film.kind)
        return next(numbers, None)

    def _attributes(self, source: str | None) -> dict[str, bool | None]:
        if not self.options.source:
            return {}
        is_from = None if not source else self.options.source.casefold() in source.casefold()
        return {"source": is_from}

    def _stratum(self, film: Film, source: str | None) -> tuple[int, ...]:
        number = self._find_class(film)
        stratum = int(film.kind in self.positive) if number is None else number
        return (stratum, *(int(value is True) for value in self._attributes(source).values()))

    def _check_source(self, sources: Mapping[str, str], issues: ReaderIssues) -> None:
        requested = self.options.source.casefold()
        if requested and not any(requested in url.casefold() for url in sources.values()):
            urls = sorted(set(sources.values()))[:5]
            issues.add(
                f"source: no film's URL contains '{self.options.source}'; expected a part of one "
                f"of {', '.join(urls) or 'those in <Class>.metadata.xlsx, which are not there'}"
            )
