"""Copies a sweep to another store: its dataset, weights, results, models, records and report.

Each object is compared with its hash on the way out, and read back. A copy that was stopped goes on
where it was: what the other store has whole is not copied again. As in a run, what names others
comes after them: manifests after shards, commits after their tables, the plan at the end.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cluster.datasets.keys import DATASETS, shard_key
from cluster.datasets.manifest import Manifest, find_manifest
from cluster.errors import AlreadyExists, Corrupt, NotFound
from cluster.stores.base import Store
from sweeps.errors import SweepError
from sweeps.plan.archive import SWEEPS, plan_key
from sweeps.plan.plan import Plan
from sweeps.results.checking import check_results, result_keys
from sweeps.results.compaction import compact
from sweeps.results.kept import model_keys
from sweeps.results.keys import READERS, stopped_key, table_of, trial_of
from sweeps.results.packs import Fact, digest
from sweeps.results.reader import ResultReader
from sweeps.results.tables import read_trials
from sweeps.spec.stored import weights_key, weights_record_key

_FILES = 4
"""Shards copied at once, each of at most some 128 MB in the temporary folder."""

Progress = Callable[[str, int, int], None]
"""Called with what is copied, how many of them were, and their total."""


@dataclass(frozen=True)
class Copied:
    """What a copy wrote.

    Attributes:
        objects: Objects written.
        size_bytes: Their sizes together.
        results: Results that the other store has now.
    """

    objects: int
    size_bytes: int
    results: int


class SweepCopy:
    """One copy of a sweep from one store to another."""

    def __init__(self, reader: ResultReader, target: Store, progress: Progress) -> None:
        """Copy nothing yet; `reader` is of the store that the sweep is in."""
        self._reader, self._source, self._target = reader, reader.store, target
        self._progress = progress
        self._objects = self._bytes = 0

    def copy(self, plan: Plan) -> Copied:
        """Copy a sweep by its plan against its own store.

        Raises:
            Corrupt: an object is damaged in its own store, or comes back as other bytes.
            SweepError: the dataset is not in the store.
        """
        if plan.facts is None or plan.unknown is not None:
            raise SweepError(f"sweep '{plan.name}' has no whole dataset: {plan.unknown}")
        manifest = find_manifest(self._source, plan.facts.name, plan.facts.digest)
        self._copy_dataset(manifest)
        self._copy_weights(plan)
        done = self._copy_results(plan)
        listed = list(self._source.list(f"{SWEEPS}{plan.name}/"))
        last = plan_key(plan.name)
        for key in [*(key for key in listed if key != last), last]:
            self._copy_small(key)
        compact(ResultReader(self._target), done)
        return Copied(self._objects, self._bytes, len(done))

    def _copy_dataset(self, manifest: Manifest) -> None:
        shards = {shard_key(manifest.name, each.sha256): each.sha256 for each in manifest.shards}
        self._copy_files("shards", shards)
        folder = f"{DATASETS}{manifest.name}/{manifest.digest}/"
        for key in self._source.list(folder):
            if key != manifest.key:
                self._copy_small(key)
        self._copy_small(manifest.key)

    def _copy_weights(self, plan: Plan) -> None:
        models = (trial.config.model for trial in plan.trials)
        named = {each for model in models if (each := getattr(model, "weights", None)) is not None}
        self._copy_files("weights", {weights_key(each): each for each in sorted(named)})
        for each in sorted(named):
            if self._source.exists(weights_record_key(each)):
                self._copy_small(weights_record_key(each))

    def _copy_results(self, plan: Plan) -> frozenset[str]:
        """Copy results and records of failures; return the trials that have a whole result."""
        searched = {trial.id for of in plan.searches for each in of.tried for trial in each.trials}
        ids = {trial.id for trial in plan.trials} | searched
        whole = plan.done | check_results(self._reader, searched).done
        there = check_results(self._target, whole).done
        left = sorted(whole - there)
        self._copy_models(whole, left)
        keys = [*result_keys(self._reader, left), *self._new_failures(ids)]
        facts = {
            key: fact for key, fact in self._reader.look(keys).items() if isinstance(fact, Fact)
        }
        tables = [key for key in facts if table_of(key) != "trials"]
        commits = [key for key in facts if table_of(key) == "trials"]
        with ThreadPoolExecutor(READERS) as pool:
            for part in (tables, commits):
                copies = pool.map(lambda key: self._copy_result(facts[key]), part)
                for done, size in enumerate(copies, 1):
                    self._count(size)
                    self._progress("results", done, len(part))
        for key in map(stopped_key, sorted(searched)):
            if self._source.exists(key):
                self._copy_small(key)
        return there | {trial_of(key) for key in commits}

    def _copy_models(self, whole: Iterable[str], left: Iterable[str]) -> None:
        """Copy kept models of results that are copied, or that are the same in the other store."""
        here = model_keys(self._reader, set(whole))
        there = read_trials(self._target, here.keys() - set(left))
        columns = (there.column(name).to_pylist() for name in ("trial_id", "attempt"))
        same = {trial_id for trial_id, attempt in zip(*columns, strict=True)
                if here[trial_id].split("/")[2] == attempt}  # fmt: skip
        keys = [key for trial_id, key in sorted(here.items()) if trial_id in same.union(left)]
        self._copy_files("models", {key: PurePosixPath(key).stem for key in keys})

    def _new_failures(self, ids: Iterable[str]) -> list[str]:
        there = {item.key for item in ResultReader(self._target).listing.failures(set(ids))}
        return [item.key for item in self._reader.listing.failures(set(ids))
                if item.key not in there]  # fmt: skip

    def _copy_result(self, fact: Fact) -> int:
        data = self._source.get(fact.key)
        _compare(digest(data), fact.sha256, fact.key, self._source)
        try:
            if fact.table == "trials":
                self._target.create(fact.key, data)
            else:
                self._target.put(fact.key, data)
        except AlreadyExists:  # and not whole, or it would have been left out
            self._target.put(fact.key, data)
        _compare(digest(self._target.get(fact.key)), fact.sha256, fact.key, self._target)
        return len(data)

    def _copy_small(self, key: str) -> None:
        data = self._source.get(key)
        self._target.put(key, data)
        _compare(digest(self._target.get(key)), digest(data), key, self._target)
        self._count(len(data))

    def _copy_files(self, what: str, files: Mapping[str, str]) -> None:
        """Copy large objects through files, by key with the SHA-256 of each."""
        with (
            tempfile.TemporaryDirectory(prefix="copy-") as folder,
            ThreadPoolExecutor(_FILES) as pool,
        ):
            copies = pool.map(
                lambda item: self._copy_file(item[0], item[1], Path(folder)), files.items()
            )
            for done, size in enumerate(copies, 1):
                if size:
                    self._count(size)
                self._progress(what, done, len(files))

    def _copy_file(self, key: str, sha256: str, folder: Path) -> int:
        """Copy an object and return its size; 0 where the other store has it."""
        path = folder / sha256
        try:
            if _hash_stored(self._target, key, path) == sha256:
                return 0
            self._source.download(key, path)
            _compare(_hash_file(path), sha256, key, self._source)
            size = path.stat().st_size
            self._target.upload(path, key)
            _compare(_hash_stored(self._target, key, path), sha256, key, self._target)
            return size
        finally:
            path.unlink(missing_ok=True)

    def _count(self, size: int) -> None:
        self._objects += 1
        self._bytes += size


def _hash_stored(store: Store, key: str, path: Path) -> str | None:
    """Return the SHA-256 of a stored object, by way of a file; None where it is not there."""
    try:
        store.download(key, path)
    except (NotFound, Corrupt):
        return None
    return _hash_file(path)


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _compare(sha256: str | None, expected: str, key: str, store: Store) -> None:
    """Raise Corrupt where bytes are not the expected ones."""
    if sha256 != expected:
        raise Corrupt(
            f"'{key}' in {store.url} has SHA-256 {sha256}, expected {expected}: find out what is "
            "damaged with `sweeps store check`, then copy again"
        )
