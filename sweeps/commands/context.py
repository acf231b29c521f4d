"""What commands share: the sweep's spec, the store to use, folders of this user.

Heavy imports (Ray, torch, pandas) stay inside the commands that need them: `plan` must answer at
once.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cluster.common.locks import FileLock
from cluster.errors import NotFound
from cluster.stores import open_store
from cluster.stores.base import Store
from sweeps.commands.output import note
from sweeps.errors import PlanError, SweepError, UnknownSweep
from sweeps.plan.archive import read_archive
from sweeps.plan.facts import plan_on
from sweeps.plan.plan import Plan
from sweeps.plan.render import damaged_lines
from sweeps.results.pack_cache import DEFAULT_LIMIT, PackCache
from sweeps.results.reader import ResultReader
from sweeps.search.resolve import resolve_searches
from sweeps.spec.model import Spec, StagedDataset, load_spec, parse_override, parse_spec
from sweeps.spec.stored import STORED, get_spec

STORE_VARIABLE = "SWEEPS_STORE"
RESULTS_VARIABLE = "SWEEPS_RESULTS_MAX"
"""The most that the local copies of one store's results may take, such as 20GiB."""
_EMBEDDED = "the embedded server of this machine (give --store for another store)"


@dataclass(frozen=True)
class SpecSource:
    """A sweep by file, by the name of one that has been run, or as `stored:` and a YAML's hash.

    Attributes:
        target: File, name, or `stored:` and a hash.
        settings: Overrides of spec fields as they were written, KEY=VALUE.

    Raises:
        SpecError: a setting is not KEY=VALUE.
    """

    target: str
    settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _ = self.overrides  # so that a mistake is reported before anything is read

    @cached_property
    def overrides(self) -> Mapping[str, Any]:
        """Parse the settings: dotted keys to values."""
        return dict(parse_override(setting) for setting in self.settings)

    @cached_property
    def file_spec(self) -> Spec:
        """Read and parse the spec of a file, once per command."""
        return load_spec(Path(self.target), self.overrides)

    @property
    def is_file(self) -> bool:
        """Return whether the target is a file rather than a sweep in the store."""
        return self.target.endswith((".yaml", ".yml")) or os.sep in self.target

    @property
    def names_file(self) -> bool:
        """Return whether there is a file of that name, whatever it ends with, or should be."""
        return self.is_file or Path(self.target).is_file()

    @property
    def digest(self) -> str | None:
        """Return the hash of a YAML in the store; None for a file or a name."""
        is_stored = self.target.startswith(STORED)
        return self.target.removeprefix(STORED) if is_stored else None


def choose_store_url(option: str | None, spec: Spec | None = None) -> str | None:
    """Choose the URL of the store: that of --store, else the spec's, else $SWEEPS_STORE.

    None is the embedded server.
    """
    if option is not None:
        return option
    of_spec = None if spec is None else spec.store
    return of_spec or os.environ.get(STORE_VARIABLE) or None


def choose_store_url_of(source: SpecSource, option: str | None) -> str | None:
    """Choose the URL of the store of a sweep by file or by name, see `choose_store_url`."""
    reads_file = option is None and source.is_file
    return choose_store_url(option, source.file_spec if reads_file else None)


@contextmanager
def store_session(url: str | None, *, probe: bool = True) -> Iterator[Store]:
    """Open the store at a URL; without one the embedded server, started if needed.

    Its address and keys go into the environment, where workers on this machine find them.

    Args:
        url: URL of the store, or None.
        probe: See `cluster.stores.open_store`.

    Raises:
        UnknownSweep: as in the block; the embedded server is named by that word, since its URL may
            well be that of a cluster's store.
    """
    if url is not None:
        yield open_store(url, probe=probe)
        return
    from cluster.embedded.server import embedded_server

    with embedded_server() as endpoint:
        os.environ.update(endpoint.environment())
        try:
            yield open_store(f"s3://{endpoint.bucket}", probe=probe)
        except UnknownSweep as error:
            raise UnknownSweep(error.name, _EMBEDDED) from None


def get_home() -> Path:
    """Get the folder of this user's embedded server, token and cache.

    It is absolute: workers run in other folders.
    """
    from cluster.embedded.home import default_home

    return default_home().expanduser().absolute()


def get_cache_folder() -> Path:
    """Get the folder of the node cache, the same on every node."""
    chosen = os.environ.get("SWEEPS_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else get_home() / "cache"


def check_cache_folder() -> None:
    """Refuse a cache folder that this machine's workers cannot write, before anything runs.

    Raises:
        SweepError: the folder cannot be written.
        ClusterError: SWEEPS_CACHE_MAX is not a size.
    """
    from cluster.jobs.session import on_cluster
    from cluster.node_cache.eviction import cache_limit

    cache_limit()
    folder = get_cache_folder()
    try:
        if not on_cluster():  # whose nodes have folders of their own
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / "check.lock", mode=0o666) as lock:
                lock.acquire()
    except OSError as error:
        raise SweepError(
            f"cannot keep decoded datasets in {folder} ({error.strerror}): set SWEEPS_CACHE or "
            "SWEEPS_HOME to a folder that you can write"
        ) from error


def check_reachable(store_url: str | None) -> None:
    """Refuse the embedded server where workers run on other machines.

    Raises:
        SweepError: no store is named, and RAY_ADDRESS leads to a cluster.
    """
    from cluster.jobs.session import on_cluster

    if store_url is None and on_cluster():
        raise SweepError(
            f"RAY_ADDRESS={os.environ['RAY_ADDRESS']} leads to a cluster, whose workers cannot "
            "reach the embedded server of this machine: name a store that they can, "
            "--store s3://BUCKET/PREFIX or a shared folder"
        )


def read_spec(source: SpecSource, store: Store) -> Spec:
    """Read the spec of a file, or the one in the store under its hash or a sweep's name."""
    if source.digest is not None:
        return parse_spec(get_spec(store, source.digest), source.target, source.overrides)
    if source.is_file:
        return source.file_spec
    archived = read_archive(store, source.target)
    if archived.spec_text is None:
        raise UnknownSweep(source.target, store.url)
    overrides = {**archived.overrides, **source.overrides}
    return parse_spec(archived.spec_text, f"{source.target} (stored)", overrides)


def open_results(store: Store) -> ResultReader:
    """Open the results of a store, with what is read of them kept in this user's folder.

    Raises:
        ClusterError: SWEEPS_RESULTS_MAX is not a size.
    """
    return ResultReader(store, get_result_cache(store), _show_reads)


def get_result_cache(store: Store) -> PackCache:
    """Get the folder of this user where results of a store are kept; raises as `open_results`."""
    from cluster.node_cache.eviction import read_size

    limit = read_size(RESULTS_VARIABLE)
    place = hashlib.sha256(store.url.encode()).hexdigest()[:16]
    folder = get_home() / "results" / place
    return PackCache(folder, DEFAULT_LIMIT if limit is None else limit)


def _show_reads(text: str) -> AbstractContextManager[Callable[[int, int], None]]:
    """Show rate and time left of objects that are read one by one."""
    from sweeps.driver.progress import count_progress, make_console

    return count_progress(text, "objects", make_console())


def plan_sweep(
    spec: Spec,
    reader: ResultReader,
    archived: Mapping[str, Any] | None = None,
    *,
    verify: bool = True,
) -> Plan:
    """Plan a sweep against the datasets and results in its store.

    Args:
        spec: The sweep.
        reader: The store's results.
        archived: What an earlier run wrote of its searches, see `resolve_searches`.
        verify: See `sweeps.plan.facts.plan_on`.

    Raises:
        PlanError: its dataset is not staged; the message says how to stage it.
    """
    try:
        planned = plan_on(spec, reader, verify=verify)
        return resolve_searches(planned, spec, reader, archived, verify=verify)
    except NotFound as error:
        if isinstance(spec.dataset, StagedDataset) and spec.dataset.digest_prefix is None:
            example = f"sweeps stage siim-acr DIR --name {spec.dataset.name}"
            raise PlanError(f"{error}; stage it first, e.g. {example}") from None
        raise


def read_spec_and_plan(
    source: SpecSource, reader: ResultReader, *, verify: bool = True
) -> tuple[Spec, Plan]:
    """Read a sweep's spec and plan it against the store, to find its results.

    Args:
        source: The sweep.
        reader: The store's results.
        verify: See `sweeps.plan.facts.plan_on`.

    Raises:
        PlanError: its dataset is not staged, or it has no trials, since all cells are skipped.
    """
    spec, store = read_spec(source, reader.store), reader.store
    searched = None if spec.search is None else read_archive(store, spec.name).searches
    plan = plan_sweep(spec, reader, searched, verify=verify)
    if not plan.cells:
        reasons = "; ".join(dict.fromkeys(reason for _, reason in plan.skipped))
        raise PlanError(f"sweep '{spec.name}' has no trials, all cells are skipped: {reasons}")
    return spec, plan


def format_command(
    verb: str, source: SpecSource, store_url: str | None, *options: str, name: str | None = None
) -> str:
    """Format a command on the same sweep and store, to be pasted into a shell.

    Args:
        verb: What to do.
        source: The sweep.
        store_url: The store of --store, or None.
        options: Further options.
        name: Name of the sweep; stands for a spec that is in the store by its hash, which has been
            archived under that name with its overrides.
    """
    target = source.target
    settings = [part for setting in source.settings for part in ("--set", setting)]
    if name is not None and source.digest is not None:
        target, settings = name, []
    store = [] if store_url is None else ["--store", store_url]
    return shlex.join(["sweeps", *verb.split(), target, *options, *settings, *store])


def name_again(source: SpecSource, name: str) -> str:
    """Return what finds the sweep again where no overrides are taken: what was typed, if it does.

    Args:
        source: The sweep.
        name: Its name, which an override may have changed.
    """
    return shlex.quote(name if source.settings else source.target)


def note_damaged(plan: Plan, source: SpecSource, store_url: str | None) -> None:
    """Print which results are damaged and left out, and the command that computes them again."""
    command = format_command("run", source, store_url)
    for line in damaged_lines(plan, f"computed again by: {command}"):
        note(line)
