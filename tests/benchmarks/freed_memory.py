"""Trials in one reused worker, with glibc's own habit and with freed memory kept: `make bench`.

In each turn both ways train the same trials, one after the other, each way in a process of its
own: in a thread, as Ray Tune does, with one torch thread, evaluated every epoch on 2,000 images.
Shown are medians over turns of CPU time and minor page faults of a trial (the first one, which
imports, is left out), the most memory that the process held, what it held after its last trial, and
by how much that grew from trial to trial. Every number of every trial must be equal.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from cluster.common.heap import return_freed_memory, variables_that_keep_memory

OWN, KEPT = WAYS = ("glibc's own", "kept")
TRIALS = (
    *(("small-cnn", 32, 600), ("small-cnn", 96, 40), ("small-cnn", 96, 600)),
    ("small-unet", 32, 40),
)
"""Model, side of an image in pixels, budget."""
EPOCHS = 2
_MIB = 2**20


def train(way: str, model: str, side: int, budget: int, trials: int) -> dict[str, Any]:
    """Train the trials in this process; return what each took and what was held after it."""
    import torch
    import trial_speed

    from spurious.fit import Machine, fit
    from spurious.training.loop import Hooks

    torch.set_num_threads(1)
    trial_speed.SIDE = side
    dataset, config = trial_speed.data(), trial_speed.config_of(model, budget)
    config = replace(config, train=replace(config.train, epochs=EPOCHS))
    numbers, took, held = hashlib.sha256(), [], []
    for _ in range(1 + trials):
        before, began = _faults(), time.process_time()
        fitted = fit(dataset, config, Machine(), Hooks(), lambda digest: {})
        took.append((time.process_time() - began, _faults() - before))
        numbers.update(repr([(r.epoch, r.split, r.metric, r.value) for r in fitted.rows]).encode())
        del fitted
        gc.collect()
        if way == KEPT:
            return_freed_memory()
        held.append(_held_mib())
    return {
        "seconds": statistics.median(seconds for seconds, _ in took[1:]),
        "faults": statistics.median(faults for _, faults in took[1:]),
        "most": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _MIB,
        "after": held[-1],
        "grows": (held[-1] - held[1]) / max(1, trials - 1),
        "numbers": numbers.hexdigest(),
    }


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _held_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB


def measure(way: str, trial: tuple[str, int, int], trials: int) -> dict[str, Any]:
    """Run one way in a process of its own."""
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("MALLOC_")}
    if way == KEPT:
        environment |= variables_that_keep_memory(environment)
    words = [*map(str, trial), "--trials", str(trials)]
    command = [sys.executable, __file__, "--one", way, *words]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(trial: tuple[str, int, int], turns: int, trials: int) -> None:
    """Print a line for each way, and one for what is saved; the ways take turns to be the first."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for turn in range(turns):
        for way in WAYS[:: 1 if turn % 2 else -1]:
            found[way].append(measure(way, trial, trials))
    if len({each["numbers"] for of_way in found.values() for each in of_way}) != 1:
        sys.exit(f"{trial}: numbers of trials differ")
    model, side, budget = trial
    for way, of_way in found.items():
        seconds, faults, *memory = (
            statistics.median(each[name] for each in of_way)
            for name in ("seconds", "faults", "most", "after", "grows")
        )
        shown = " | ".join(f"{each:.0f}" for each in memory)
        print(
            f"| {model}, {side} pixels, {budget} images | {way} | {seconds:.2f} | {faults:,.0f} "
            f"| {shown} |"
        )
    pairs = zip(found[OWN], found[KEPT], strict=True)
    saved = sorted(1 - kept["seconds"] / own["seconds"] for own, kept in pairs)
    middle = statistics.median(saved)
    print(f"| | saved | {middle:.0%} ({saved[0]:.0%} to {saved[-1]:.0%}) | | | | |", flush=True)


def main() -> None:
    """Compare all trials, or be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--trials", type=int, default=2, help="after the first, in one process")
    parser.add_argument("--one", nargs=4, metavar=("WAY", "MODEL", "SIDE", "BUDGET"))
    options = parser.parse_args()
    if options.one is None:
        print("| trial | freed memory | CPU s | minor faults | most MiB | after MiB | grows MiB |")
        print("| --- | --- | --: | --: | --: | --: | --: |")
        for trial in TRIALS:
            compare(trial, options.turns, options.trials)
        return
    way, model, side, budget = options.one

    def work() -> None:
        print(json.dumps(train(way, model, int(side), int(budget), options.trials)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


if __name__ == "__main__":
    main()
