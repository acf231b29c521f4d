"""Compacts what a run has committed while it goes on, so that a killed driver leaves little to do.

Without it every later command would read each result of a long run one by one. The work is done by
a process of its own (`sweeps.driver.compacting`), since decoding rows takes memory and processor
time that the driver's loop needs. It has the driver's environment, keys of the store included.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection

from cluster.common.redaction import redact
from cluster.common.wording import count_of, is_or_are
from sweeps.results.pack_cache import PackCache
from sweeps.trial.events import UNFINISHED, Outcome, TaskName, Watcher

EVERY_S = 600.0
"""Seconds between two compactions: trials of any length cost the same."""
FEWEST = 200
"""Ended trials from which on one is worth its process; reading as many takes seconds."""
_LOOK_EVERY_S = 1.0
_CHILD_S = 0.2


class Compactor(Watcher):
    """Hears of ended trials; while its `with` block runs a thread has them compacted.

    Args:
        store_url: The run's store.
        cache: Where packs are kept on this machine.
        done: Trials with a result from before: a driver that was killed may have left them.
        tell: Receives a note where compacting fails; the run goes on.
    """

    def __init__(
        self,
        store_url: str,
        cache: PackCache,
        done: Collection[str],
        tell: Callable[[str], None],
    ) -> None:
        self._url, self._cache, self._tell = store_url, cache, tell
        self._lock = threading.Lock()
        self._before, self._ended = set(done), set[str]()
        self._has_told = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="compaction", daemon=True)

    def __enter__(self) -> Compactor:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def on_ended(self, task: TaskName, outcome: Outcome | None, message: str) -> None:
        """See `Watcher`."""
        if outcome is None or outcome.state not in UNFINISHED:
            with self._lock:
                self._ended.add(task.trial_id)

    def _work(self) -> None:
        due = time.monotonic() + EVERY_S
        while not self._over.wait(min(_LOOK_EVERY_S, EVERY_S)):
            if time.monotonic() >= due and len(self._ended) >= FEWEST:
                self._compact()
                due = time.monotonic() + EVERY_S

    def _compact(self) -> None:
        """Have all that ended until now compacted; what could not be comes again the next time."""
        with self._lock:
            before, ended = self._before, self._ended
            self._before, self._ended = set(), set()
        try:
            problem = self._run_child(before | ended)
        except OSError as error:  # no space for a file, or no further process
            problem = str(error)
        if problem is None:
            self._has_told = False
            return
        with self._lock:
            self._before |= before
            self._ended |= ended
        if problem and not self._has_told:
            self._has_told = True
            some = f"{count_of(len(ended), 'result')} {is_or_are(len(ended))}"
            self._tell(
                f"note: {some} not compacted yet, which is tried again later: {redact(problem)}"
            )

    def _run_child(self, ids: Collection[str]) -> str | None:
        """Compact some trials' results; return why that failed, empty where the run ended first."""
        command = [sys.executable, "-P", "-m", "sweeps.driver.compacting", self._url]
        command += [f"--folder={self._cache.folder}", f"--limit={self._cache.limit_bytes}"]
        with tempfile.TemporaryFile("w+") as id_lines, tempfile.TemporaryFile("w+") as errors:
            id_lines.write("\n".join(sorted(ids)))
            id_lines.seek(0)
            with subprocess.Popen(
                [*command, f"--parent={os.getpid()}"],
                stdin=id_lines,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for the run alone
            ) as child:
                while child.poll() is None:
                    if self._over.wait(_CHILD_S):
                        child.kill()
                        return ""
            if not child.returncode:
                return None
            errors.seek(0)
            lines = errors.read().strip().splitlines()
            return lines[-1] if lines else f"its process ended with status {child.returncode}"
