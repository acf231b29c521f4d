"""`gpus: auto`: what the first trial of a kind takes decides the share of the later ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from faulty_attempts import take_gpu_memory
from faulty_runs import run_faulty, tasks_here
from pool_here import PoolHere, pool_here

from cluster.stores.folder import FolderStore
from spurious.config.options import Budget
from sweeps.driver.capacity import how_many_at_once, most_cpus
from sweeps.driver.gpu_shares import (
    FOLDER,
    GpuShares,
    Measured,
    memory_kind,
    read_measured,
    write_measured,
)
from sweeps.driver.requests import share_of
from sweeps.errors import SweepError
from sweeps.trial.events import Outcome
from sweeps.trial.gpu import CONTEXT_BYTES, enforce_share, read_memory, trials_per_gpu

pytestmark = pytest.mark.slow

GIB = 2**30


class FakeCuda:
    """`torch.cuda` of one GPU, as far as a share of it is concerned."""

    def __init__(self, total: int) -> None:
        self.total, self.fraction, self.peak = total, -1.0, 7

    def current_device(self) -> int:
        """The first one."""
        return 0

    def get_device_properties(self, device: int) -> SimpleNamespace:
        """Its memory alone."""
        return SimpleNamespace(total_memory=self.total)

    def set_per_process_memory_fraction(self, fraction: float) -> None:
        """Take note of it; PyTorch refuses others."""
        assert 0 <= fraction <= 1
        self.fraction = fraction

    def reset_peak_memory_stats(self) -> None:
        """Count from here."""
        self.peak = 0

    def max_memory_reserved(self) -> int:
        """The peak."""
        return self.peak


@pytest.mark.parametrize("trials", [1, 2, 5])
def test_shares_of_a_gpu_hold_the_trials_and_their_contexts(trials: int) -> None:
    """So many processes with the most that each may take, and their contexts, fit."""
    cuda = FakeCuda(16 * GIB)
    enforce_share(cuda, share_of(trials))
    context = 0 if trials == 1 else CONTEXT_BYTES
    assert trials * (cuda.fraction * cuda.total + context) <= cuda.total
    assert trials * (cuda.fraction * cuda.total + context) > 0.99 * cuda.total
    cuda.peak = 5
    assert read_memory(cuda) == (5, 16 * GIB)


def test_a_share_without_room_for_a_context_is_refused() -> None:
    """As a want of memory, which a larger share cures."""
    with pytest.raises(MemoryError, match=r"raise resources\.gpus"):
        enforce_share(FakeCuda(2 * GIB), 0.25)


def test_what_was_measured_fits_into_its_share() -> None:
    """With a tenth to spare, after the context."""
    for peak in (GIB // 10, GIB, 3 * GIB, 7 * GIB, 15 * GIB, 40 * GIB):
        trials = trials_per_gpu(peak, 16 * GIB)
        cuda = FakeCuda(16 * GIB)
        enforce_share(cuda, share_of(trials))
        assert trials == 1 or cuda.fraction * cuda.total >= 1.09 * peak


def test_a_kind_is_all_but_seed_and_budget(tmp_path: Path) -> None:
    """Trials that differ in anything else are measured apart."""
    [task] = tasks_here(tmp_path, ["any"])
    same = replace(task, trial_id="x", config=replace(task.config, seed=7, budget=Budget(30)))
    larger = replace(task.config.train, batch_size=task.config.train.batch_size + 1)
    other = replace(task, config=replace(task.config, train=larger))
    assert memory_kind(same) == memory_kind(task)
    assert memory_kind(other) != memory_kind(task)
    assert memory_kind(replace(task, dataset_digest="ff")) != memory_kind(task)


def test_a_kind_is_learned_once_and_kept(tmp_path: Path, folder_store: FolderStore) -> None:
    """A trial that takes more raises the share; a damaged record is measured again."""
    tasks = tasks_here(tmp_path, ["first", "second"])
    shares = GpuShares(tasks, read_measured(folder_store, tasks))
    [first, second] = [task.trial_id for task in tasks]
    assert (shares.share(first), shares.share(second)) == (1.0, 1.0)
    assert shares.learn(Outcome(first, "failed", 1.0)) == ""
    took = Outcome(first, "committed", 1.0, gpu_peak_bytes=3 * GIB, gpu_total_bytes=16 * GIB)
    assert "hold 3.0 of 16 GiB of GPU memory: each has 0.25 of a GPU" in shares.learn(took)
    assert shares.share(second) == 0.25
    assert shares.learn(took) == ""
    assert shares.learn(replace(took, gpu_peak_bytes=2 * GIB)) == ""
    assert "each has 0.5 of" in shares.learn(replace(took, gpu_peak_bytes=6 * GIB))
    write_measured(folder_store, shares)
    known = read_measured(folder_store, tasks)
    assert known == {memory_kind(tasks[0]): Measured(6 * GIB, 16 * GIB)}
    assert GpuShares(tasks, known).share(second) == 0.5
    [key] = folder_store.list(FOLDER)
    folder_store.put(key, b"{}")
    assert read_measured(folder_store, tasks) == {}


@pytest.fixture(scope="module")
def pool() -> Iterator[PoolHere]:
    """A node that Ray takes for one with a GPU."""
    with pool_here({"num_cpus": 4, "num_gpus": 1}) as pool:
        yield pool


def test_later_trials_share_a_gpu(pool: PoolHere, tmp_path: Path) -> None:
    """Two begin with a GPU each, one after the other; the rest, four at once, with a quarter.

    Those that waited for a whole GPU when the share became known wait no longer. Each counts
    against limits, and tells in its result, what it had.
    """
    labels = [f"t{number}" for number in range(7)]
    shares = GpuShares(tasks_here(tmp_path, labels), {})
    tally, notes = run_faulty(tmp_path, labels, take_gpu_memory, gpus=1, shares=shares)
    assert len(tally.outcomes) == 7
    [told] = notes.notes
    assert "each has 0.25 of a GPU from now on" in told
    found = [float(path.read_text()) for path in (tmp_path / "cache").glob("gpu-*")]
    assert sorted(found) in ([0.25] * 6 + [1.0], [0.25] * 5 + [1.0] * 2)
    assert sorted(share.gpus for share in notes.shares) == sorted(found)
    assert {share.cpus for share in notes.shares} == {1}


def test_without_a_gpu_auto_is_refused() -> None:
    """It asks for a whole one first; the message names the way to train without."""
    with pytest.raises(SweepError, match=r"resources\.gpus \(0 trains on CPUs\)"):
        how_many_at_once(1, 1.0, [(8, 0)])


@pytest.mark.parametrize(
    ("at_once", "nodes", "expected"),
    [(4, [(16, 1)], 4), (2, [(5, 0), (1, 0)], 2), (1, [(4, 0), (4, 0)], 4), (9, [(8, 0)], 0)],
)
def test_the_most_cpus_that_leave_as_many_at_once(
    at_once: int, nodes: list[tuple[float, float]], expected: int
) -> None:
    """A trial stays on one node, so that a sum over nodes is not enough."""
    assert most_cpus(at_once, nodes) == expected
