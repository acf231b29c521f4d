"""The check of a whole store, and the removal of what it found damaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cluster.stores.base import Store
from sweeps.catalogue.store_check.datasets import check_datasets
from sweeps.catalogue.store_check.findings import Finding, Progress, Section
from sweeps.catalogue.store_check.objects import check_objects
from sweeps.catalogue.store_check.results import check_failures, check_results


def check_store(store: Store, progress: Progress) -> list[Section]:
    """Check everything in a store that has a hash or a format.

    Raises:
        Denied, Unavailable: from the store.
    """
    return [
        check_datasets(store, progress),
        check_results(store, progress),
        check_failures(store, progress),
        *check_objects(store, progress),
    ]


def repair_store(
    store: Store, findings: Sequence[Finding], announce: Callable[[str], None]
) -> set[str]:
    """Remove the damaged objects, each after it was announced.

    Args:
        store: The store.
        findings: What was found.
        announce: Receives one line before each removal, and where the store refuses it.

    Returns:
        The keys that are gone.
    """
    gone = set()
    for finding in findings:
        for key in finding.keys:
            announce(f"removing {key}: {finding.cost}")
            if store.delete(key):
                gone.add(key)
            else:
                announce(f"{key} stays: the store refuses to delete it; remove it there")
    return gone
