"""`sweeps store check`: verify every object of a store, and what its server can."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cluster.common.wording import count_of
from cluster.stores.examine import Ability, examine_store
from sweeps.commands.context import choose_store_url, store_session
from sweeps.commands.output import format_megabytes, keep_stdout_for_json, note, print_json
from sweeps.driver.progress import count_progress, make_console

if TYPE_CHECKING:
    from sweeps.catalogue.store_check.findings import Finding, Section
    from sweeps.catalogue.unfinished import UnfinishedWrites

_DAY_S = 86_400.0


def check(store_url: str | None, *, repair: bool = False, as_json: bool = False) -> int:
    """Check a store and print what it can, what it holds and what is damaged.

    Args:
        store_url: The store; None is $SWEEPS_STORE's or the embedded one.
        repair: Remove what is damaged, so that it is staged or run again.
        as_json: Print a JSON document instead of text.

    Returns:
        The exit status: 1 where anything is damaged, or the server lacks what a run needs.
    """
    from sweeps.catalogue.store_check.check import check_store, repair_store
    from sweeps.catalogue.unfinished import find_unfinished

    with (
        _without_warnings("cluster.datasets.image_counts", "cluster.datasets.image_table"),
        store_session(choose_store_url(store_url), probe=False) as store,
        keep_stdout_for_json(as_json),
    ):
        abilities = examine_store(store)
        if not as_json:  # first, for where keys cannot be listed the check ends in an error
            _print_abilities(store.url, abilities)
        with show_progress("checking") as progress:
            sections = check_store(store, progress)
        findings = [finding for section in sections for finding in section.findings]
        unfinished = find_unfinished(store)
        if not as_json:
            _print_findings(sections, findings)
            _print_unfinished(unfinished, store_url)
        gone = repair_store(store, findings, note) if repair else set()
    if as_json:
        print_json(_as_dict(store.url, abilities, sections, gone, unfinished))
    elif findings and not repair:
        print("next: the same command with --repair removes what must be staged or run again")
    lacks = any(ability.needed and not ability.works for ability in abilities)
    return 1 if findings or lacks else 0


@contextmanager
def show_progress(doing: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show how much of each part of a store is done, one after the other.

    Args:
        doing: What is done, e.g. `checking`.
    """
    with ExitStack() as shown:
        current: list[tuple[str, Callable[[int, int], None]]] = []

        def show(what: str, done: int, total: int) -> None:
            if not current or current[0][0] != what:
                shown.close()
                text = f"{doing} {what}"
                bar = shown.enter_context(count_progress(text, "objects", make_console()))
                current[:] = [(what, bar)]
            current[0][1](done, total)

        yield show


@contextmanager
def _without_warnings(*names: str) -> Iterator[None]:
    """Keep loggers from telling what the check itself reports, while the block runs."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _print_abilities(url: str, abilities: Sequence[Ability]) -> None:
    print(f"store {url}")
    for ability in abilities:
        state = "ok" if ability.works else "LACKS" if ability.needed else "lacks"
        print(f"  {state:<5}  {ability.name}" + (f": {ability.detail}" if ability.detail else ""))


def _print_findings(sections: Sequence[Section], findings: Sequence[Finding]) -> None:
    print("checked")
    for section in sections:
        unverified = f", {section.unverified} of them unverified" if section.unverified else ""
        damaged = f", {len(section.findings)} damaged" if section.findings else ""
        print(f"  {section.checked} {section.kind}{unverified}{damaged}")
    if any(section.unverified for section in sections):
        print("  (unverified: from before results had hashes; they can be read, no more is known)")
    print(f"damage: {len(findings)}" if findings else "no damage")
    for finding in findings:
        print(f"  {finding.kind} {finding.name}: {finding.problem}")
        print(f"    costs: {finding.cost}")
        for key in finding.keys:
            print(f"    to be removed: {key}")


def _print_unfinished(unfinished: UnfinishedWrites, store_url: str | None) -> None:
    """Print what interrupted writers left: no damage, but the store keeps its bytes."""
    if unfinished.problem:
        print(f"caution: what interrupted writers left is not known: {unfinished.problem}")
    if not unfinished.writes:
        return
    size = format_megabytes(unfinished.size_bytes).strip()
    number = len(unfinished.writes)
    take, them = ("takes", "it") if number == 1 else ("take", "them")
    print(
        f"caution: {count_of(number, 'unfinished write')} {take} {size}; nothing reads {them}, and "
        "what began lately may still be written"
    )
    for each in unfinished.writes:
        taken = "unknown size" if each.size_bytes is None else format_megabytes(each.size_bytes)
        print(f"  {each.key}: {taken.strip()}, {each.source.age_s / _DAY_S:.1f} days old")
    store = [] if store_url is None else ["--store", store_url]
    command = shlex.join(["sweeps", "store", "prune", "--days", "1", *store])
    print(f"next: {command}  # lists those older than a day, and what else nothing needs")


def _as_dict(
    url: str,
    abilities: Sequence[Ability],
    sections: Sequence[Section],
    gone: set[str],
    unfinished: UnfinishedWrites,
) -> dict[str, Any]:
    return {
        "store": url,
        "abilities": [asdict(ability) for ability in abilities],
        "checked": {section.kind: section.checked for section in sections},
        "unverified": sum(section.unverified for section in sections),
        "damage": [
            {**asdict(finding), "removed": bool(finding.keys) and gone.issuperset(finding.keys)}
            for section in sections
            for finding in section.findings
        ],
        "unfinished": None
        if unfinished.problem
        else [
            {"key": each.key, "size_bytes": each.size_bytes, "age_s": round(each.source.age_s)}
            for each in unfinished.writes
        ],
    }
