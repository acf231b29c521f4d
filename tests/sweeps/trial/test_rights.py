"""Trials on a store whose keys have the least rights that docs/cluster.md asks for."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_server import Serve
from tiny_sweeps import run_here, tiny

from cluster.stores import open_store
from sweeps.results.tables import checkpointed_ids
from sweeps.trial import shared_models


def test_a_run_needs_one_prefix_and_no_deletes(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Staging, trials with checkpoints and a model that two of them share; and all of it again."""
    monkeypatch.setattr(shared_models, "POLL", 0.01)
    monkeypatch.setattr(shared_models, "STALE", 1e9)
    spec = tiny(axes__method=["jtt"], axes__specificity=["label"], axes__seed=[0])
    with serve("prefix-only", "no-delete") as server:
        store = open_store("s3://bucket/lab/films")
        plan = run_here(store, spec, tmp_path / "cache")
        assert not plan.missing
        assert checkpointed_ids(store) == {trial.id for trial in plan.trials}  # it stays
        [result] = (key for key in store.list("results/trials/"))
        server.objects.pop(f"lab/films/{result}")  # as of a trial that shares its first model
        assert not run_here(store, spec, tmp_path / "cache").missing
    assert all(key.startswith("lab/films/") for key in server.objects)
    asked = [query.get("prefix", key) for _, key, query in server.requests]
    assert all(name.startswith("lab/films/") for name in asked)


def test_a_damaged_claim_is_taken_over(serve: Serve, tmp_path: Path) -> None:
    """The sign of life of a trial that another waits for may be damaged, too."""
    spec = tiny(axes__method=["jtt"], axes__specificity=["label"], axes__seed=[0])
    with serve("no-delete") as server:
        store = open_store("s3://bucket/lab")
        run_here(store, spec, tmp_path / "cache")
        for key in list(server.objects):
            if key.startswith(("lab/results/trials/", "lab/stages/")):
                server.objects[key] = b'{"tri'
                if not key.endswith("claim.json"):
                    del server.objects[key]
        assert not run_here(store, spec, tmp_path / "cache").missing
