"""The datasets that can be staged, by name: readers of native folders, and generators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spurious.config.options import (
    GENERATORS,
    READERS,
    GaussianSquares,
    IsicOptions,
    SiimAcrOptions,
)
from spurious.data.records import RecordSource
from spurious.generators.gaussian_squares import GaussianSquaresSource
from spurious.readers.isic.isic import Isic
from spurious.readers.siim_acr.siim_acr import SiimAcr
from sweeps.errors import SweepError
from sweeps.plan.identity import generator_digest
from sweeps.spec.fields import Field, Refused, SpecIssues, nearest
from sweeps.spec.yaml import override, read


@dataclass(frozen=True)
class Staging:
    """A source with what its manifest needs; digest and options only for a generator."""

    source: RecordSource
    digest: str | None = None
    options: Any = None


def _siim_acr(folder: Path, options: SiimAcrOptions) -> RecordSource:
    tubes, rle = (None if path is None else Path(path) for path in (options.tubes, options.rle))
    return SiimAcr(folder, image_size=options.image_size, tubes=tubes, rle=rle)


def _isic(folder: Path, options: IsicOptions) -> RecordSource:
    traps = None if options.traps is None else Path(options.traps)
    return Isic(folder, image_size=options.image_size, split=options.split, traps=traps)


def _gaussian_squares(options: GaussianSquares) -> RecordSource:
    return GaussianSquaresSource(options)


READER_SOURCES: Mapping[str, Callable[[Path, Any], RecordSource]] = {
    "isic": _isic,
    "siim-acr": _siim_acr,
}
GENERATOR_SOURCES: Mapping[str, Callable[[Any], RecordSource]] = {
    "gaussian-squares": _gaussian_squares
}


def generator_staging(name: str, options: Any) -> Staging:
    """Staging of a generator with given options."""
    return Staging(GENERATOR_SOURCES[name](options), generator_digest(name, options), options)


def staging_from_command(name: str, folder: Path | None, options: Mapping[str, Any]) -> Staging:
    """What `sweeps stage NAME [DIR] --set key=value` asks for.

    Raises:
        SweepError: no such dataset, a folder too many or too few, or bad options.
    """
    if name in GENERATORS and folder is None:
        return generator_staging(name, options_from_command(GENERATORS[name], options))
    if name in GENERATORS:
        raise SweepError(f"'{name}' is generated and takes no folder; leave '{folder}' out")
    if name not in READERS:
        known = sorted([*READERS, *GENERATORS, "weights"])
        hint = nearest(name, known)
        raise SweepError(
            f"'{name}' cannot be staged; expected one of {', '.join(known)}"
            + (f"; {hint}" if hint else "")
        )
    if folder is None:
        raise SweepError(f"'{name}' is read from its release's folder: sweeps stage {name} DIR")
    parsed = options_from_command(READERS[name], options)
    return Staging(READER_SOURCES[name](folder, parsed))


def options_from_command(cls: type[Any], options: Mapping[str, Any]) -> Any:
    """An options dataclass from `--set key=value` pairs, as strictly as from a sweep YAML.

    Raises:
        SweepError: unknown keys or bad values, all of them.
    """
    tree, _ = read("{}")
    problems = SpecIssues("--set")
    built: Any = None
    if tree is not None:
        wrong = [override(tree, key, value) for key, value in options.items()]
        problems.issues += [problem for problem in wrong if problem is not None]
        with suppress(Refused):
            built = Field(tree, "", problems).options(cls)
    problems.raise_if_any()
    return built
