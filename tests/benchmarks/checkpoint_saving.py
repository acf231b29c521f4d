"""Saving a large checkpoint: how long training is held, until it is durable, and extra memory.

    .venv/bin/python tests/benchmarks/checkpoint_saving.py [--megabytes 550] [--rounds 3]

Beside the writing in a thread stands one put in the loop, of bytes that are packed, hashed and
joined first. Both are on the embedded SeaweedFS, in a process of their own each time, in turns.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from cluster.embedded.server import embedded_server
from cluster.stores import open_store
from cluster.stores.s3 import S3Store
from spurious.training import checkpoint
from sweeps.results.tables import checkpoint_head, unpack_checkpoint
from sweeps.trial.checkpoint_writer import CheckpointWriter

WAYS = ("in the loop", "by a thread")
KEY = "checkpoints/bench/state.pt"
SHARE = 1 / 24
"""Of the state in each tensor."""


def make_state(megabytes: int) -> dict[str, object]:
    """Return tensors of some size."""
    numbers = int(megabytes * 1e6 * SHARE / 4)
    return {f"weights.{at}": torch.rand(numbers) for at in range(round(1 / SHARE))}


def put_in_loop(store: S3Store, state: dict[str, object]) -> None:
    """Pack, hash and join the state, and put it in one request."""
    buffer = io.BytesIO()
    torch.save({"format": checkpoint.FORMAT, **state}, buffer)
    data = buffer.getvalue()
    data = hashlib.sha256(data).digest() + data
    data = checkpoint_head(1.0) + data
    store._call("put", KEY, lambda: store._put(store._name(KEY), data))


def save(way: str, url: str, megabytes: int) -> dict[str, float]:
    """Save a state twice, as a training does; figures of the second time."""
    store, state = open_store(url), make_state(megabytes)
    assert isinstance(store, S3Store)
    store.put("warm", b"")
    writer = CheckpointWriter(store, KEY, lambda: checkpoint_head(1.0))
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    began = time.perf_counter()
    if way == WAYS[0]:
        put_in_loop(store, state)
        held = time.perf_counter() - began
    else:
        writer.save(lambda: checkpoint.Snapshot(state), urgent=True)
        held = time.perf_counter() - began
        writer.finish()
    durable = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    stored = checkpoint.unpack(unpack_checkpoint(store.get(KEY))[0])
    assert all(torch.equal(stored[name], value) for name, value in state.items())  # type: ignore[arg-type]
    return {"held": held, "durable": durable, "peak": peak / 1e6}


def main() -> None:
    """Print a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=550)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(save(options.way, options.store, options.megabytes)))
        return
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with (
        tempfile.TemporaryDirectory(prefix="bench-save-") as home,
        embedded_server(Path(home)) as server,
    ):
        environment = {**os.environ, **server.environment()}
        for _ in range(options.rounds):
            for way in WAYS:
                command = [sys.executable, __file__, "--way", way]
                command += ["--store", f"s3://{server.bucket}/bench", "--megabytes"]
                done = subprocess.run(
                    [*command, str(options.megabytes)],
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=900,
                    check=True,
                )
                runs[way].append(json.loads(done.stdout.splitlines()[-1]))
    print(f"checkpoint of {options.megabytes} MB, embedded SeaweedFS, median of {options.rounds}\n")
    print("| written | training is held, s | durable after, s | extra memory, MB |")
    print("| --- | --- | --- | --- |")
    for way, of in runs.items():
        held, durable, peak = (
            statistics.median(run[name] for run in of) for name in ("held", "durable", "peak")
        )
        print(f"| {way} | {held:.2f} | {durable:.2f} | {peak:,.0f} |")
    slowest = max(run["durable"] for run in runs[WAYS[1]])
    print(f"\nslowest of all rounds by a thread: {slowest:.1f} s (goal: below a drain of 30 s)")


if __name__ == "__main__":
    main()
