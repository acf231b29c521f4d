"""The most memory that staging holds, of few images and of four times as many.

Memory is the proportional set size (PSS) of this process and all below it, Ray's own included, five
times a second. It is set against that of the idle session before.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import staging

from cluster.jobs.session import ray_session


def sum_pss() -> int:
    """Return the PSS of this process and all below it, in bytes."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    total = 0
    for pid in parents:
        ancestor = pid
        while ancestor not in (0, os.getpid()):
            ancestor = parents.get(ancestor, 0)
        if ancestor:
            total += _read_pss(pid)
    return total


def _read_pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended, or is ending
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def measure_peak(work: Callable[[], object]) -> int:
    """Run work; return the highest sum in bytes."""
    peak, ended = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.2):
            peak = max(peak, sum_pss())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        ended.set()
        watcher.join()
    return peak


def run(folder: Path, images: int, processes: int) -> list[str]:
    """Measure a quarter of the images and all of them; returns lines of Markdown."""
    lines = []
    with ray_session("bench-staging-memory", cpus=processes):
        for number in range(2):  # films, lesions
            peaks = []
            for count in (16, images // 4, images):  # the first imports, and compiles loops
                case = staging.write_cases(folder, count)[number]
                idle = sum_pss()
                peaks.append(measure_peak(lambda case=case: staging.measure_staging(case)) - idle)
            few, many = (peak / 1e6 for peak in peaks[1:])
            lines.append(
                f"staging {case.name}: at most {few:,.0f} MB more than before with {images // 4} "
                f"images, {many:,.0f} MB with {images}"
            )
    return [*lines, ""]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="bench-staging-memory-") as scratch:
        print("\n".join(run(Path(scratch), 400, 2)))
