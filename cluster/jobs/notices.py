"""What a driver and its trials tell each other while both live, through Ray's control store.

A trial asks between epochs: shall it stop, and will its node go away? Nothing here outlives the
Ray session; what must last is in the store.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayError

from cluster.jobs.ray_internals import is_draining, kv_delete, kv_get, kv_put

_TIMEOUT_S = 5.0
_log = logging.getLogger("cluster.jobs.notices")


@dataclass(frozen=True)
class Notice:
    """What a driver has told.

    Attributes:
        stop: Whether all trials shall save a checkpoint and end.
        retried: Ids of the trials that an earlier worker lost.
    """

    stop: bool = False
    retried: frozenset[str] = frozenset()


class Notices:
    """One run's notice board; the driver writes, its trials read."""

    def __init__(self, run: str) -> None:
        """Take the board of a run, by an id that no other run has."""
        self.run = run
        self._written = Notice()
        self._read_at = -float("inf")
        self._read = Notice()

    def __reduce__(self) -> tuple[Any, ...]:
        return Notices, (self.run,)

    def ask_to_stop(self) -> None:
        """Tell every trial to save a checkpoint and end."""
        self._write(Notice(True, self._written.retried))

    def lost(self, trial_id: str) -> None:
        """Tell the next attempt of a trial that there was an earlier one."""
        self._write(Notice(self._written.stop, self._written.retried | {trial_id}))

    def leaving(self, trial_id: str) -> None:
        """From a trial: its node will go away, so that its end there does not count as a failure.

        Ray itself tells a drained node from a failed one only where the node outlives its deadline.
        """
        try:
            kv_put(self._leaving(trial_id), b"1")
        except RayError as error:
            _log.warning("the driver could not be told that this node goes away: %s", error)

    def left(self, trial_id: str) -> bool:
        """For the driver: whether a trial told that its node goes away; told once."""
        key = self._leaving(trial_id)
        is_leaving = kv_get(key) is not None
        if is_leaving:
            kv_delete(key)
        return is_leaving

    def note_kills(self, node: str, kills: int) -> None:
        """From a worker: processes that its node's kernel had killed before the node's first trial.

        What was told first stands.
        """
        try:
            kv_put(self._kills(node), str(kills).encode(), overwrite=False)
        except RayError as error:
            _log.warning("the driver could not be told of killed processes: %s", error)

    def kills_before(self, node: str) -> int | None:
        """For the driver: what `note_kills` told of a node; None where it told nothing."""
        try:
            answer = kv_get(self._kills(node))
        except RayError as error:
            _log.warning("it could not be read how many processes were killed: %s", error)
            return None
        return None if answer is None else int(answer)

    def clear(self) -> None:
        """Remove the board, where the session still stands."""
        try:
            kv_delete(self._key)
            for prefix in (self._leaving(""), self._kills("")):
                kv_delete(prefix, as_prefix=True)
        except RayError as error:
            _log.warning("the run's notices could not be removed: %s", error)

    def read(self, max_age_s: float = 0.0) -> Notice:
        """Return the driver's notice, read again where the last answer is older.

        A control store that does not answer has told nothing new: the trial goes on.
        """
        if time.monotonic() - self._read_at >= max_age_s:
            try:
                self._read = _parse(kv_get(self._key))
            except RayError as error:
                _log.warning("the driver's notices could not be read: %s", error)
            self._read_at = time.monotonic()
        return self._read

    @property
    def _key(self) -> str:
        return f"notices/{self.run}"

    def _leaving(self, trial_id: str) -> str:
        return f"leaving/{self.run}/{trial_id}"

    def _kills(self, node: str) -> str:
        return f"kills/{self.run}/{node}"

    def _write(self, notice: Notice) -> None:
        self._written = notice
        data = json.dumps({"stop": notice.stop, "retried": sorted(notice.retried)})
        kv_put(self._key, data.encode())


def _parse(answer: bytes | None) -> Notice:
    if answer is None:
        return Notice()
    notice = json.loads(answer)
    return Notice(notice["stop"], frozenset(notice["retried"]))


class Drain:
    """Asks whether this process's node will go away: a spot reclaim, a scale-down, an eviction."""

    def __init__(self) -> None:
        """Ask nothing yet."""
        self._polled_at = -float("inf")
        self._coming = False

    def coming(self, max_age_s: float = 1.0) -> bool:
        """Ask Ray, at most every `max_age_s` seconds; once yes, always yes."""
        if not self._coming and time.monotonic() - self._polled_at >= max_age_s:
            self._polled_at = time.monotonic()
            try:
                self._coming = is_draining(_TIMEOUT_S)
            except RayError as error:
                _log.warning("Ray does not say which nodes go away: %s", error)
        return self._coming
