"""Time and memory of commands on thousands of results in S3, each in a fresh process.

    .venv/bin/python tests/benchmarks/results [--trials 1000 10000] [--epochs 10 150] [--images 50]
        [--verbs VERB ...] [--states STATE ...]

A real SeaweedFS holds results that the project's own codec wrote. `status`, `plan`, `pull`,
`report` and a `run` with nothing to do are measured four times: without packs, in the store or on
this machine; after a driver that was killed while it ran, so that all results but the last 500 (at
most half) are compacted; then compacted with nothing on this machine; and again with what the
commands before have kept here. Beside them stand what listing the same
objects and getting the same bytes cost, with the project's store and nothing else, in a process of
their own. Columns: seconds, seconds of CPU of the process alone (without the server's), peak
memory. Seconds depend on the machine and on what else it does; compare them within one run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from synthetic import SPECIFICITIES, spec_text, write_results

from cluster.embedded.server import embedded_server
from cluster.stores import open_store
from cluster.stores.base import Store
from sweeps.plan.facts import plan_on
from sweeps.results.compaction import compact
from sweeps.results.keys import COMPACT

LOOSE, KILLED, COMPACTED = "not compacted", "killed while running", "compacted"
STATES = (LOOSE, KILLED, COMPACTED, "compacted, kept here")
VERBS = ("status", "plan", "pull", "report", "run")
LEFT = 500
"""Results of the last minutes of a run with short trials."""
AT_ONCE = 10_000
"""Results that are compacted together: each time all are listed."""
BARE = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from cluster.stores import open_store
store = open_store(sys.argv[1], probe=False)
keys = [k for t in ("trials", "epochs", "predictions") for k in store.list(f"results/{t}/")]
if sys.argv[2] == "get":
    with ThreadPoolExecutor(16) as pool:
        for start in range(0, len(keys), 256):
            list(pool.map(store.get, keys[start:start + 256]))
"""
"""Lists all objects of results, and gets their bytes."""
SWEEPS = """
import sys
from sweeps.cli import main
status = main(sys.argv[1:])
"""
MEASURED = """
import time
from pathlib import Path
lines = Path("/proc/self/status").read_text().splitlines()
peak = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
Path("measured").write_text(f"{time.process_time()} {peak}")
"""
"""Writes CPU seconds and peak memory in KiB; what `wait4` tells includes the parent's memory."""


def measure(
    code: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path
) -> str:
    """Run code in a process of its own; return seconds, CPU seconds and peak memory as text."""
    command = [sys.executable, "-c", code + MEASURED, *arguments]
    began = time.perf_counter()
    done = subprocess.run(
        command, env=dict(environment), cwd=folder, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    cpu, peak = (folder / "measured").read_text().split()
    return f"{seconds:8.1f} s {float(cpu):8.1f} s {int(peak) / 1024:7.0f} MiB"


def forget_packs(store: Store) -> None:
    """Remove all packs and indexes."""
    for key in store.list(COMPACT):
        store.delete(key)


def bring_to(state: str, store: Store, ids: Sequence[str]) -> None:
    """Compact all results, or as a run does by and by, all but the last of them."""
    upto = {KILLED: max(len(ids) - LEFT, len(ids) // 2), COMPACTED: len(ids)}.get(state, 0)
    if state == KILLED:
        forget_packs(store)
    for start in range(0, upto, AT_ONCE):
        compact(store, ids[start : min(start + AT_ONCE, upto)])


def compare(trials: int, epochs: int, images: int, options: argparse.Namespace, home: Path) -> None:
    """Measure all commands on one sweep."""
    verbs, states = options.verbs, options.states
    with embedded_server(home) as endpoint:
        os.environ.update(endpoint.environment())
        store = open_store(f"s3://{endpoint.bucket}/results-{trials}-{epochs}-{images}")
        if {LOOSE, KILLED} & set(states):
            forget_packs(store)
        began = time.perf_counter()
        text = spec_text(trials, epochs, images, options.specificities)
        spec = write_results(store, text)
        ids = [trial.id for trial in plan_on(spec, store, verify=False).trials]
        print(
            f"\n{len(ids)} trials of {epochs} epochs and {2 * images} images, written in "
            f"{time.perf_counter() - began:.0f} s"
        )
        folder = home / "work"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "sweep.yaml").write_text(text)
        for verb in ("list", "get") if LOOSE in states else ("list",):
            figures = measure(BARE, [store.url, verb], os.environ, folder)
            print(f"  {'bare ' + verb:<32}{figures}", flush=True)
        for state in states:
            bring_to(state, store, ids)
            for verb in verbs:
                place = folder / ("home" if "here" in state or verb == "run" else f"home-{verb}")
                if "here" not in state:
                    shutil.rmtree(place, ignore_errors=True)
                environment = {**os.environ, "SWEEPS_HOME": str(place)}
                command = [verb, "sweep.yaml", "--store", store.url]
                figures = measure(SWEEPS, command, environment, folder)
                print(f"  {verb + ', ' + state:<32}{figures}", flush=True)
        shutil.rmtree(folder)


def main() -> int:
    """Measure every number of trials with every number of epochs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--epochs", type=int, nargs="+", default=[10, 150])
    parser.add_argument("--images", type=int, default=50, help="of validation, and of the test")
    parser.add_argument(
        "--specificities", nargs="+", default=SPECIFICITIES, choices=SPECIFICITIES,
        help="one of them halves the sweep",
    )  # fmt: skip
    parser.add_argument("--verbs", nargs="+", default=VERBS, choices=VERBS)
    parser.add_argument("--states", nargs="+", default=STATES, choices=STATES)
    parser.add_argument("--home", type=Path, help="keep the store here, and use it again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = options.home or Path(temporary)
        home.mkdir(parents=True, exist_ok=True)
        for trials in options.trials:
            for epochs in options.epochs:
                compare(trials, epochs, options.images, options, home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
