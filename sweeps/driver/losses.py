"""What an attempt died of, and whether another one follows: a driver's judgement of lost attempts.

A worker that could still tell has told. Of one that died the error, its node and the clock tell.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ray.exceptions import OutOfMemoryError, RayActorError, RayError

from cluster.common.oom_kills import count_oom_kills
from cluster.common.wording import count_of
from cluster.jobs.nodes import Node, ask_node
from cluster.jobs.notices import Notices
from cluster.jobs.ray_internals import node_of_actor
from sweeps.driver.placement import Placement
from sweeps.trial.deadline import describe_dump, take_dump
from sweeps.trial.failures import POLICIES

_ASK_S = 15.0
_LOST = "the worker process was lost (killed, crashed, or with its node)"
_LEFT = "the worker's node went away after a notice (spot, drain)"
_KILLED = "the kernel killed the worker, since the node had no memory left"


@dataclass(frozen=True)
class Reason:
    """Why an attempt gave up, as its worker told.

    Attributes:
        failure_class, message: Of the failure.
        node: Id of the worker's node.
        of_gpu: Whether it was a GPU that had no memory left.
        store_away: Whether the store could not be reached.
    """

    failure_class: str
    message: str
    node: str
    of_gpu: bool = False
    store_away: bool = False


@dataclass(frozen=True)
class Loss:
    """An attempt that ended without an outcome.

    Attributes:
        failure_class, message, details: For the failures table.
        node: Name of its node, empty where unknown.
        is_told: Whether the worker itself could tell, and has recorded it.
        retried: Whether another attempt follows.
    """

    failure_class: str
    message: str
    details: str
    node: str
    is_told: bool
    retried: bool


@dataclass(frozen=True)
class Trace:
    """What a node knows of a worker that it lost: kills by its kernel so far, and a dump."""

    kills: int | None
    dump: str | None


def look_for_trace(cache: Path, run: str, trial_id: str) -> Trace:
    """Return what the node that this runs on knows of a trial's worker."""
    return Trace(count_oom_kills(), take_dump(cache, run, trial_id))


class Losses:
    """Judges the attempts that a run loses.

    Args:
        notices: The run's notice board.
        placement: What trials ask for; changed by what is judged.
        limit_s: Seconds that a trial may take.
        on_excluded: Receives what to tell of a node that later trials keep away from.
    """

    def __init__(
        self,
        notices: Notices,
        placement: Placement,
        limit_s: float,
        on_excluded: Callable[[str], None],
    ) -> None:
        self.notices, self.placement = notices, placement
        self.limit_s, self.on_excluded = limit_s, on_excluded
        self.reasons: dict[str, Reason] = {}
        self._began: dict[str, float] = {}
        self._judged: dict[str, Loss] = {}
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._kills: dict[str, int] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        # Tune pickles what it is given for a restore that is never asked for
        return object, ()

    def began(self, trial_id: str) -> None:
        """Take note of an attempt that began."""
        self._began[trial_id] = time.monotonic()

    def judge(self, trial_id: str, cache: Path, error: BaseException | None) -> None:
        """Judge an attempt that was lost, once: `take` returns what was found.

        Args:
            trial_id: Its trial.
            cache: The node cache's folder, the same on every node.
            error: What Ray raised.
        """
        reason, left = self.reasons.pop(trial_id, None), self.notices.left(trial_id)
        node = _find_node(error) if reason is None else reason.node
        if reason is not None:
            cause = (reason.failure_class, reason.message, "")
        else:
            trace = partial(self._ask, trial_id, cache, node)
            cause = self._find_cause(trial_id, error, node, trace, left=left)
        failure_class, message, details = cause
        known = None if node is None else self.placement.node(node)
        if known is not None and failure_class == "infrastructure":
            self._blame(known, trial_id, reason)
        self._counts[trial_id][failure_class] += 1
        of_gpu = reason is not None and reason.of_gpu
        retried, note = self._retry(trial_id, failure_class, node, of_gpu=of_gpu)
        self._judged[trial_id] = Loss(
            failure_class,
            f"{message}; {note}" if note else message,
            details,
            "" if known is None else known.name,
            reason is not None,
            retried,
        )

    def _blame(self, node: Node, trial_id: str, reason: Reason | None) -> None:
        """Count a loss of a node, and tell where later trials keep away from it."""
        away = reason is not None and reason.store_away
        if text := self.placement.lost(node, trial_id, store_away=away):
            self.on_excluded(text)

    def is_retried(self, trial_id: str) -> bool:
        """Return whether another attempt follows the one that was judged last."""
        return self._judged[trial_id].retried

    def take(self, trial_id: str) -> Loss:
        """Return what was judged of a trial's attempt."""
        return self._judged.pop(trial_id)

    def forget(self, trial_id: str) -> None:
        """Drop what was noted of a trial that ended."""
        for noted in (self._began, self._counts, self.reasons):
            noted.pop(trial_id, None)
        self.placement.forget(trial_id)

    def _find_cause(
        self,
        trial_id: str,
        error: BaseException | None,
        node: str | None,
        find_trace: Callable[[], Trace],
        *,
        left: bool,
    ) -> tuple[str, str, str]:
        """Class, message and details of an attempt whose worker died without a word."""
        details = "" if error is None else str(error)
        if left or (isinstance(error, RayActorError) and error.preempted):
            return "preempted", _LEFT, details
        cause = error if error is None or error.__cause__ is None else error.__cause__
        if isinstance(cause, OutOfMemoryError):
            first = str(cause).partition("\n")[0]
            return "out_of_memory", f"Ray's memory monitor ended the worker: {first}", details
        trace = find_trace()
        took_s = time.monotonic() - self._began.get(trial_id, time.monotonic())
        minutes = count_of(self.limit_s / 60, "minute")
        limit = f"the {minutes} that a trial may take (limits.trial_minutes)"
        if trace.dump is not None:
            place = describe_dump(trace.dump)
            return "timeout", f"it did not end within {limit}; it was at {place}", trace.dump
        if node is not None and self._is_killed(node, trace.kills):
            return "out_of_memory", _KILLED, details
        if took_s >= self.limit_s:
            return "timeout", f"it was ended after {limit}; its node does not say where", details
        return "infrastructure", _LOST, details

    def _ask(self, trial_id: str, cache: Path, node: str | None) -> Trace:
        """Ask the node of a lost worker, where it is alive; its machine may be this one."""
        dump = take_dump(cache, self.notices.run, trial_id)
        nothing = Trace(None, dump)
        if dump is not None or node is None or self.placement.node(node) is None:
            return nothing
        question = partial(look_for_trace, cache, self.notices.run, trial_id)
        return ask_node(node, question, _ASK_S) or nothing

    def _is_killed(self, node: str, kills: int | None) -> bool:
        """Return whether the node's kernel has killed a process that no other loss stands for."""
        before = self._kills.get(node)
        before = self.notices.kills_before(node) if before is None else before
        if kills is None or before is None or kills <= before:
            return False
        self._kills[node] = before + 1
        return True

    def _retry(
        self, trial_id: str, failure_class: str, node: str | None, *, of_gpu: bool
    ) -> tuple[bool, str]:
        """Return whether another attempt follows, and what is different in it."""
        policy = POLICIES[failure_class]
        if policy.retries is not None and self._counts[trial_id][failure_class] > policy.retries:
            return False, ""
        if policy.remedy == "elsewhere" and node is not None:
            self.placement.elsewhere(trial_id, node)
        if policy.remedy == "larger":
            larger = self.placement.larger(trial_id, of_gpu=of_gpu)
            if larger is None:
                whole = "a whole GPU" if of_gpu else "a whole node"
                return False, f"it had {whole}: run it on a larger one, or lower train.batch_size"
            return True, f"the next attempt asks for {larger.describe()}"
        return True, ""


def _find_node(error: BaseException | None) -> str | None:
    """Return the id of the node of a lost actor, which Ray knows also when it is dead."""
    actor_id = error.actor_id if isinstance(error, RayActorError) else None
    try:
        return node_of_actor(actor_id) if actor_id else None
    except RayError:
        return None
