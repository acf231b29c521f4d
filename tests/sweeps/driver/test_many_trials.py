"""Many trials in one process, as in a reused worker: what they leave, and what they share."""

from __future__ import annotations

import gc
import multiprocessing
import uuid
from pathlib import Path
from typing import Any

import torch
from tiny_sweeps import assert_same, run_here, stage_here, tables, tiny

from cluster.stores.folder import FolderStore
from sweeps.plan.facts import plan_on
from sweeps.plan.plan import Plan
from sweeps.spec.model import Spec
from sweeps.trial.run import run_trial
from sweeps.trial.tasks import task_for

LARGE = 256
"""Elements from which on a tensor left behind counts: the small models' layers have them."""


def every_method() -> Spec:
    """One seed of methods that hold more than a model while they train."""
    methods: list[Any] = [
        *("erm", "lff", "group-dro", "spl"),
        {"name": "jtt", "first_epochs": 2},
        {"name": "george", "first_epochs": 2, "reduce": "none", "clusters": 2},
        {"name": "cnc", "first_epochs": 2},
        {"name": "dfr", "first_epochs": 2, "balance": "classes", "refits": 2},
        {"name": "ssl", "views": "flip"},
    ]
    return tiny(axes__method=methods, axes__seed=[0], train__epochs=2)


def held() -> dict[str, int]:
    """Models, optimizers and large tensors that this process still holds."""
    gc.collect()
    found = gc.get_objects()
    return {
        "modules": sum(issubclass(type(each), torch.nn.Module) for each in found),
        "optimizers": sum(issubclass(type(each), torch.optim.Optimizer) for each in found),
        "tensors": sum(
            issubclass(type(each), torch.Tensor) and each.numel() >= LARGE for each in found
        ),
    }


def run_one(store: str, cache: str, trial_id: str) -> None:
    """Run one trial in a process of its own."""
    spec, there = every_method(), FolderStore(Path(store))
    [trial] = [trial for trial in plan_on(spec, there).trials if trial.id == trial_id]
    task = task_for(trial, spec, there.url, Path(cache))
    run_trial(task, uuid.uuid4().hex[:12], lambda *_: None)


def only(plan: Plan, labels: tuple[str, ...]) -> list[str]:
    """Ids of the trials whose short names begin so."""
    return [trial.id for trial in plan.trials if trial.label.startswith(labels)]


def test_one_process_gives_what_fresh_processes_give(tmp_path: Path) -> None:
    """The same bytes, whatever ran there before; and no model, optimizer or tensor stays."""
    spec = every_method()
    shared, alone = FolderStore(tmp_path / "shared"), FolderStore(tmp_path / "alone")
    run_here(shared, tiny(axes__seed=[7]), tmp_path / "cache")  # caches that fill once
    before = held()
    plan = run_here(shared, spec, tmp_path / "cache")
    assert held() == before
    stage_here(alone, spec)
    chosen = only(plan, ("label-20-jtt", "mask-20-ssl"))
    assert len(chosen) == 2
    spawn = multiprocessing.get_context("spawn")
    for trial_id in chosen:
        process = spawn.Process(target=run_one, args=(alone.url, str(tmp_path / "own"), trial_id))
        process.start()
        process.join(120)
        assert process.exitcode == 0
    found = {
        name: frame[frame.trial_id.isin(chosen)].reset_index(drop=True)
        for name, frame in tables(shared, plan).items()
    }
    assert_same(found, tables(alone, plan_on(spec, alone)))


def test_methods_share_their_first_model(tmp_path: Path) -> None:
    """JTT, GEORGE and DFR with equal first stages leave one; another epoch count is another."""
    store = FolderStore(tmp_path / "store")
    run_here(store, every_method(), tmp_path / "cache")
    results = [key for key in store.list("stages/") if key.endswith("/result.pt")]
    # the first model of JTT, GEORGE and DFR, that of CnC, GEORGE's clusters, the teacher of SSL
    assert len(results) == 4
    other = tiny(
        axes__specificity=["label"],
        axes__method=[{"name": "jtt", "first_epochs": 1}],
        axes__seed=[0],
        train__epochs=2,
    )
    run_here(store, other, tmp_path / "cache")
    again = [key for key in store.list("stages/") if key.endswith("/result.pt")]
    assert set(results) < set(again)
    assert len(again) == 5
