"""Which epochs are scored on test, and what is taken in the same passes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_data import fit_config, fitted, grey_squares, keeping, no_weights, squares, weights

from spurious.config.machine import Machine
from spurious.config.methods import Jtt, Ssl
from spurious.config.options import Budget, FitConfig, Specificity
from spurious.data.stored_images import StoredImages
from spurious.fit import _problem
from spurious.methods.first_model import load_first_model
from spurious.scoring.selection import PER_EPOCH, Candidates, parse_rule, select_epoch
from spurious.training.loop import Fit, Hooks

pytestmark = pytest.mark.usefixtures("torch_settings")
LOWER = {"loss"}
"""Metrics that are better where they are lower; all others are rates, areas and overlaps."""


def scored_on_test(fit: Fit) -> list[int]:
    """Epochs with rows of test, in order; what is measured once does not count."""
    return [row.epoch for row in fit.rows if (row.split, row.metric) == ("test", "loss")]


def best_so_far(fit: Fit) -> list[int]:
    """The first evaluation, each with a value of validation beyond all before it, and the last."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in fit.rows:
        if row.split == "val" and row.attribute is None and row.metric != "auroc_gap":
            sign = -1.0 if row.metric in LOWER else 1.0
            curves.setdefault(row.metric, []).append((row.epoch, sign * row.value))
    evaluated = [epoch for epoch, _ in curves["loss"]]
    chosen = {evaluated[0], evaluated[-1]}
    for curve in curves.values():
        for at, (epoch, value) in enumerate(curve):
            before = [other for _, other in curve[:at] if not math.isnan(other)]
            if not math.isnan(value) and all(value > other for other in before):
                chosen.add(epoch)
    return sorted(chosen)


def told(fit: Fit, scored: list[int]) -> list[str]:
    """All rows but those of test at other epochs, comparable; NaN equals NaN."""
    return [repr(row) for row in fit.rows if row.split != "test" or row.epoch in scored]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("label", {"keep": "best val.loss"}),
        ("label", {"keep": "last", "evaluate_every": 2, "learning_rate": 0.3}),
        ("mask", {"keep": "best val.auroc"}),
        ("mask", {"keep": "best val.dice", "precision": "bfloat16", "learning_rate": 0.1}),
    ],
)
def test_candidates_alone_are_scored_on_test(kind: str, options: dict[str, Any]) -> None:
    """Those of every metric, and the last; all else has the same bytes as with every epoch."""
    data = squares(n_train=24)
    config = fit_config(kind, epochs=14, **options)
    every = fitted(data, config)
    some = fitted(data, replace(config, train=replace(config.train, score_test="candidates")))
    expected = best_so_far(every)
    assert scored_on_test(some) == expected
    assert len(expected) < len(scored_on_test(every))
    assert told(some, expected) == told(every, expected) == [repr(row) for row in some.rows]
    assert (some.kept_epoch, weights(some)) == (every.kept_epoch, weights(every))
    for ours, theirs in (
        (some.kept_scores, every.kept_scores),
        (some.last_scores, every.last_scores),
        ({"test": some.embeddings}, {"test": every.embeddings}),
    ):
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[split], theirs[split]) for split in ours)  # type: ignore[arg-type]


def test_candidates_are_the_same_after_an_interruption() -> None:
    """What was best before is known from the checkpoint, also right before no candidate comes."""
    config = fit_config("label", epochs=14, learning_rate=0.3, score_test="candidates")
    data, saved = squares(n_train=24), list[bytes]()
    undisturbed = fitted(data, config, Hooks(save=keeping(saved)))
    left_out = sorted({*range(1, 15)} - {*scored_on_test(undisturbed)})
    assert left_out
    for epoch in left_out[:3]:
        continued = fitted(data, config, Hooks(resume=saved[epoch - 2]))
        assert continued.resumed_from_epoch == epoch - 1
        assert repr(continued.rows) == repr(undisturbed.rows)
        assert np.array_equal(continued.embeddings, undisturbed.embeddings)  # type: ignore[arg-type]


VALUES = st.sampled_from([math.nan, -math.inf, 0.0, 0.25, 0.5, 1.0, math.inf])
HISTORY = st.lists(st.fixed_dictionaries({f"val.{m}": VALUES for m in PER_EPOCH}), max_size=6)


@given(HISTORY)
def test_an_evaluation_is_a_candidate_where_some_rule_chooses_it(
    history: list[dict[str, float]],
) -> None:
    """Of what is known by then: exactly those that a rule of validation would choose, or first."""
    candidates = Candidates()
    for at, values in enumerate(history):
        known = [{"epoch": float(i), **row} for i, row in enumerate(history[: at + 1])]
        chosen = {select_epoch(parse_rule(f"best val.{m}"), known) for m in PER_EPOCH}
        assert candidates.note(values) == (at == 0 or at in chosen)


def passes_of(config: FitConfig, monkeypatch: pytest.MonkeyPatch) -> tuple[Fit, int]:
    """A fit, and how often all its test images were read; they are 17, as in no other split."""
    data, read = grey_squares(n_train=24, n_test=17), StoredImages.read_in_order
    lengths: list[int] = []

    def counted(images: StoredImages, batch_size: int) -> Any:
        lengths.append(len(images.rows))
        return read(images, batch_size)

    monkeypatch.setattr(StoredImages, "read_in_order", counted)
    return fitted(data, config), lengths.count(17)


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ({"keep": "last"}, 0),
        ({"keep": "best val.auroc"}, 0),
        ({"keep": "best val.auroc", "precision": "bfloat16"}, 0),
        ({"keep": "last", "channels_last": True}, 1),  # the kept model's weights lie otherwise
    ],
)
@pytest.mark.parametrize("kind", ["label", "mask"])
def test_embeddings_are_taken_while_test_is_scored(
    kind: str, options: dict[str, Any], more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No further pass; the bytes of one by the kept model, taken up from its state."""
    config = fit_config(kind, epochs=3, **options)
    fit, passes = passes_of(config, monkeypatch)
    assert passes == 3 + more
    problem = _problem(grey_squares(n_train=24, n_test=17), config, Machine(), no_weights)
    again = problem.evaluator.embeddings(load_first_model(problem, fit.kept_state), "test")
    assert fit.embeddings is not None
    assert fit.embeddings.tobytes() == again.tobytes()
    assert fit.embeddings.shape == again.shape == (17, 8)


@pytest.mark.parametrize(
    ("kind", "name", "method"),
    [("label", "jtt", Jtt(first_epochs=2)), ("mask", "ssl", Ssl(views="flip"))],
)
def test_models_that_trials_begin_with_are_not_scored_on_test(
    kind: Any, name: str, method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test images are read once an epoch of the trial's own model, and never before."""
    config = replace(
        fit_config(kind, epochs=3),
        specificity=Specificity(kind),
        budget=Budget(16),
        method_name=name,
        method=method,
    )
    _, passes = passes_of(config, monkeypatch)
    assert passes == 3
