"""The last lines of a run: what finished, and how much of it another run did."""

from __future__ import annotations

import pytest
from tiny_sweeps import printed, quiet_console, tiny

from sweeps.driver.runner import _conclude
from sweeps.trial.events import Outcome, Tally


def tally(*retried: str, **states: str) -> Tally:
    """How trials ended, by id."""
    outcomes = {trial_id: Outcome(trial_id, state, 1.0) for trial_id, state in states.items()}
    return Tally(outcomes, retried=set(retried))


def test_what_this_run_committed() -> None:
    """Its own attempts alone, also one whose worker was lost after its commit."""
    mixed = tally("b", "d", a="committed", b="already done", c="already done", d="lost the race")
    assert mixed.committed_here == {"a", "b"}


@pytest.mark.parametrize(
    ("others", "line"),
    [
        (0, "sweep 'tiny': 3 trials finished\n"),
        (1, "sweep 'tiny': 3 trials finished, 1 of them by another run\n"),
    ],
)
def test_trials_of_another_run_are_named(others: int, line: str) -> None:
    """They count as finished, and the line says that they are another's."""
    console, labels = quiet_console(), dict.fromkeys("abc", "label")
    ended = tally(a="committed", b="committed", c="lost the race")
    status = _conclude(tiny(), labels, ended, set("abc"), others, [], "", console)
    assert status == 0
    assert printed(console) == line
