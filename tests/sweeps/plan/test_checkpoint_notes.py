"""What a plan says of checkpoints that a leaving node has no time to save."""

from __future__ import annotations

import pytest
from tiny_sweeps import FACTS, FILMS

from cluster.jobs.drain import DRAIN_VARIABLE
from sweeps.plan.plan import make_plan
from sweeps.plan.render import as_dict, as_text
from sweeps.spec.model import parse_spec

LARGE = {"model.classifier": {"name": "resnet50"}, "axes.specificity": ["label"]}


def notes(overrides: dict[str, object]) -> list[str]:
    """Of checkpoints, as a program reads them; the text has the same ones."""
    spec = parse_spec(FILMS, overrides=overrides)
    plan = make_plan(spec, FACTS)
    found = [str(n) for n in as_dict(plan, spec)["notes"] if str(n).startswith("checkpoints:")]
    text = as_text(plan, spec)
    assert all(f"note: {note}" in text for note in found)
    assert ("checkpoints:" in text) == bool(found)
    return found


def test_a_checkpoint_that_the_drain_suffices_for_is_not_mentioned() -> None:
    """377 MB in Ray's 30 s; small models in any time."""
    assert notes(LARGE) == notes({}) == []


def test_one_that_it_does_not_suffice_for_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Size, seconds, the time there is, and what to set; once a model, whatever the cells."""
    monkeypatch.setenv(DRAIN_VARIABLE, "12")
    [note] = notes({**LARGE, "axes.budget": [20, 40]})
    assert "one of resnet50 takes about 377 MB" in note
    assert "adam" in note
    assert "25 MB/s 15 s, and a node that leaves lets trials go on for 12 s" in note
    assert f"set {DRAIN_VARIABLE} to more than that" in note
    assert "checkpoint.every_epochs (1)" in note


def test_its_remedies_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """More time, and an optimizer that keeps less."""
    monkeypatch.setenv(DRAIN_VARIABLE, "16")
    assert notes(LARGE) == []
    monkeypatch.setenv(DRAIN_VARIABLE, "12")
    assert notes({**LARGE, "train.optimizer": "sgd"}) == []
