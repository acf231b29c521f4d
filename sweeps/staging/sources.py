"""The datasets that can be staged, by name: readers of native folders, and generators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from spurious.config.datasets import GENERATORS, READERS
from spurious.data.records import RecordSource
from spurious.generators import open_generator
from sweeps.errors import SweepError
from sweeps.plan.identity import generator_digest
from sweeps.spec.fields import Field, Refused, SpecIssues, hint_parts, nearest, options_of
from sweeps.spec.yaml import override, read
from sweeps.staging.patient_salt import machine_salt


@dataclass(frozen=True)
class Staging:
    """A source with what its manifest needs; digest and options only for a generator."""

    source: RecordSource
    digest: str | None = None
    options: Any = None


def open_reader(name: str, folder: Path, options: Any) -> RecordSource:
    """Make the reader of a registered name, whose module has it as `Reader`."""
    module = import_module(f"spurious.readers.{name.replace('-', '_')}")
    reader: RecordSource = module.Reader(folder, options)
    return reader


def generator_staging(name: str, options: Any) -> Staging:
    """Staging of a generator with given options."""
    return Staging(open_generator(name, options), generator_digest(name, options), options)


def staging_from_command(name: str, folder: Path | None, options: Mapping[str, Any]) -> Staging:
    """Return what `sweeps stage NAME [DIR] --set key=value` asks for.

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
    return Staging(open_reader(name, folder, _with_salt(parsed)))


def _with_salt(options: Any) -> Any:
    """Give a reader that hashes patient ids this machine's salt, unless the options have one."""
    if getattr(options, "patient_salt", "") is not None or options.keep_patient_ids:
        return options
    return replace(options, patient_salt=machine_salt())


def keep_texts(name: str, pairs: Sequence[str], options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `--set` options of a dataset with texts as they were typed.

    A value is read as YAML, where `1`, `yes` and `1.0` are not texts; for an option that takes a
    text (a class called `1`), what was typed is.

    Args:
        name: The dataset.
        pairs: `KEY=VALUE` as typed.
        options: The same, read.
    """
    cls: Any = READERS.get(name)
    known = {} if cls is None else options_of(cls)
    typed = dict(pair.split("=", 1) for pair in pairs)
    return {
        key: typed[key]
        if key in known and hint_parts(known[key][0])[0] is str and _is_scalar(value)
        else value
        for key, value in options.items()
    }


def _is_scalar(value: Any) -> bool:
    return isinstance(value, bool | int | float)


def options_from_command(cls: type[Any], options: Mapping[str, Any]) -> Any:
    """Return an options dataclass from `--set key=value` pairs, as strictly as from a sweep YAML.

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
