"""`sweeps store du`, `compact`, `copy` and `prune`: what a store holds, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from cluster.common.wording import count_of, is_or_are
from cluster.stores import open_store
from sweeps.commands.context import (
    SpecSource,
    choose_store_url,
    format_command,
    note_damaged,
    open_results,
    read_spec_and_plan,
    store_session,
)
from sweeps.commands.output import format_megabytes, note, print_json
from sweeps.commands.store_check import show_progress
from sweeps.errors import SweepError

_FEWEST_DAYS = 1.0
"""A trial writes its tables and commits within minutes; a staging may take hours."""


def show_usage(store_url: str | None, *, as_json: bool = False) -> int:
    """Print what takes how much of a store."""
    from sweeps.catalogue.usage import measure_usage

    with store_session(choose_store_url(store_url)) as store:
        usage = measure_usage(store)
        url = store.url
    if as_json:
        sweeps = [{"name": name, **asdict(each)} for name, each in usage.sweeps.items()]
        totals = {"objects": usage.objects, "total": usage.total}
        parts = {"datasets": dict(usage.datasets), "rest": dict(usage.rest)}
        print_json({"store": url, "sweeps": sweeps, **parts, **totals})
        return 0
    print(
        f"store {url}: {count_of(usage.objects, 'object')}, {format_megabytes(usage.total).strip()}"
    )
    if usage.sweeps:
        sizes = ("results", "shared", "checkpoints", "models")
        print(f"\n{'sweep':<32}{'trials':>8}" + "".join(f"{name:>14}" for name in sizes))
    for name, each in usage.sweeps.items():
        taken = (each.results + each.files, each.shared, each.checkpoints, each.models)
        print(f"{name:<32}{each.trials:>8}" + "".join(map(format_megabytes, taken)))
    for what, sizes_by_name in (("dataset", usage.datasets), ("the rest", usage.rest)):
        if sizes_by_name:
            print(f"\n{what}")
        _print_sizes(sizes_by_name)
    return 0


def compact_store(store_url: str | None, *, as_json: bool = False) -> int:
    """Compact all results of a store."""
    from sweeps.results.compaction import compact

    with store_session(choose_store_url(store_url)) as store:
        written = compact(open_results(store), verify=True)
        url = store.url
    if as_json:
        print_json({"store": url, **asdict(written)})
    elif written.packs:
        size = format_megabytes(written.size_bytes).strip()
        print(
            f"{count_of(written.objects, 'object')} compacted into "
            f"{count_of(written.packs, 'pack')}, {size}"
        )
    else:
        print("all results are compacted")
    if written.damaged:
        note(
            f"{count_of(written.damaged, 'result')} {is_or_are(written.damaged)} damaged and left "
            "out; see `sweeps store check`"
        )
    return 0


def copy_sweep(name: str, store_url: str | None, target_url: str, *, as_json: bool = False) -> int:
    """Copy a sweep to another store.

    Raises:
        SweepError: both are one store.
    """
    from sweeps.catalogue.copying import SweepCopy

    source = SpecSource(name)
    if source.is_file or source.digest is not None:
        raise SweepError(f"'{name}': expected the name of a sweep that was run in the store")
    with store_session(choose_store_url(store_url)) as store:
        target = open_store(target_url)
        if target.url == store.url:
            raise SweepError(f"{target.url} is the store that '{name}' is in; name another one")
        reader = open_results(store)
        _, plan = read_spec_and_plan(source, reader)
        note_damaged(plan, source, store_url)
        with show_progress("copying") as progress:
            copied = SweepCopy(reader, target, progress).copy(plan)
        url = store.url
    if as_json:
        print_json({"sweep": name, "store": url, "target": target.url, **asdict(copied)})
        return 0
    size = format_megabytes(copied.size_bytes).strip()
    print(
        f"{count_of(copied.objects, 'object')} copied to {target.url}, {size}; "
        f"{count_of(copied.results, 'result')}"
    )
    note(f"next: {format_command('report', source, target.url)}")
    return 0


def prune_store(
    store_url: str | None,
    *,
    days: float,
    results: bool = False,
    yes: bool = False,
    as_json: bool = False,
) -> int:
    """List what nothing refers to, and with `yes` delete it.

    Raises:
        SweepError: `days` is less than an object may be older than what names it.
    """
    from sweeps.catalogue.pruning import find_prunable, prune

    if not days >= _FEWEST_DAYS:
        raise SweepError(
            f"--days {days:g}: expected at least {_FEWEST_DAYS:g}, so that nothing is deleted "
            "that a run or a staging is just writing"
        )
    with store_session(choose_store_url(store_url)) as store:
        prunable = find_prunable(open_results(store), days, results=results)
        removed = prune(store, prunable) if yes else 0
        url = store.url
    if as_json:
        listed = [
            {"kind": each.kind, "reason": each.reason, "objects": each.keys}
            | {"size_bytes": each.size_bytes}
            for each in prunable
        ]
        print_json({"store": url, "prunable": listed, "removed": removed})
        return 0
    for each in prunable:
        size = format_megabytes(each.size_bytes).strip()
        print(f"{each.kind}: {count_of(len(each.keys), 'object')}, {size}: {each.reason}")
        for key in each.keys:
            print(f"  {key}")
    if not prunable:
        print(f"nothing to delete that is older than {count_of(days, 'day')}")
    elif yes:
        print(f"{count_of(removed, 'object')} deleted")
    else:
        note("next: the same command with --yes deletes them")
    return 0


def _print_sizes(sizes: Mapping[str, int]) -> None:
    for name, size in sorted(sizes.items()):
        print(f"{name:<32}{format_megabytes(size):>22}")
