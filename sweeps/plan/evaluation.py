"""What scoring costs beside training, and what a plan recommends where that is most of the time.

Time is counted in scored images. Training on an image takes about as long as scoring three of the
same size: a forward pass, and a backward pass of twice its arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from spurious.config.options import Train
from spurious.data.splits import TEST, VALIDATION
from sweeps.plan.plan import DatasetFacts, Plan, Trial
from sweeps.spec.model import Spec

_STEP = 3
"""Scored images that take as long as training on one."""
_SHARE = 0.25
"""Share of a trial that scoring may take before anything is recommended, and at most after it."""
_MUCH = 0.3
"""Share of all time that a recommendation saves at least."""
_CHOICES = 10
"""Evaluations that a rule chooses among at least."""
_INTERVALS = (2, 3, 4, 5, 10, 20, 50, 100)


def evaluation_notes(plan: Plan, spec: Spec) -> list[str]:
    """Return sentences on options that would save much of the time of the trials to run.

    Both are new trials with ids of their own, which each sentence says. Nothing is said before the
    dataset's counts are known.
    """
    facts, trials = plan.facts, plan.to_run
    if facts is None or facts.counts is None or not trials:
        return []
    total = sum(_time(trial, facts, trial.config.train) for trial in trials)
    if sum(_scoring(facts, trial.config.train) for trial in trials) <= _SHARE * total:
        return []
    return [*_candidates(trials, facts, spec, total), *_interval(trials, facts, total)]


def _candidates(
    trials: Sequence[Trial], facts: DatasetFacts, spec: Spec, total: float
) -> Iterator[str]:
    """Recommend `score_test: candidates`, where no rule reads test scores of every epoch."""
    rule = spec.select_rule
    if rule is not None and rule.oracle:
        return
    changed = [replace(trial.config.train, score_test="candidates") for trial in trials]
    saved = 1 - _sum_times(trials, facts, changed) / total
    if saved >= _MUCH:
        yield (
            f"train.score_test: candidates would save up to {saved:.0%} of the time: "
            f"{_describe(trials, facts)}. Trial ids change; epochs that rules of validation "
            "choose, and their numbers, do not"
        )


def _interval(trials: Sequence[Trial], facts: DatasetFacts, total: float) -> Iterator[str]:
    """Recommend the smallest interval after which scoring is a small share, or the largest."""
    present = max(trial.config.train.evaluate_every for trial in trials)
    epochs = min(trial.config.train.epochs for trial in trials)
    chosen = saved = 0.0
    for every in _INTERVALS:
        if every <= present or epochs < every * _CHOICES:
            continue
        changed = [replace(trial.config.train, evaluate_every=every) for trial in trials]
        time = _sum_times(trials, facts, changed)
        chosen, saved = every, 1 - time / total
        if sum(_scoring(facts, train) for train in changed) <= _SHARE * time:
            break
    if saved >= _MUCH:
        kept = f"{_evaluations(epochs, int(chosen))} of {epochs}"
        yield (
            f"train.evaluate_every: {chosen:.0f} instead of {present} would save about {saved:.0%} "
            f"of the time: {_describe(trials, facts)}. The kept epoch is then one of {kept}, so "
            "numbers and trial ids change"
        )


def _describe(trials: Sequence[Trial], facts: DatasetFacts) -> str:
    """Say what an epoch trains on and what is scored after it."""
    sizes = sorted({_images(trial, facts) for trial in trials})
    trained = f"{sizes[0]:,}" + (f" to {sizes[-1]:,}" if len(sizes) > 1 else "")
    val, test = _count(facts, VALIDATION), _count(facts, TEST)
    return (
        f"an epoch trains on {trained} images, an evaluation scores {val:,} of validation and "
        f"{test:,} of test, and training on one takes about as long as scoring {_STEP}"
    )


def _sum_times(trials: Sequence[Trial], facts: DatasetFacts, trains: Sequence[Train]) -> float:
    return sum(_time(trial, facts, train) for trial, train in zip(trials, trains, strict=True))


def _time(trial: Trial, facts: DatasetFacts, train: Train) -> float:
    return _STEP * _images(trial, facts) * train.epochs + _scoring(facts, train)


def _scoring(facts: DatasetFacts, train: Train) -> int:
    """Count scored images; of candidates the first and the last evaluation, which are sure."""
    evaluations = _evaluations(train.epochs, train.evaluate_every)
    tests = evaluations if train.score_test == "every" else min(2, evaluations)
    return evaluations * _count(facts, VALIDATION) + tests * _count(facts, TEST)


def _evaluations(epochs: int, every: int) -> int:
    return -(-epochs // every)


def _images(trial: Trial, facts: DatasetFacts) -> int:
    """Count the annotated images of an epoch; what a method adds to them is left out."""
    images = trial.config.budget.images
    return (facts.training_images or 0) if images is None else images


def _count(facts: DatasetFacts, split: str) -> int:
    return 0 if facts.counts is None else facts.counts[split]["n"]
