"""Runs missing trials on Ray Tune: one queue over reused actors, results committed by trials.

Nothing of Ray's own experiment state is read again: what is done is what the store says.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import uuid
from pathlib import Path

from ray import tune
from ray.exceptions import RayError

from cluster.jobs.notices import Notices
from cluster.jobs.ray_internals import keep_environment_out_of_actors
from sweeps.driver.callback import TuneEvents
from sweeps.driver.interrupts import Stopping
from sweeps.driver.queue import TrialQueue
from sweeps.driver.store_watch import StoreWatch
from sweeps.driver.trainable import Attempt, make_trainable, run_attempt
from sweeps.driver.tune_queue import ForgetfulScheduler, QueueSearch
from sweeps.errors import SweepError
from sweeps.trial.events import Tally, Watcher

RETRIES = 2
"""Further attempts after a lost worker or an unreachable store."""


def run_tasks(
    name: str,
    queue: TrialQueue,
    *,
    cpus: float,
    gpus: float,
    watcher: Watcher,
    store: StoreWatch | None = None,
    scratch: Path | None = None,
    attempt: Attempt = run_attempt,
) -> Tally:
    """Run a queue's tasks on the Ray session of this process.

    Args:
        name: The sweep's name; names the trainable.
        queue: What to run.
        cpus: CPUs per trial.
        gpus: GPUs per trial, may be a fraction.
        watcher: Receives progress.
        store: Waits for a store that is away; where it gives up, the run stops.
        scratch: Existing folder for Tune's own files, which nothing reads; a temporary one else.
        attempt: What runs a task on its worker.

    Raises:
        SweepError: Ray or Tune itself failed.
    """
    tally, stopping = Tally(), Stopping(Notices(uuid.uuid4().hex))
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # our progress shows the same
    keep_environment_out_of_actors()
    resources = {"CPU": cpus, "GPU": gpus} if gpus else {"CPU": cpus}
    folder = tempfile.mkdtemp(prefix="spurious-sweeps-tune-", dir=scratch)
    search = QueueSearch(queue, resources, RETRIES)
    events = TuneEvents(queue, watcher, tally, stopping, store)
    try:
        with stopping.on_interrupt():
            tune.Tuner(
                make_trainable(name, stopping.notices, attempt),
                tune_config=tune.TuneConfig(
                    reuse_actors=True, search_alg=search, scheduler=ForgetfulScheduler()
                ),
                run_config=tune.RunConfig(
                    name=name, storage_path=folder, verbose=0, callbacks=[events]
                ),
            ).fit()
            stopping.notices.clear()
    except KeyboardInterrupt:  # the second one; what is done is in the store
        pass
    except (tune.TuneError, RayError) as error:
        raise SweepError(f"Ray Tune gave up on sweep '{name}': {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return tally
