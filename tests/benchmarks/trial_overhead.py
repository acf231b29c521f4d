"""What a trial costs beyond its training: no-op trials of ours against plain Ray Tune.

    .venv/bin/python tests/benchmarks/trial_overhead.py [--trials 200] [--fresh 200]

In one Ray session, three times each in turn: plain Tune with reused actors, and ours, which also
opens the dataset, writes three tables to S3 and commits. Then, once, plain Tune with fresh actors.
Plain trials import torch, as any real trial does. The best of the rounds counts.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cluster.embedded.server import embedded_server
from cluster.jobs.session import ray_session
from cluster.stores import open_store
from cluster.stores.base import Store

SPEC = """
name: overhead
dataset: {name: gaussian-squares, image_size: 16, abnormality_size: 4, spurious_size: 4,
          n_train: 20, n_val: 20, n_test: 20}
axes: {specificity: [label], budget: [all], method: [erm], seed: [0]}
model: {classifier: {name: small-cnn, channels: 2, levels: 1}}
train: {epochs: 2}
"""


def fit_nothing(dataset: Any, task: Any, hooks: Any, store: Store) -> Any:
    """A fit without training: two epochs of metrics and constant scores."""
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


def plain(trials: int, *, reuse: bool) -> float:
    """Seconds for plain no-op trials on Ray Tune."""
    import logging

    from ray import tune

    logging.getLogger("ray.tune").setLevel(logging.ERROR)  # it warns of log files nobody writes

    def no_op(config: dict[str, Any]) -> None:
        import torch

        tune.report({"value": float(torch.zeros(()))})

    with tempfile.TemporaryDirectory() as scratch:
        started = time.perf_counter()
        tune.Tuner(
            tune.with_resources(no_op, {"cpu": 1}),
            param_space={"number": tune.grid_search(list(range(trials)))},
            tune_config=tune.TuneConfig(reuse_actors=reuse),
            run_config=tune.RunConfig(storage_path=scratch, verbose=0),
        ).fit()
        return time.perf_counter() - started


def ours(trials: int, store: Store, cache: Path) -> float:
    """Seconds for our no-op trials, each committed to the store."""
    from dataclasses import replace

    from sweeps.driver.queue import TrialQueue
    from sweeps.driver.trainable import attempt_with
    from sweeps.driver.tuner import run_tasks
    from sweeps.plan.facts import plan_on
    from sweeps.results.tables import committed_ids
    from sweeps.spec.model import parse_spec
    from sweeps.trial.events import Watcher
    from sweeps.trial.tasks import task_for

    spec = parse_spec(SPEC)
    [trial] = plan_on(spec, store).trials
    stamp = time.time_ns()
    tasks = [
        replace(task_for(trial, spec, store.url, cache), trial_id=f"{stamp + number:016x}")
        for number in range(trials)
    ]
    started = time.perf_counter()
    run_tasks(
        "overhead",
        TrialQueue(tasks),
        cpus=1,
        gpus=0,
        watcher=Watcher(),
        attempt=attempt_with(fit_nothing),
    )
    seconds = time.perf_counter() - started
    missing = {task.trial_id for task in tasks} - committed_ids(store)
    if missing:
        raise SystemExit(f"{len(missing)} of {trials} trials were not committed")
    return seconds


def measured(name: str, trials: int, run: Callable[[], float]) -> float:
    """Seconds per trial, told on the way."""
    per_trial = run() / trials
    print(f"  {name:<28} {per_trial:7.3f} s a trial ({trials} trials)", flush=True)
    return per_trial


def main() -> int:
    """Run the benchmark and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--fresh", type=int, default=200, help="trials with fresh actors; 0: none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with embedded_server(home) as endpoint:
            os.environ.update(endpoint.environment())  # before Ray starts, so that workers have it
            with ray_session("bench", cpus=2):
                compare(open_store(f"s3://{endpoint.bucket}"), home, options)
    return 0


def compare(store: Store, home: Path, options: argparse.Namespace) -> None:
    """All measurements of one session."""
    from sweeps.commands.stage import ensure_staged
    from sweeps.spec.model import parse_spec

    ensure_staged(parse_spec(SPEC), store)
    trials, cache = options.trials, home / "cache"
    print("trial overhead, two at once")
    reused, own = [], []
    for _ in range(3):
        name = "plain Tune, reused actors"
        reused.append(measured(name, trials, lambda: plain(trials, reuse=True)))
        name = "Spurious Sweeps, to S3"
        own.append(measured(name, trials, lambda: ours(trials, store, cache)))
    print(f"ours / reused actors: {min(own) / min(reused):.2f}")
    if options.fresh:
        name = "plain Tune, fresh actors"
        fresh = measured(name, options.fresh, lambda: plain(options.fresh, reuse=False))
        print(f"ours / fresh actors: {min(own) / fresh:.3f}")


if __name__ == "__main__":
    sys.exit(main())
