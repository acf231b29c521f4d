"""What a trial costs beyond its training, and what the driver holds: ours and its peers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from drivers import BUCKET, DRIVERS, SIZES

from cluster.embedded.server import embedded_server
from cluster.stores import open_store
from cluster.stores.base import Store

NAMES = {
    "sweeps": "Spurious Sweeps, to S3",
    "tune-reused": "plain Tune, reused actors",
    "tune-puts": "plain Tune, reused actors, bare puts of the same bytes",
    "tune-fresh": "plain Tune, fresh actors",
    "optuna-joblib": "Optuna, in memory, joblib",
    "optuna-sqlite": "Optuna, SQLite, joblib",
}


def run(folder: Path, trials: int, fresh: int) -> list[str]:
    """Run every driver; Optuna trains in its own process, the others on two workers.

    The marginal cost of a trial is between a tenth of the trials and the end, so start-up is in
    none. A driver with fresh actors runs fewer trials.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    with embedded_server(folder) as endpoint:
        environment = {**os.environ, **endpoint.environment(), BUCKET: endpoint.bucket}
        os.environ.update(endpoint.environment())
        for name in DRIVERS:
            number = fresh if name == "tune-fresh" else trials
            found[name] = _drive(name, number, environment)
            print(f"  {name}: {found[name]}", flush=True)
            if name == "sweeps":
                environment[SIZES] = json.dumps(_sizes(open_store(f"s3://{endpoint.bucket}")))
    return _table(found)


def _drive(name: str, trials: int, environment: dict[str, str]) -> list[dict[str, Any]]:
    script = str(Path(__file__).with_name("drivers.py"))
    done = subprocess.run(
        [sys.executable, script, name, str(trials)],
        env={**environment, "PYTHONPATH": str(Path(script).parent)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _sizes(store: Store) -> list[int]:
    """Bytes of the objects that a trial writes."""
    return [
        len(store.get(next(iter(store.list(f"results/{table}/")))))
        for table in ("epochs", "predictions", "trials")
    ]


def _table(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    lines = [
        "| driver | trials | wall s | marginal ms a trial | of Tune, reused | memory MB at a tenth "
        "| at the end | requests a trial |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    unit = _marginal(found["tune-reused"])
    for name, (tenth, end) in found.items():
        marginal = _marginal(found[name])
        asked = f"{end['requests'] / end['trials']:.1f}" if "requests" in end else ""
        memory = f"{tenth['memory_mb']:.0f} | {end['memory_mb']:.0f}"
        lines.append(
            f"| {NAMES[name]} | {end['trials']} | {end['seconds']:.1f} | {1000 * marginal:.1f} "
            f"| {marginal / unit:.2f} | {memory} | {asked} |"
        )
    return lines


def _marginal(marks: list[dict[str, Any]]) -> float:
    """Seconds of a further trial."""
    tenth, end = marks
    return float((end["seconds"] - tenth["seconds"]) / (end["trials"] - tenth["trials"]))
