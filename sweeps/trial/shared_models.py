"""Models that several trials begin with: trained by one of them, kept in the store for all.

`stages/<id>/` holds the result, a training state while it is trained, and the claim of the trial
that trains it. A claim whose holder shows no sign of life is taken over; should both live after
all, the same result is made twice, which costs time and nothing else.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from cluster.errors import AlreadyExists, ClusterError, NotFound
from cluster.stores.base import Store
from spurious.errors import DataError, Stopped
from spurious.training import checkpoint
from spurious.training.loop import ControlSignal, Hooks
from spurious.training.shared_models import SharedModel
from sweeps.plan.identity import shared_model_id
from sweeps.results.keys import STAGES
from sweeps.trial.checkpoint_writer import CheckpointWriter
from sweeps.trial.tasks import Task

BEAT = 15.0
"""Seconds between a holder's signs of life."""
STALE = 120.0
"""Seconds without one after which a claim is taken over."""
POLL = 3.0
"""Seconds between two looks of a trial that waits."""

_NOBODY = b"null"
"""What is stored as the claim where it cannot be deleted."""

_log = logging.getLogger("sweeps.trial.shared_models")


class StoredSharedModels:
    """Provides the models that a trial begins with, stored or trained here.

    Implements `spurious.training.shared_models.SharedModels`.

    Args:
        store: Where shared models are kept.
        task: The trial.
        poll: Returns the control signal, between epochs and while waiting for another trial.
        on_epoch: Receives the epochs of a model that is trained here.
    """

    def __init__(
        self,
        store: Store,
        task: Task,
        poll: Callable[[], ControlSignal],
        on_epoch: Callable[[int, int, Mapping[str, float]], None],
    ) -> None:
        self.store, self.task, self.poll, self.on_epoch = store, task, poll, on_epoch

    def __call__(self, model: SharedModel, make: Callable[[Hooks], bytes]) -> bytes:
        """Return the stored model, or train it here.

        Raises:
            Stopped: the control signal said so, while waiting or training.
        """
        folder = f"{STAGES}{shared_model_id(model, self.task.dataset_digest)}"
        is_announced = False
        while True:
            result = self._read(f"{folder}/result.pt")
            if result is not None:
                _log.info("%s is taken from %s", model.kind, folder)
                return result
            if self._try_claim(folder):
                return self._train_or_resume(folder, model, make)
            if not is_announced:
                _log.info("waits for %s, which another trial trains in %s", model.kind, folder)
                is_announced = True
            self._wait(folder)

    def _read(self, key: str) -> bytes | None:
        """Return a checkpoint that is there and whole."""
        try:
            data = self.store.get(key)
            checkpoint.unpack(data)
        except NotFound:
            return None
        except DataError as error:
            _log.warning("%s is trained again: %s", key, error)
            self.store.delete(key)
            return None
        return data

    def _try_claim(self, folder: str) -> bool:
        """Return whether this trial has the claim now: none was there, or an earlier attempt's."""
        try:
            self.store.create(f"{folder}/claim.json", self._claim(0))
        except AlreadyExists:
            if self._is_given_back(folder):
                self.store.put(f"{folder}/claim.json", self._claim(0))
            holder = self._holder(folder)
            return holder is not None and holder["trial"] == self.task.trial_id
        return True

    def _give_back(self, folder: str) -> None:
        """Remove a claim; where deletes are refused, leave one of nobody, which others replace."""
        if not self.store.delete(f"{folder}/claim.json"):
            self.store.put(f"{folder}/claim.json", _NOBODY)

    def _is_given_back(self, folder: str) -> bool:
        """Return whether a claim is there that nobody holds, or that cannot be read."""
        return self._holder(folder) is None and self.store.exists(f"{folder}/claim.json")

    def _claim(self, beat: int) -> bytes:
        return json.dumps({"trial": self.task.trial_id, "beat": beat}).encode()

    def _holder(self, folder: str) -> Mapping[str, object] | None:
        """Return the claim; None where nobody holds one, or a damaged one."""
        try:
            claim = json.loads(self.store.get(f"{folder}/claim.json"))
            return {"trial": str(claim["trial"]), "beat": claim["beat"]} if claim else None
        except NotFound:
            return None
        except (ValueError, KeyError, TypeError) as error:
            _log.warning("%s/claim.json is damaged and not heeded: %r", folder, error)
            return None

    def _wait(self, folder: str) -> None:
        """Until the holder is done or gone; a claim without sign of life is removed."""
        seen, since = self._holder(folder), time.monotonic()
        while seen is not None:
            if self.poll() is ControlSignal.STOP:
                raise Stopped("stopped while it waited for another trial, as asked")
            time.sleep(POLL)
            now = self._holder(folder)
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > STALE:
                _log.warning("trial %s left %s; it is taken over", seen["trial"], folder)
                self._give_back(folder)
                return

    def _train_or_resume(
        self, folder: str, model: SharedModel, make: Callable[[Hooks], bytes]
    ) -> bytes:
        state = f"{folder}/state.pt"
        writer = CheckpointWriter(self.store, state)
        hooks = Hooks(
            resume=self._read(state),
            save=writer.save,
            save_every=self.task.checkpoint_every,
            on_epoch=self.on_epoch,
            poll=self.poll,
        )
        _log.info("%s is made in %s", model.kind, folder)
        with self._beating(folder):
            try:
                result = make(hooks)
            except Stopped:
                writer.finish()
                raise
            finally:
                writer.settle()  # or it would be put after its removal
            self.store.put(f"{folder}/result.pt", result)
            self.store.delete(state)
        return result

    @contextmanager
    def _beating(self, folder: str) -> Iterator[None]:
        """Show signs of life while the block runs, and give the claim back at its end."""
        ended = threading.Event()

        def beat() -> None:
            count = 0
            while not ended.wait(BEAT):
                count += 1
                try:
                    self.store.put(f"{folder}/claim.json", self._claim(count))
                except ClusterError as error:  # the next beat may get through
                    _log.warning("no sign of life to %s: %s", folder, error)

        thread = threading.Thread(target=beat, name="stage-claim", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._give_back(folder)
