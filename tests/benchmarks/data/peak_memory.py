"""The most memory that work holds: the proportional set size (PSS), five times a second."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path


def read_stats() -> dict[int, list[str]]:
    """Return the fields of `/proc/PID/stat` behind the name, of this process and all below it."""
    stats: dict[int, list[str]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            stats[int(stat.parent.name)] = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
    return {pid: fields for pid, fields in stats.items() if _is_below(pid, stats)}


def _is_below(pid: int, stats: dict[int, list[str]]) -> bool:
    while pid not in (0, os.getpid()):
        pid = int(stats[pid][1]) if pid in stats else 0
    return pid != 0


def sum_pss() -> int:
    """Return the PSS of this process and all below it, in bytes."""
    return sum(_read_pss(pid) for pid in read_stats())


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
