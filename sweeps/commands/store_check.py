"""`sweeps store check`: verify every object of a store, and what its server can."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cluster.stores.examine import Ability, examine_store
from sweeps.commands.context import choose_store_url, store_session
from sweeps.commands.output import keep_stdout_for_json, note, print_json

if TYPE_CHECKING:
    from sweeps.catalogue.store_check.findings import Finding, Section

_HEARTBEAT_S = 5.0


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

    for module in ("image_counts", "image_table"):  # reported below
        logging.getLogger(f"cluster.datasets.{module}").setLevel(logging.ERROR)
    with (
        store_session(choose_store_url(store_url), probe=False) as store,
        keep_stdout_for_json(as_json),
    ):
        abilities = examine_store(store)
        if not as_json:  # first, for where keys cannot be listed the check ends in an error
            _print_abilities(store.url, abilities)
        sections = check_store(store, _Progress())
        findings = [finding for section in sections for finding in section.findings]
        if not as_json:
            _print_findings(sections, findings)
        gone = repair_store(store, findings, note) if repair else set()
    if as_json:
        print_json(_as_dict(store.url, abilities, sections, gone))
    elif findings and not repair:
        print("next: the same command with --repair removes what must be staged or run again")
    lacks = any(ability.needed and not ability.works for ability in abilities)
    return 1 if findings or lacks else 0


class _Progress:
    """Says on standard error where a check is: on a terminal all the time, else now and then."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        if sys.stderr.isatty():
            end = "\n" if done == total else ""
            print(f"\rchecking {what}: {done} of {total}", end=end, file=sys.stderr, flush=True)
        elif time.monotonic() - self.last > _HEARTBEAT_S:
            self.last = time.monotonic()
            note(f"checking {what}: {done} of {total}")


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


def _as_dict(
    url: str, abilities: Sequence[Ability], sections: Sequence[Section], gone: set[str]
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
    }
