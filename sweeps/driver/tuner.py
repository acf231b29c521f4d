"""Runs missing trials on Ray Tune: one queue over reused actors, results committed by trials.

Nothing of Ray's own experiment state is read again: what is done is what the store says.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.exceptions import RayError

from cluster.common.heap import variables_that_keep_memory
from cluster.jobs.nodes import list_nodes
from cluster.jobs.notices import Notices
from cluster.jobs.ray_internals import any_error_is_a_lost_actor, choose_environment_of_actors
from sweeps.driver.callback import TuneEvents
from sweeps.driver.gpu_shares import GpuShares
from sweeps.driver.interrupts import Stopping
from sweeps.driver.limit_watch import LimitWatch
from sweeps.driver.losses import Losses
from sweeps.driver.placement import Placement
from sweeps.driver.queue import TrialQueue
from sweeps.driver.requests import Request
from sweeps.driver.store_watch import StoreWatch
from sweeps.driver.trainable import Attempt, make_trainable, run_attempt
from sweeps.driver.tune_queue import QueueScheduler, QueueSearch
from sweeps.errors import SweepError
from sweeps.trial.events import Tally, Watcher

_PATIENCE = {"TUNE_FUNCTION_THREAD_TIMEOUT_S": "120"}
"""Seconds that Tune waits for the thread of the trial before, by itself 2.

Then it gives the next trial up and tells nobody, so that its search would wait for it without end.
"""


def run_tasks(
    name: str,
    queue: TrialQueue,
    *,
    cpus: float,
    gpus: float,
    watcher: Watcher,
    trial_minutes: float | None = None,
    shares: GpuShares | None = None,
    limits: LimitWatch | None = None,
    store: StoreWatch | None = None,
    scratch: Path | None = None,
    attempt: Attempt = run_attempt,
) -> Tally:
    """Run a queue's tasks on the Ray session of this process.

    Args:
        name, queue: The sweep's name, also of the trainable; what to run.
        cpus, gpus: Of a trial; GPUs may be a fraction.
        watcher: Receives progress.
        trial_minutes: Minutes of a trial, earlier attempts up to its checkpoint with it.
        shares: What trials need of a GPU, in the place of `gpus`.
        limits: Stops the run where a limit of time or money is reached; one of the watchers.
        store: Waits for a store that is away; where it gives up, the run stops.
        scratch: Folder of Tune's own files, which nothing reads; a temporary one else.
        attempt: What runs a task on its worker.

    Raises:
        SweepError: Ray or Tune itself failed.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # our progress shows the same
    tally, stopping = Tally(), Stopping(Notices(uuid.uuid4().hex))
    choose_environment_of_actors({**variables_that_keep_memory(os.environ), **_PATIENCE})
    folder = tempfile.mkdtemp(prefix="spurious-sweeps-tune-", dir=scratch)
    limit_s = 60 * (math.inf if trial_minutes is None else trial_minutes)
    placement = Placement(lambda key: Request(cpus, _share(shares, gpus, key)), list_nodes)
    losses = Losses(stopping.notices, placement, limit_s, watcher.on_note)
    events = TuneEvents(queue, watcher, tally, stopping, losses, store, shares, limits)
    try:
        with stopping.on_interrupt(), any_error_is_a_lost_actor():
            trainable = make_trainable(name, stopping.notices, limit_s, attempt)
            _fit(name, trainable, QueueSearch(queue, placement, losses), folder, events)
            stopping.notices.clear()
    except KeyboardInterrupt:  # the second one; what is done is in the store
        pass
    except (tune.TuneError, RayError) as error:
        raise SweepError(f"Ray Tune gave up on sweep '{name}': {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return tally


def _share(shares: GpuShares | None, gpus: float, trial_id: str) -> float:
    return gpus if shares is None else shares.share(trial_id)


def _fit(
    name: str,
    trainable: Callable[[dict[str, Any]], None],
    search: QueueSearch,
    folder: str,
    events: TuneEvents,
) -> None:
    """One Tuner for a whole run."""
    tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            reuse_actors=True, search_alg=search, scheduler=QueueScheduler(search.placement)
        ),
        run_config=tune.RunConfig(name=name, storage_path=folder, verbose=0, callbacks=[events]),
    ).fit()
