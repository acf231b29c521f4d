"""Every use of Ray's private interfaces: what this project needs and Ray has no public way for.

Written for the version in `WRITTEN_FOR`. When Ray is raised, check each entry of `PRIVATE_NAMES`
in the new version, then raise `WRITTEN_FOR`; a test fails until then. Nothing here imports Ray
when this module is imported: `session` sets variables that Ray reads at its import.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

WRITTEN_FOR: Final = "2.60"
PRIVATE_NAMES: Final = (
    "ray._config.metrics_report_interval_ms",
    "ray._private.state.actors",
    "ray._private.utils.set_sigterm_handler",
    "ray._raylet.CoreWorker",
    "ray._raylet.InnerGcsClient.get_draining_nodes",
    "ray._raylet.setproctitle",
    "ray.actor.ActorHandle._actor_id",
    "ray.air.execution._internal.actor_manager.RayActorManager._actor_task_failed",
    "ray.dashboard.modules.dashboard_sdk.SubmissionClient._do_request",
    "ray.dashboard.modules.job.sdk.logger",
    "ray.experimental.internal_kv._internal_kv_del",
    "ray.experimental.internal_kv._internal_kv_get",
    "ray.experimental.internal_kv._internal_kv_put",
    "ray.experimental.internal_kv.internal_kv_get_gcs_client",
    "ray.tune.execution.class_cache.DEFAULT_ENV_VARS",
    "ray.tune.execution.class_cache.ENV_VARS_TO_PROPAGATE",
    "ray.tune.execution.tune_controller.TuneController._remove_actor",
)
MANAGER_ATTRIBUTES: Final = ("_live_actors_to_ray_actors_resources", "_tracked_actor")
"""Of `ray.air.execution`: where Tune keeps its actors, and that of a task."""

CONTROLLER_ATTRIBUTES: Final = (
    *("_actor_cache", "_actor_to_trial", "_failed_trials", "_live_trials", "_pending_trials"),
    *("_pending_trials_list", "_resetting_trials", "_resources_to_pending_trials"),
    *("_staged_trials", "_stopped_trials", "_trial_metadata"),
    *("_trial_to_actor", "_trials", "_trials_to_cache"),
)
"""Of `ray.tune.execution.tune_controller.TuneController`: where it keeps its trials."""

TEMPORARY_FOLDER: Final = "_temp_dir"
"""The argument of `ray.init` that places a session's folder."""

LOOPBACK_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""At 0 Ray's own nodes are at 127.0.0.1, where they listen on loopback alone.

Ray does so by default on macOS and Windows. An address given to `ray.init` does not help: Ray
replaces 127.0.0.1 by the machine's outer address, and then listens on every interface.
"""
WORKER_LOGS: Final = "worker-*.*"
"""Logs of workers in a session's folder; the process id stands last before `.out` or `.err`."""
ACTOR_NAME: Final = ":actor_name:"
LOG_MARKS: Final = (":job_id:", ACTOR_NAME, ":task_name:")
"""Lines of these logs that begin so are Ray's own: whose lines follow."""
_NAMESPACE = b"spurious-sweeps"


def choose_environment_of_actors(variables: Mapping[str, str]) -> None:
    """Set the runtime environment of Ray Tune's actors, and copy none of the driver's variables.

    By itself it copies AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN among others, and Ray writes
    runtime environments into its logs and shows them on its dashboard, in clear text. Workers have
    an environment of their own: that of the driver on this machine, of the pod in a cluster.

    Args:
        variables: What actors have besides, no secret among it.
    """
    from ray.tune.execution import class_cache

    class_cache.ENV_VARS_TO_PROPAGATE.clear()
    class_cache.DEFAULT_ENV_VARS.update(variables)


def name_worker(title: str) -> None:
    """Give this worker a title, which the dashboard's list of a node's workers shows.

    Ray itself sets it at each call of an actor's method, so it has to be given again and again.
    """
    import ray

    ray._raylet.setproctitle(f"ray::{title}")  # type: ignore[attr-defined]


def forget_ended_trials(controller: Any) -> None:
    """Make Ray Tune's controller drop the trials that ended, between two of its events.

    It keeps every trial for its own report, which nobody reads here, and walks through all of
    them at each step (ray#64231): 26 KB of the driver's memory each.
    """
    ended = controller._stopped_trials | controller._failed_trials
    done = {t for t in ended if t not in controller._trial_to_actor and t.is_finished()}
    controller._stopped_trials -= done
    controller._failed_trials -= done
    controller._live_trials -= done
    controller._trials_to_cache -= done
    controller._trials[:] = [trial for trial in controller._trials if trial not in done]
    for trial in done:
        controller._trial_metadata.pop(trial.trial_id, None)


def waiting_trials(controller: Any) -> tuple[Any, ...]:
    """Return the trials that wait for an actor, and are not being given one that another left."""
    return tuple(controller._pending_trials - controller._resetting_trials)


def ask_for_other_resources(controller: Any, trial: Any, factory: Any) -> None:
    """Make a trial that waits ask for other resources; Ray Tune changes those of no such trial.

    Args:
        controller: Of Ray Tune, between two of its events.
        trial: One of `waiting_trials`.
        factory: The new request, a `tune.PlacementGroupFactory`.
    """
    before = trial.placement_group_factory
    controller._resources_to_pending_trials[before].discard(trial)
    if trial in controller._staged_trials:
        controller._staged_trials.remove(trial)
        controller._actor_cache.decrease_max(before)
    actor = controller._trial_to_actor.pop(trial, None)
    if actor is not None:
        controller._actor_to_trial.pop(actor)
        controller._remove_actor(actor)
    trial.update_resources(factory)
    controller._resources_to_pending_trials[factory].add(trial)
    if trial not in controller._pending_trials_list:
        controller._pending_trials_list.insert(0, trial)


def node_of_actor(actor_id: str) -> str | None:
    """Return the id of the node that an actor is or was on; None where it never had one."""
    import ray

    state: Any = ray._private.state
    node: str = state.actors(actor_id).get("Address", {}).get("NodeID", "")
    return node or None


@contextmanager
def any_error_is_a_lost_actor() -> Iterator[None]:
    """While the block runs, Ray Tune takes every error of an actor's task as the actor's loss.

    Otherwise an actor that Ray's memory monitor killed ends the whole run: its OutOfMemoryError is
    no RayActorError, and Tune raises "Caught unexpected exception". The `RayActorError` that a
    trial gets instead has the error as its `__cause__`.
    """
    from ray.air.execution._internal.actor_manager import RayActorManager
    from ray.exceptions import RayActorError, RayTaskError

    original = RayActorManager._actor_task_failed

    def lose(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if not isinstance(exception, RayActorError | RayTaskError):
            held = self._live_actors_to_ray_actors_resources.get(tracked_actor_task._tracked_actor)
            actor_id = "" if held is None else held[0]._actor_id.hex()
            lost = RayActorError(actor_id, f"{type(exception).__name__}: {exception}")
            lost.__cause__ = exception
            exception = lost
        original(self, tracked_actor_task, exception)

    RayActorManager._actor_task_failed = lose  # type: ignore[method-assign]
    try:
        yield
    finally:
        RayActorManager._actor_task_failed = original  # type: ignore[method-assign]


def listens_on_loopback_only() -> bool:
    """Return whether the node of this process's local session has a loopback address."""
    import ray

    return all(
        node["NodeManagerAddress"] == "127.0.0.1"
        for node in ray.nodes()  # type: ignore[no-untyped-call]
    )


def close_interfaces() -> None:
    """Make a later `ray.init` of a local session listen on loopback; before Ray is imported."""
    os.environ[LOOPBACK_VARIABLE] = "0"


@contextmanager
def keep_sigterm_handler() -> Iterator[None]:
    """While the block starts a session, keep this process's handler of SIGTERM.

    Ray sets two of its own: in Python, which waits for a drain and exits, and in C++, which aborts
    the process. The second comes while the driver connects; so the signal is held back there.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one has handlers
        yield
        return
    import ray

    raylet: Any = ray._raylet
    utils: Any = ray._private.utils
    connect, set_handler = raylet.CoreWorker, utils.set_sigterm_handler

    def connect_undisturbed(*positional: Any, **named: Any) -> Any:
        handler = signal.getsignal(signal.SIGTERM)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            return connect(*positional, **named)
        finally:
            signal.signal(signal.SIGTERM, handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    raylet.CoreWorker = connect_undisturbed
    utils.set_sigterm_handler = _ignore
    try:
        yield
    finally:
        raylet.CoreWorker, utils.set_sigterm_handler = connect, set_handler


def _ignore(handler: object) -> None:
    """Do nothing."""


def metrics_interval_ms() -> int:
    """Return the milliseconds between two exports of Ray's metrics."""
    import ray

    return int(ray._config.metrics_report_interval_ms())


def kv_put(key: str, value: bytes, *, overwrite: bool = True) -> None:
    """Write a value to the session's control store; raises RayError where it does not answer."""
    from ray.experimental import internal_kv

    internal_kv._internal_kv_put(key.encode(), value, overwrite=overwrite, namespace=_NAMESPACE)


def kv_get(key: str) -> bytes | None:
    """Read a value from the control store, None where there is none; raises RayError."""
    from ray.experimental import internal_kv

    value: bytes | None = internal_kv._internal_kv_get(key.encode(), namespace=_NAMESPACE)
    return value


def kv_delete(key: str, *, as_prefix: bool = False) -> None:
    """Remove a key, or all that start with it, from the control store; raises RayError."""
    from ray.experimental import internal_kv

    internal_kv._internal_kv_del(key.encode(), del_by_prefix=as_prefix, namespace=_NAMESPACE)


def is_draining(timeout_s: float) -> bool:
    """Return whether this process's node is going away; raises RayError without a timely answer.

    Ray answers SIGTERM to `ray start --block` with a drain of that node.
    """
    import ray
    from ray.experimental import internal_kv

    client: Any = internal_kv.internal_kv_get_gcs_client()  # type: ignore[no-untyped-call]
    draining = client.get_draining_nodes(timeout=timeout_s)
    return ray.get_runtime_context().get_node_id() in draining


def job_client(
    address: str,
    timeout_s: tuple[float, float],
    send: Callable[[Callable[[], Any]], Any],
    **options: Any,
) -> JobSubmissionClient:
    """Connect Ray's client of the Jobs API, with a bound on each of its requests.

    Args:
        address: The dashboard's URL.
        timeout_s: Seconds to connect and to answer; Ray's own client waits for ever.
        send: Calls what makes a request, once or again, and returns its `requests.Response`.
        options: For Ray's client.

    Raises:
        RuntimeError, ValueError, KeyError, TypeError: Ray's, where no dashboard answers.
    """
    from ray.job_submission import JobSubmissionClient

    logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.WARNING)  # Ray's is INFO

    class Client(JobSubmissionClient):
        def _do_request(self, method: str, endpoint: str, **arguments: Any) -> Any:
            ask = partial(super()._do_request, method, endpoint, timeout=timeout_s, **arguments)
            return send(ask)

    return Client(address, **options)
