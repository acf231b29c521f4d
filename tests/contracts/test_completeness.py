"""Every entry of every registry has test values, so that none is left untested."""

from __future__ import annotations

import pytest
from contract_values import missing_values

from cluster.stores import folder
from spurious.config import datasets, methods, models
from spurious.scoring import registry as scoring_registry


def test_every_entry_has_test_values() -> None:
    """And no test values are left of an entry that went."""
    assert missing_values() == []


@pytest.mark.parametrize(
    ("module", "registry", "shown"),
    [
        (methods, "METHODS", "METHODS"),
        (datasets, "READERS", "READERS"),
        (datasets, "GENERATORS", "GENERATORS"),
        (scoring_registry, "METRICS", "METRICS"),
        (models, "CLASSIFIERS", "MODELS"),
        (models, "SEGMENTERS", "MODELS"),
    ],
)
def test_an_entry_that_nobody_tests_is_seen(
    monkeypatch: pytest.MonkeyPatch, module: object, registry: str, shown: str
) -> None:
    """By its name; and so is one whose values are left behind."""
    entries = dict(getattr(module, registry))
    gone, entry = next(iter(entries.items()))
    monkeypatch.setattr(module, registry, {**entries, "magic": entry})
    message = f"'magic' of {shown} has no test values: add them to contract_values.py"
    assert message in missing_values()
    monkeypatch.setattr(module, registry, {k: v for k, v in entries.items() if k != gone})
    message = f"test values of '{gone}' are left, which is not in {shown}: remove them"
    assert message in missing_values()


def test_a_store_that_nobody_tests_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class of `cluster.stores` that is no kind of the fixture `store`."""
    monkeypatch.setattr(folder, "MemoryStore", type("MemoryStore", (), {}), raising=False)
    message = "'MemoryStore' of stores is in no test: add it to store_kinds.py"
    assert message in missing_values()
