"""Models that several trials begin with: trained once, whatever happens to the one that does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_sweeps import tiny

from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from spurious.config.machine import Machine
from spurious.errors import NumericalError, Stopped
from spurious.training import checkpoint
from spurious.training.loop import ControlSignal, Hooks
from spurious.training.shared_models import SharedModel
from sweeps.plan.cell import Cell
from sweeps.plan.identity import shared_model_id
from sweeps.plan.packing import Share
from sweeps.plan.plan import fit_config
from sweeps.trial import shared_models as shared_models
from sweeps.trial.shared_models import StoredSharedModels
from sweeps.trial.tasks import Task

SPEC = tiny()
CONFIG = fit_config(
    SPEC, Cell(SPEC.axes.specificity[0], SPEC.budgets()[0], SPEC.axes.method[0]), seed=0
)
STAGE = SharedModel("erm", CONFIG)
DIGEST = "d" * 64
FOLDER = f"stages/{shared_model_id(STAGE, DIGEST)}"
RESULT = checkpoint.pack({"weights": torch.arange(3.0)})


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life, patience and looks at a thousandth of their real pace."""
    for name, seconds in (("BEAT", 0.05), ("STALE", 0.6), ("POLL", 0.02)):
        monkeypatch.setattr(shared_models, name, seconds)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A folder."""
    return FolderStore(tmp_path / "store")


def shared(
    store: Store,
    trial: str = "a" * 16,
    poll: Callable[[], ControlSignal] = lambda: ControlSignal.CONTINUE,
) -> StoredSharedModels:
    """What a trial would hand to its method."""
    task = Task(trial, "label", "squares", DIGEST, CONFIG, store.url, "", Machine(), Share(1), 7)
    return StoredSharedModels(store, task, poll, lambda *news: None)


def give(hooks: Hooks) -> bytes:
    """Makes the result at once."""
    return RESULT


def never(hooks: Hooks) -> bytes:
    """Must not be asked."""
    raise AssertionError("made again")


def test_a_stage_is_made_once(store: Store) -> None:
    """A later trial takes the stored result; nothing else of it stays."""
    assert shared(store)(STAGE, give) == RESULT
    assert shared(store, "b" * 16)(STAGE, never) == RESULT
    assert list(store.list("stages/")) == [f"{FOLDER}/result.pt"]


def test_trials_at_the_same_time_make_it_once(store: Store) -> None:
    """The others wait, longer than a claim may be silent, and take what the first one made."""
    made, results = [], []

    def slowly(hooks: Hooks) -> bytes:
        made.append(threading.get_ident())
        time.sleep(3 * shared_models.STALE)
        return RESULT

    def trial(name: str) -> None:
        results.append(shared(store, name * 16)(STAGE, slowly))

    threads = [threading.Thread(target=trial, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert results == [RESULT] * 4


def test_a_silent_claim_is_taken_over(store: Store) -> None:
    """Its holder was killed: after the time without a sign of life another trial makes it."""
    store.create(f"{FOLDER}/claim.json", json.dumps({"trial": "dead", "beat": 4}).encode())
    began = time.monotonic()
    assert shared(store)(STAGE, give) == RESULT
    assert time.monotonic() - began >= shared_models.STALE
    assert list(store.list("stages/")) == [f"{FOLDER}/result.pt"]


def test_a_trial_takes_up_its_own_claim_and_state(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt after a lost one goes on at once, from the training state that was saved."""
    monkeypatch.setattr(shared_models, "STALE", 3600.0)
    state = checkpoint.pack({"epoch": 4})
    store.create(f"{FOLDER}/claim.json", json.dumps({"trial": "a" * 16, "beat": 9}).encode())
    store.put(f"{FOLDER}/state.pt", state)

    def goes_on(hooks: Hooks) -> bytes:
        assert hooks.resume == state
        assert hooks.save_every == 7
        return RESULT

    assert shared(store)(STAGE, goes_on) == RESULT
    assert list(store.list("stages/")) == [f"{FOLDER}/result.pt"]


@pytest.mark.parametrize("error", [NumericalError("nan"), Stopped("stopped")])
def test_a_failed_stage_gives_its_claim_back(store: Store, error: Exception) -> None:
    """What it saved stays for the next one, which need not wait."""

    def fails(hooks: Hooks) -> bytes:
        assert hooks.save is not None
        assert hooks.save(lambda: checkpoint.Snapshot({"epoch": 2}), urgent=False)
        raise error

    with pytest.raises(type(error)):
        shared(store)(STAGE, fails)
    assert list(store.list("stages/")) == [f"{FOLDER}/state.pt"]
    began = time.monotonic()
    assert shared(store, "b" * 16)(STAGE, give) == RESULT
    assert time.monotonic() - began < shared_models.STALE


def test_a_waiting_trial_stops_when_asked(store: Store) -> None:
    """It holds nothing, and the claim stays the other's."""
    claim = json.dumps({"trial": "other", "beat": 0}).encode()
    store.create(f"{FOLDER}/claim.json", claim)
    with pytest.raises(Stopped, match="while it waited"):
        shared(store, poll=lambda: ControlSignal.STOP)(STAGE, never)
    assert store.get(f"{FOLDER}/claim.json") == claim


def test_a_damaged_result_is_made_anew(store: Store) -> None:
    """A cut-off object is no model."""
    store.put(f"{FOLDER}/result.pt", RESULT[:-5])
    assert shared(store)(STAGE, give) == RESULT
    assert store.get(f"{FOLDER}/result.pt") == RESULT


def test_other_options_are_another_stage() -> None:
    """Kind, training options and dataset each make another id; where it runs does not."""
    slower = replace(CONFIG, train=replace(CONFIG.train, learning_rate=1e-5))
    ids = {
        shared_model_id(STAGE, DIGEST),
        shared_model_id(SharedModel("ssl-teacher", CONFIG), DIGEST),
        shared_model_id(SharedModel("erm", slower), DIGEST),
        shared_model_id(STAGE, "e" * 64),
    }
    assert len(ids) == 4
