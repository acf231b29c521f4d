"""`resources.gpus: auto`: the first trials of a kind have a GPU each, later ones what they need."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from cluster.errors import ClusterError, NotFound
from cluster.stores.base import Store
from sweeps.driver.requests import share_of
from sweeps.trial.events import Outcome
from sweeps.trial.gpu import trials_per_gpu
from sweeps.trial.tasks import Task

FOLDER = "measurements/gpu-memory/"
_log = logging.getLogger("sweeps.driver.gpu_shares")


@dataclass(frozen=True)
class Measured:
    """GPU memory of trials of a kind.

    Attributes:
        peak_bytes: The most that PyTorch held for one.
        total_bytes: The memory of its GPU.
    """

    peak_bytes: int
    total_bytes: int

    @property
    def share(self) -> float:
        """The share of a GPU that a trial of the kind needs."""
        return share_of(trials_per_gpu(self.peak_bytes, self.total_bytes))


def memory_kind(task: Task) -> str:
    """Return what decides a trial's memory, as a hash: all of its configuration but two things.

    Seeds and budgets do not: a batch is as large whatever it is drawn from.
    """
    decides = asdict(replace(task.config, seed=0)) | {"budget": None}
    decides |= {"data": task.dataset_digest, "method": task.config.method_name}
    text = json.dumps(decides, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class GpuShares:
    """What trials of each kind need of a GPU, as far as it was measured.

    Args:
        tasks: Those of the run.
        known: By kind, what was measured before.
    """

    def __init__(self, tasks: Iterable[Task], known: Mapping[str, Measured]) -> None:
        self.kinds: dict[str, str] = {}
        self.before, self.known = known, dict(known)
        self.add(tasks)

    def add(self, tasks: Iterable[Task]) -> None:
        """Take in tasks of the run."""
        self.kinds |= {task.trial_id: memory_kind(task) for task in tasks}

    def share(self, trial_id: str) -> float:
        """Return a trial's share: a whole GPU while its kind is unknown."""
        measured = self.known.get(self.kinds.get(trial_id, ""))
        return 1.0 if measured is None else measured.share

    def learn(self, outcome: Outcome) -> str:
        """Take note of what a trial took; return what to tell where a share follows from it."""
        kind = self.kinds.get(outcome.trial_id)
        if kind is None or not outcome.gpu_peak_bytes:
            return ""
        before = self.known.get(kind)
        if before is not None and before.peak_bytes >= outcome.gpu_peak_bytes:
            return ""
        self.known[kind] = measured = Measured(outcome.gpu_peak_bytes, outcome.gpu_total_bytes)
        if before is not None and before.share == measured.share:
            return ""
        return (
            f"trials as {outcome.trial_id[:8]} hold {measured.peak_bytes / 2**30:.1f} of "
            f"{measured.total_bytes / 2**30:.0f} GiB of GPU memory: each has {measured.share:g} of "
            "a GPU from now on"
        )


def read_measured(store: Store, tasks: Iterable[Task]) -> dict[str, Measured]:
    """Return what earlier runs measured of the kinds of some tasks."""
    measured = {}
    for kind in {memory_kind(task) for task in tasks}:
        with suppress(NotFound):
            text = store.get(f"{FOLDER}{kind}.json")
            try:
                fields: dict[str, Any] = json.loads(text)
                measured[kind] = Measured(int(fields["peak_bytes"]), int(fields["total_bytes"]))
            except (ValueError, KeyError, TypeError) as error:
                _log.warning("%s%s.json is not used, and measured again: %s", FOLDER, kind, error)
    return measured


def write_measured(store: Store, shares: GpuShares) -> None:
    """Keep what a run measured for later ones; it saves time, and they can do without."""
    new = {kind: each for kind, each in shares.known.items() if shares.before.get(kind) != each}

    def write(kind: str) -> None:
        try:
            store.put(f"{FOLDER}{kind}.json", json.dumps(asdict(new[kind])).encode())
        except ClusterError as error:
            _log.warning("a measurement of GPU memory could not be kept: %s", error)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, new))
