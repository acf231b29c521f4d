"""Progress of long work: rate and time left."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sweeps.driver import progress, trainable
from sweeps.driver.progress import Rate, count_progress
from sweeps.driver.worker_title import WorkerTitle


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the time is."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_rate_and_time_left(clock: list[float]) -> None:
    """Counted from the first call on: what an earlier run did is not this one's speed."""
    rate = Rate()
    assert rate.describe(1000, 5000, "images") == ""
    clock[0] += 10
    assert rate.describe(1000, 5000, "images") == ""
    assert rate.describe(2000, 5000, "images") == "100 images/s, 0:30 left"
    clock[0] += 990
    assert rate.describe(1500, 9000, "images") == "0.5 images/s, 4:10:00 left"
    assert rate.describe(5000, 5000, "images") == "4.0 images/s"


def test_lines_have_both(clock: list[float]) -> None:
    """Where there is no terminal: a line a half minute, and one at the end."""
    text = io.StringIO()
    console = Console(file=text, width=200)
    with count_progress("staging films", "images", console, shows_end=True) as show:
        for done in range(0, 101, 10):
            show(done, 100)
            clock[0] += 20
    assert text.getvalue().splitlines() == [
        "staging films: 0 of 100 images",
        "staging films: 20 of 100 images, 0.5 images/s, 2:40 left",
        "staging films: 40 of 100 images, 0.5 images/s, 2:00 left",
        "staging films: 60 of 100 images, 0.5 images/s, 1:20 left",
        "staging films: 80 of 100 images, 0.5 images/s, 0:40 left",
        "staging films: 100 of 100 images, 0.5 images/s",
    ]


def test_a_worker_tells_which_epochs_it_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on after epoch 40; then comes another model of the trial, trained from its start."""
    now, told = [100.0], []
    monkeypatch.setattr(trainable.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(trainable.tune, "report", told.append)
    tell = trainable._told_progress(WorkerTitle("films", "label-2-jtt-s0", is_retried=False))
    for epochs, model in ((range(41, 51), 50), (range(1, 31), 30)):
        for epoch in epochs:
            now[0] += 0.5
            tell(epoch, model, {"train.loss": 0.5})
    seen = [(each["since"], each["epoch"], each["epochs"]) for each in told]
    assert seen[:2] == [(40, 44, 50), (40, 48, 50)]
    assert seen[2:4] == [(0, 2, 30), (0, 6, 30)]
    assert [each["values"] for each in told] == [{"train.loss": 0.5}] * 10
