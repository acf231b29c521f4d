"""Drivers that run trials which do nothing, each in a process of its own: its name, how many.

    .venv/bin/python tests/benchmarks/engine/drivers.py sweeps 1000

The environment names the store. At a tenth of the trials and at the end a line of JSON is printed:
trials that ended, seconds since the first call, resident memory of this process in MB.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

BUCKET = "BENCH_BUCKET"
SIZES = "BENCH_SIZES"
SPEC = """
name: overhead
dataset: {name: gaussian-squares, image_size: 16, abnormality_size: 4, spurious_size: 4,
          n_train: 20, n_val: 20, n_test: 20}
axes: {specificity: [label], budget: [all], method: [erm], seed: [0]}
model: {classifier: {name: small-cnn, channels: 2, levels: 1}}
train: {epochs: 2}
"""


class Marks:
    """Prints a line at a tenth of the trials and at the end."""

    def __init__(self, trials: int) -> None:
        self.at = {max(1, trials // 10), trials}
        self.ended = 0
        self.began = time.perf_counter()

    def __call__(self, *_: Any, **requests: int) -> None:
        self.ended += 1
        if self.ended in self.at:
            seconds = time.perf_counter() - self.began
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            memory = pages * os.sysconf("SC_PAGESIZE") / 1e6
            line = {"trials": self.ended, "seconds": seconds, "memory_mb": memory, **requests}
            print(json.dumps(line), flush=True)


def fit_nothing(dataset: Any, task: Any, hooks: Any, store: Any) -> Any:
    """A fit without training: two epochs of metrics and constant scores."""
    import numpy as np

    from spurious.training.evaluate import MetricRow
    from spurious.training.loop import Fit

    scores = {split: np.zeros(len(dataset.rows(split))) for split in ("val", "test")}
    rows = [
        MetricRow(epoch, split, metric, None, 0.5)
        for epoch in (1, 2)
        for split in ("val", "test")
        for metric in ("loss", "auroc", "robust_auroc")
    ]
    return Fit(rows=rows, kept_epoch=2, kept_scores=scores, last_scores=scores)


_REQUESTS = [0]


def counted_attempt(task: Any, progress: Any, control: Any) -> Any:
    """An attempt that counts its requests to the store, told in the outcome's `images`."""
    from sweeps.driver.trainable import attempt_with
    from sweeps.trial.run import _open_store

    client: Any = getattr(_open_store(task.store_url), "_client", None)
    if client is not None:
        client.meta.events.register("before-send.s3", _count, unique_id="bench")
    _REQUESTS[0] = 0
    return replace(attempt_with(fit_nothing)(task, progress, control), images=_REQUESTS[0])


def _count(**named: Any) -> None:
    _REQUESTS[0] += 1


def sweeps(trials: int) -> None:
    """Ours: each trial opens the dataset, writes its tables and commits to S3."""
    from cluster.jobs.session import ray_session
    from cluster.stores import open_store
    from sweeps.commands.stage import ensure_staged
    from sweeps.driver.queue import TrialQueue
    from sweeps.plan.facts import plan_on
    from sweeps.results.tables import committed_ids
    from sweeps.spec.model import parse_spec
    from sweeps.trial.events import Outcome, TaskName, Watcher
    from sweeps.trial.tasks import task_for

    class Watch(Watcher):
        requests = 0

        def on_ended(self, task: TaskName, outcome: Outcome | None, message: str) -> None:
            self.requests += outcome.images if outcome is not None else 0
            marks(requests=self.requests)

    store, spec = open_store(f"s3://{os.environ[BUCKET]}"), parse_spec(SPEC)
    with ray_session("bench", cpus=2), tempfile.TemporaryDirectory() as cache:
        ensure_staged(spec, store)
        [trial] = plan_on(spec, store).trials
        task, stamp = task_for(trial, spec, store.url, Path(cache)), time.time_ns()
        ids = [f"{stamp + number:016x}" for number in range(trials)]
        queue = TrialQueue(replace(task, trial_id=each) for each in ids)
        from sweeps.driver.tuner import run_tasks  # imports Ray, which the session sets up

        marks = Marks(trials)
        run_tasks("bench", queue, cpus=1, gpus=0, watcher=Watch(), attempt=counted_attempt)
        if set(ids) - committed_ids(store):
            raise SystemExit("some trials were not committed")


def plain_tune(trials: int, *, reuse: bool, puts: bool = False) -> None:
    """Ray Tune alone; with `puts` each trial writes the bytes of ours to S3, and nothing else."""
    import logging

    from cluster.jobs.session import ray_session

    bucket, sizes = os.environ[BUCKET], json.loads(os.environ.get(SIZES, "[]"))
    with ray_session("bench", cpus=2), tempfile.TemporaryDirectory() as scratch:
        from ray import tune

        logging.getLogger("ray.tune").setLevel(logging.ERROR)

        def no_op(config: dict[str, Any]) -> None:
            import torch  # any real trial does

            if puts:
                import boto3

                client = boto3.client("s3")
                for number, size in enumerate(sizes):
                    key = f"bare/{config['number']}-{number}"
                    client.put_object(Bucket=bucket, Key=key, Body=bytes(size))
            tune.report({"value": float(torch.zeros(()))})

        class Counted(tune.Callback):
            def on_trial_complete(self, *positional: Any, **named: Any) -> None:
                marks()

        marks = Marks(trials)
        tune.Tuner(
            tune.with_resources(no_op, {"cpu": 1}),
            param_space={"number": tune.grid_search(list(range(trials)))},
            tune_config=tune.TuneConfig(reuse_actors=reuse),
            run_config=tune.RunConfig(storage_path=scratch, verbose=0, callbacks=[Counted()]),
        ).fit()


def optuna_joblib(trials: int) -> None:
    """Optuna with an in-memory study and two joblib threads."""
    import joblib
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    marks = Marks(trials)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler())
    joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(study.optimize)(_objective, n_trials=trials // 2, callbacks=[marks])
        for _ in range(2)
    )


def optuna_sqlite(trials: int) -> None:
    """Optuna with a study in SQLite, as users resume it, and two joblib threads."""
    import joblib
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        marks = Marks(trials)
        study = optuna.create_study(
            storage=f"sqlite:///{folder}/study.db", sampler=optuna.samplers.RandomSampler()
        )
        joblib.Parallel(n_jobs=2, backend="threading")(
            joblib.delayed(study.optimize)(_objective, n_trials=trials // 2, callbacks=[marks])
            for _ in range(2)
        )


def _objective(trial: Any) -> float:
    return float(trial.suggest_float("x", 0.0, 1.0))


DRIVERS: dict[str, Callable[[int], None]] = {
    "sweeps": sweeps,
    "tune-reused": lambda trials: plain_tune(trials, reuse=True),
    "tune-fresh": lambda trials: plain_tune(trials, reuse=False),
    "tune-puts": lambda trials: plain_tune(trials, reuse=True, puts=True),
    "optuna-joblib": optuna_joblib,
    "optuna-sqlite": optuna_sqlite,
}

if __name__ == "__main__":
    DRIVERS[sys.argv[1]](int(sys.argv[2]))
