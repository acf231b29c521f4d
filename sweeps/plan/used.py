"""What attempts of a sweep's earlier runs took that no result tells of: an object for each run.

Trials that a search stopped, those that stand at a checkpoint and those that failed cost money as
the others do. A run writes what it knows by and by, `sweeps.driver.use_record`; the next one counts
it against its limits.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.stores.base import Store
from sweeps.plan.packing import Share

FORMAT = 1
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Taken:
    """What one attempt took.

    Attributes:
        seconds: Wall time.
        share: What it had of a node.
    """

    seconds: float
    share: Share


Used = Mapping[str, Sequence[Taken]]
"""Trial id to its attempts."""


def used_key(sweep: str, run: str = "") -> str:
    """Return where a run of a sweep writes; without a run, what all its keys begin with."""
    return f"sweeps/{sweep}/used/" + (f"{run}.json" if run else "")


def write_used(store: Store, key: str, used: Used) -> None:
    """Write what a run's attempts took, in place of what it wrote before."""
    trials = {
        trial_id: [[each.seconds, each.share.cpus, each.share.gpus] for each in attempts]
        for trial_id, attempts in used.items()
    }
    store.put(key, (json.dumps({"format": FORMAT, "trials": trials}) + "\n").encode())


def read_used(store: Store, sweep: str) -> Used:
    """Return what all runs of a sweep wrote; a damaged object is left out, with a warning."""
    used: defaultdict[str, list[Taken]] = defaultdict(list)
    for key in list(store.list(used_key(sweep))):
        try:
            document = json.loads(store.get(key))
            attempts = [
                (trial_id, Taken(float(seconds), Share(float(cpus), float(gpus))))
                for trial_id, each in document["trials"].items()
                for seconds, cpus, gpus in each
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("%s is damaged and not counted: %s", key, error)
            continue
        for trial_id, taken in attempts:
            used[trial_id].append(taken)
    return used
