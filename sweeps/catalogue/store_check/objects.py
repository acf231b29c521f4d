"""Single objects that are checked by a hash in their name or in themselves."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from cluster.errors import Corrupt, NotFound
from cluster.stores.base import Store
from spurious.errors import DataError
from spurious.training import checkpoint
from sweeps.catalogue.store_check.findings import Finding, Progress, Section
from sweeps.errors import ResultError
from sweeps.plan.archive import read_archive
from sweeps.results.keys import COMPACT
from sweeps.results.packs import PACKED
from sweeps.results.tables import unpack_checkpoint

_FOLDERS = re.compile("([a-z]+/)+")
_READERS = 4
"""Objects read at once: models, of some hundred megabytes each."""


@dataclass(frozen=True)
class _Kind:
    """A kind of object: how it is called, where it is, what its loss costs, and its check.

    `check` raises DataError, ResultError or Corrupt for bytes that are damaged.
    """

    name: str
    plural: str
    keys: re.Pattern[str]
    cost: str
    check: Callable[[Store, str], object]

    @property
    def prefix(self) -> str:
        """What the keys begin with."""
        return _FOLDERS.match(self.keys.pattern)[0]  # type: ignore[index]


def check_objects(store: Store, progress: Progress) -> list[Section]:
    """Check weights, kept and shared models, checkpoints, submitted YAMLs and archived plans.

    Raises:
        Denied, Unavailable: from the store.
    """
    return [_check_kind(store, kind, progress) for kind in _KINDS]


def _check_kind(store: Store, kind: _Kind, progress: Progress) -> Section:
    keys = [key for key in store.list(kind.prefix) if kind.keys.fullmatch(key)]
    findings: list[Finding] = []
    with ThreadPoolExecutor(_READERS) as pool:
        problems = pool.map(lambda key: _problem(store, kind, key), keys)
        for done, (key, problem) in enumerate(zip(keys, problems, strict=True), 1):
            if problem is not None:
                name = key.removeprefix(kind.prefix)
                findings.append(Finding(kind.name, name, problem, kind.cost, (key,)))
            progress(kind.plural, done, len(keys))
    return Section(kind.plural, len(keys), findings)


def _problem(store: Store, kind: _Kind, key: str) -> str | None:
    try:
        kind.check(store, key)
    except NotFound:  # removed since it was listed, as checkpoints are
        return None
    except (DataError, ResultError, Corrupt) as error:
        return f"{key}: {error}"
    return None


def _check_name(store: Store, key: str) -> None:
    """Compare an object with the SHA-256 in its name."""
    sha256 = hashlib.sha256(store.get(key)).hexdigest()
    if sha256 not in key:
        raise Corrupt(f"it has SHA-256 {sha256}")


def _check_shared_model(store: Store, key: str) -> None:
    checkpoint.unpack(store.get(key))


def _check_checkpoint(store: Store, key: str) -> None:
    checkpoint.unpack(unpack_checkpoint(store.get(key))[0])


def _check_archive(store: Store, key: str) -> None:
    read_archive(store, key.split("/")[1])


_KINDS: Sequence[_Kind] = (
    _Kind(
        "compacted result",
        "compacted results",
        re.compile(rf"{COMPACT}(?:(?:{'|'.join(PACKED)})/)?[0-9a-f]{{64}}\.parquet"),
        "no result: commands read it by itself until `sweeps store compact` has copied it again",
        _check_name,
    ),
    _Kind(
        "weights",
        "weights",
        re.compile("weights/[0-9a-f]{64}"),
        "stage the file again: sweeps stage weights FILE",
        _check_name,
    ),
    _Kind(
        "kept model",
        "kept models",
        re.compile(r"models/[0-9a-f]+/[^/]+/[0-9a-f]{64}\.safetensors"),
        "a model to export, and no number: the same sweep in another store trains it again",
        _check_name,
    ),
    _Kind(
        "shared model",
        "shared models",
        re.compile(r"stages/[0-9a-f]+/(result|state)\.pt"),
        "one training: the next trial that begins with it does it",
        _check_shared_model,
    ),
    _Kind(
        "checkpoint",
        "checkpoints",
        re.compile(r"checkpoints/[0-9a-f]+/state\.pt"),
        "the trial starts from the beginning",
        _check_checkpoint,
    ),
    _Kind(
        "specification",
        "submitted specifications",
        re.compile(r"specs/[0-9a-f]{64}\.yaml"),
        "submit the YAML again",
        _check_name,
    ),
    _Kind(
        "sweep",
        "archived sweeps",
        re.compile(r"sweeps/[^/]+/plan\.json"),
        "run the sweep's YAML again: its name is known to no command until then",
        _check_archive,
    ),
)
