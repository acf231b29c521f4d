"""Random SIGKILLs in sweeps, searches and stagings; results must equal the undisturbed run's.

    make bench-kills        # or, with a selection:
    PYTHONPATH=tests/sweeps:tests/cluster .venv/bin/python tests/benchmarks/kills \\
        [--kills 30] [--seed 0] [--only run|search|stage] [--first 1]

Each kill has a new home or folder. A part of the run (its driver, a worker at work, Ray's raylet
and GCS, the embedded store's server and supervisor) is killed at a random moment of the time in
which the undisturbed run had it; every fourth time a second part soon after. Where the command
fails, it is given again as a user would, up to three times. Then tables, manifests and shards are
compared, `sweeps store check` runs, and every process must have ended. One line a kill, a table at
the end; exit status 1 where anything differs. A kill is drawn from seed, phase and number alone:
`--first 17` continues a run that was stopped.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from attack import RECONNECT_S, Ending, attack, compare, job_place, job_store, observe
from jobs import GENERATED, PHANTOM, PHANTOM_SIZES, STAGED, Job, SearchJob, StageJob, SweepJob
from processes import PARTS, Lives, Shot

PHASES = {"run": 0, "search": 2, "stage": 1}
"""Each with its number in the draws."""
_EMBEDDED_ONLY = ("server", "supervisor")
_DOUBLE_EVERY = 4
_DOUBLE_WITHIN_S = 6.0
_MISSES = 5
"""A part may have gone at a moment of the undisturbed run: then another moment is drawn."""


@dataclass(frozen=True)
class Quiet:
    """What an undisturbed run showed."""

    lives: Lives
    left: Mapping[str, Any]
    shards: Mapping[str, bytes]


@dataclass
class Tally:
    """Counts by part, for the table at the end."""

    first: Counter[str] = field(default_factory=Counter)
    second: Counter[str] = field(default_factory=Counter)
    repeats: Counter[str] = field(default_factory=Counter)
    foreign: Counter[str] = field(default_factory=Counter)
    equal: Counter[str] = field(default_factory=Counter)
    missed: int = 0

    def add(self, part: str, ending: Ending) -> None:
        """Count one kill."""
        self.first[part] += 1
        self.second.update(hit.part for hit in ending.hits[1:])
        self.repeats[part] += len(ending.ends) - 1
        self.foreign[part] += ending.foreign
        self.equal[part] += not ending.faults


class Benchmark:
    """All kills of a seed, in a folder of its own."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.quiet: dict[tuple[str, str], Quiet] = {}
        self.tallies = {phase: Tally() for phase in PHASES}

    def kill_one(self, phase: str, number: int) -> bool:
        """Do one kill; return whether everything came out equal."""
        random = np.random.default_rng([self.seed, PHASES[phase], number])
        part = PARTS[(number - 1) % len(PARTS)]
        job = self._choose_job(phase, number)
        kind = "folder" if part not in _EMBEDDED_ONLY and random.random() < 0.25 else "s3"
        quiet = self._quiet(job, kind)
        torn = quiet.shards if random.random() < 0.4 else {}
        for _ in range(_MISSES):
            shots = self._draw(part, kind, quiet.lives, random)
            folder = self.folder / f"{phase}-{number}"
            folder.mkdir()
            with job_place(job, folder) as place:
                ending = attack(job, place, kind, shots, torn, random)
                compare(job, place, kind, ending, quiet.left)
            if ending.hits or ending.faults:
                break
            self.tallies[phase].missed += 1
            quiet.lives.scale_to(ending.seconds)
            shutil.rmtree(folder)
        else:
            ending.faults.append(f"no {part} at {_MISSES} moments")
        self.tallies[phase].add(part, ending)
        self._print(phase, number, f"{job.name}/{kind}" + ("/torn" if torn else ""), ending)
        if not ending.faults:
            shutil.rmtree(folder)
        return not ending.faults

    def _choose_job(self, phase: str, number: int) -> Job:
        if phase != "stage":
            return SweepJob() if phase == "run" else SearchJob()
        if (number - 1) // len(PARTS) % 2:
            return StageJob("films", STAGED, self._films())
        return StageJob("generator", GENERATED)

    def _films(self) -> Path:
        """Write the phantom's release once."""
        folder = self.folder / "films-of-all"
        if not folder.exists():
            folder.mkdir()
            with job_place(SweepJob(), folder) as place:
                place.sweeps(*PHANTOM, *PHANTOM_SIZES)
        return folder / "films"

    def _quiet(self, job: Job, kind: str) -> Quiet:
        """Run a job once undisturbed on a kind of store."""
        if (job.name, kind) not in self.quiet:
            folder = self.folder / f"quiet-{job.name}-{kind}"
            folder.mkdir()
            with job_place(job, folder) as place:
                lives, left = observe(job, place, kind)
                with job_store(place, kind) as store:
                    keys = store.list("datasets/") if isinstance(job, StageJob) else ()
                    shards = {key: store.get(key) for key in keys if "/shards/" in key}
            shutil.rmtree(folder)
            self.quiet[job.name, kind] = Quiet(lives, left, shards)
            spans = ", ".join(f"{p} {a:.1f}-{b:.1f}" for p, (a, b) in lives.spans.items())
            print(f"undisturbed {job.name}/{kind}: {lives.seconds:.1f} s ({spans})", flush=True)
        return self.quiet[job.name, kind]

    def _draw(
        self, part: str, kind: str, lives: Lives, random: np.random.Generator
    ) -> tuple[Shot, ...]:
        first = Shot(part, random.uniform(*lives.spans[part]))
        others = [p for p in PARTS if kind == "s3" or p not in _EMBEDDED_ONLY]
        if random.integers(_DOUBLE_EVERY):
            return (first,)
        second = Shot(str(random.choice(others)), random.uniform(0.0, _DOUBLE_WITHIN_S))
        return (first, second)

    def _print(self, phase: str, number: int, where: str, ending: Ending) -> None:
        hits = ", ".join(f"{hit.part} at {hit.at:.1f} s" for hit in ending.hits)
        ends = " > ".join(f"exit {status} '{line[:120]}'" for status, line in ending.ends)
        verdict = "equal" if not ending.faults else "DIFFERS: " + "; ".join(ending.faults)
        clock = time.strftime("%H:%M:%S")
        print(
            f"{clock} {phase} {number} {where}: killed {hits} | {ends} | "
            f"{len(ending.ends) - 1} repeats, {ending.seconds:.0f} s | {verdict}",
            flush=True,
        )

    def print_table(self, phase: str) -> None:
        """Print the counts of a phase by part."""
        tally = self.tallies[phase]
        columns = {
            "kills": tally.first,
            "second": tally.second,
            "repeats": tally.repeats,
            "foreign": tally.foreign,
            "equal": tally.equal,
        }
        print(f"\n{phase:<12}" + "".join(f"{name:>9}" for name in columns))
        for part in PARTS:
            print(f"{part:<12}" + "".join(f"{counts[part]:>9}" for counts in columns.values()))
        print(f"{'all':<12}" + "".join(f"{counts.total():>9}" for counts in columns.values()))
        print("foreign: commands that ended by themselves without a message of this program")
        print(f"moments at which the part had gone, drawn again: {tally.missed}", flush=True)


def main() -> int:
    """Run the benchmark; 0 where everything came out equal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30, help="of each phase; at least 18 for all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=tuple(PHASES), help="one phase alone")
    parser.add_argument("--first", type=int, default=1, help="number of the first kill")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and leave no process behind
    print(f"seed {options.seed}; Ray looks for a dead GCS for {RECONNECT_S} s", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    benchmark, good = Benchmark(folder, options.seed), True
    phases = (options.only,) if options.only else tuple(PHASES)
    for phase in phases:
        for number in range(options.first, options.kills + 1):
            good &= benchmark.kill_one(phase, number)
    for phase in phases:
        benchmark.print_table(phase)
    if good:
        shutil.rmtree(folder)
    else:
        print(f"what differs is kept in {folder}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
