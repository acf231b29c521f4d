"""Sweeps small enough to run many times in a test, and what their runs leave behind."""

from __future__ import annotations

import gc
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
from ray.experimental import internal_kv
from rich.console import Console

from cluster.errors import Unavailable
from cluster.jobs.notices import Drain
from cluster.jobs.ray_internals import _NAMESPACE
from cluster.stores.base import Store
from spurious.data.dataset import Dataset
from spurious.training.loop import ControlSignal, Fit, Hooks
from sweeps.commands.verbs import VERBS
from sweeps.plan.facts import plan_on
from sweeps.plan.plan import DatasetFacts, Plan
from sweeps.results import tables as results
from sweeps.results.schemas import SISTERS
from sweeps.spec.model import GeneratorDataset, Spec, parse_spec
from sweeps.staging.sources import generator_staging
from sweeps.staging.stage import stage
from sweeps.trial.run import fit_for_real, run_trial
from sweeps.trial.tasks import Task, task_for

ROOT = Path(__file__).resolve().parents[2]
TEXT = """
name: tiny
dataset: {name: gaussian-squares, image_size: 16, abnormality_size: 4, spurious_size: 4,
          prevalence: 0.5, n_train: 40, n_val: 30, n_test: 30}
axes: {specificity: [label, mask], budget: [20], method: [erm], seed: [0, 1]}
model: {classifier: {name: small-cnn, channels: 4, levels: 1},
        segmenter: {name: small-unet, channels: 4, levels: 1}}
train: {epochs: 3, batch_size: 10}
checkpoint: {every_epochs: 1}
"""
"""Four trials of some milliseconds each; an epoch takes about 15 ms."""

COUNTS = {
    "train": {"n": 100, "positives": 40, "abnormalities": 60},
    "val": {"n": 30, "positives": 10, "abnormalities": 12},
    "test": {"n": 30, "positives": 10, "abnormalities": 12},
}
FACTS = DatasetFacts("films", "ab" * 32, (96, 64, 1), COUNTS, ("tube", "ink"))
FILMS = TEXT.replace(TEXT[TEXT.index("dataset:") : TEXT.index("axes:")], "dataset: films\n")
"""A staged dataset of films, and a spec on it."""

PROVENANCE = (
    *("attempt", "seconds_total", "seconds_training", "images_per_second", "resumed_from_epoch"),
    *("started_at", "finished_at", "written_at", "node", "cpus", "gpus", "schema_version"),
    *(f"{name}_sha256" for name in SISTERS),  # of objects with attempt ids
)
"""Columns that say how a result came about: they differ between runs that agree."""

DIVERGES = {"optimizer": "sgd", "learning_rate": 100.0, "weight_decay": 100.0}
"""Training options that multiply the weights by -9999 a step: infinite in ten."""


def tiny(**overrides: Any) -> Spec:
    """The spec, with `train__epochs=5` for the override `train.epochs=5`."""
    return parse_spec(
        TEXT, overrides={key.replace("__", "."): value for key, value in overrides.items()}
    )


def stage_here(store: Store, spec: Spec) -> None:
    """Stage a spec's generator in this process, without Ray; again where it is staged already."""
    assert isinstance(spec.dataset, GeneratorDataset)
    name, made = spec.dataset.name, generator_staging(spec.dataset.name, spec.dataset.options)
    stage(store, made.source, name, digest=made.digest, options=made.options, in_process=True)


def one(**overrides: Any) -> Spec:
    """A spec of a single trial."""
    return tiny(**{"axes__specificity": ["mask"], "axes__seed": [0], **overrides})


def prepared(store: Store, spec: Spec, cache: Path) -> tuple[Plan, Task]:
    """Stage, plan, and the task of the only trial."""
    stage_here(store, spec)
    plan = plan_on(spec, store)
    [trial] = plan.trials
    return plan, task_for(trial, spec, store.url, cache)


def run_here(store: Store, spec: Spec, cache: Path) -> Plan:
    """Stage a generator and run what is missing, as `run_missing` does."""
    stage_here(store, spec)
    return run_missing(store, spec, cache)


def run_missing(store: Store, spec: Spec, cache: Path) -> Plan:
    """Run what is missing in this process, one trial after the other, without Ray."""
    saved = results.checkpointed_ids(store)
    for trial in plan_on(spec, store).missing:
        task = task_for(trial, spec, store.url, cache, trial.id in saved)
        run_trial(task, uuid.uuid4().hex[:12], lambda *_: None)
    return plan_on(spec, store)


def zero_half(cache: Path) -> None:
    """Damage the only dataset of a node cache: half of its images become zeros."""
    [path] = cache.glob("v*/images.npy")
    with path.open("r+b") as file:  # root may, for all that it is read-only
        half = path.stat().st_size // 2
        file.seek(half)
        file.write(bytes(half))


def tables(store: Store, plan: Plan) -> dict[str, pd.DataFrame]:
    """The committed tables of a sweep, ordered, without the columns of `PROVENANCE`."""
    trials = results.read_trials(store, plan.done)
    read = {
        "trials": trials,
        "epochs": results.read_attempts(store, "epochs", trials),
        "predictions": results.read_attempts(store, "predictions", trials),
    }
    frames = {}
    for name, table in read.items():
        frame = table.to_pandas()
        frames[name] = frame.drop(columns=[c for c in PROVENANCE if c in frame])
    return frames


def assert_same(found: Mapping[str, pd.DataFrame], expected: Mapping[str, pd.DataFrame]) -> None:
    """Both hold the same tables, to the last bit."""
    assert found.keys() == expected.keys()
    for name, frame in found.items():
        pd.testing.assert_frame_equal(frame, expected[name], check_exact=True, obj=name)


def read_json(verb: str, printed: str) -> dict[str, Any]:
    """Parse the JSON document that a verb printed; it has the fields that `--help` names."""
    document: dict[str, Any] = json.loads(printed)
    [fields] = [known.json_fields.keys() for known in VERBS if known.name == verb]
    either = {"sha256", "fits"} if verb == "stage" else set()
    dry = {"dry_run", "robust", "problems"} if verb == "stage" else set()
    assert document.keys() in (fields - either - dry, either | {"store"})
    return document


class Place:
    """Where `sweeps` runs as a user runs it: a folder of its own, and all that it starts."""

    def __init__(self, folder: Path, temporary: Path, **environment: str) -> None:
        self.folder, self.temporary = folder, temporary
        self.store = folder / "store"
        self.spec = folder / "tiny.yaml"
        self.spec.write_text(TEXT)
        self.environment = {
            **os.environ,
            "SWEEPS_HOME": str(folder / "home"),
            "RAY_TMPDIR": str(temporary),
            **environment,
        }

    def start(self, *arguments: str, stderr: Any = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start `sweeps` with arguments, in a session of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "sweeps", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )

    def sweeps(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run `sweeps` to its end, which must have this exit status."""
        process = self.start(*arguments)
        out, errors = process.communicate(timeout=280)
        assert process.returncode == status, f"{process.returncode}\n{out}\n{errors}"
        return subprocess.CompletedProcess(process.args, status, out, errors)

    def processes(self) -> dict[int, str]:
        """Process id to command line of all that runs with this place's environment."""
        mark = f"RAY_TMPDIR={self.temporary}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    command = (entry / "cmdline").read_bytes()
                    found[int(entry.name)] = command.replace(b"\0", b" ").decode()
            except OSError:  # it ended while we looked, or is another user's
                continue
        return {pid: command for pid, command in found.items() if command}  # a zombie has none

    def workers(self) -> list[int]:
        """Process ids of Ray's workers that run with this place's environment."""
        return [pid for pid, command in self.processes().items() if command.startswith("ray::")]

    def kill(self) -> None:
        """Kill all that still runs with this place's environment."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, 9)


@contextmanager
def made_place(folder: Path, **environment: str) -> Iterator[Place]:
    """A place with a short path for Ray's sockets; whatever still runs in it is killed after."""
    temporary = Path(tempfile.mkdtemp(prefix="sw", dir="/tmp"))
    place = Place(folder, temporary, **environment)
    try:
        yield place
    finally:
        place.kill()
        shutil.rmtree(temporary, ignore_errors=True)


def wait_until(condition: Callable[[], Any], seconds: float = 200.0) -> Any:
    """Poll until a condition gives something true, and return that."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
    return found


def fit_and_tell(dataset: Dataset, task: Task, hooks: Hooks, store: Store) -> Fit:
    """Train, and leave a note in the cache folder of what the worker was and still held.

    The note: process id, datasets in memory, and maps of a dataset's images; one is the trial's.
    The dataset is left in a reference cycle, as a method may do: only a collection ends it.
    """
    held = sum(isinstance(each, Dataset) for each in gc.get_objects())
    maps = Path("/proc/self/maps").read_text().splitlines()
    mapped = sum(line.endswith("images.npy") for line in maps)
    note = Path(task.cache_dir) / f"note-{task.trial_id}-{uuid.uuid4().hex}.json"
    note.write_text(json.dumps({"pid": os.getpid(), "datasets": held, "maps": mapped}))
    cycle: list[Any] = [dataset]
    cycle.append(cycle)
    return fit_for_real(dataset, task, hooks, store)


def fit_unless_unlucky(dataset: Dataset, task: Task, hooks: Hooks, store: Store) -> Fit:
    """Train, except `mask` of seed 1, whose store is never there."""
    if task.label == "mask-20-erm-s1":
        raise Unavailable("the store went away")
    return fit_for_real(dataset, task, hooks, store)


def quiet_console() -> Console:
    """A console that keeps what it is told, as `run` prints it where there is no terminal."""
    return Console(file=io.StringIO(), soft_wrap=True, width=200)


def printed(console: Console) -> str:
    """What a quiet console was told so far."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def attempts_before(task: Task) -> int:
    """How many attempts of a trial began on this machine before this one, which is counted now."""
    lives = Path(task.cache_dir) / f"lives-{task.trial_id}"
    lives.touch()
    before = lives.stat().st_size
    lives.write_bytes(b"x" * (before + 1))
    return before


def node_goes_away() -> None:
    """Make Ray say in this process that its node goes away; a whole one does in the e2e test."""
    Drain.coming = lambda self, max_age_s=1.0: True  # type: ignore[method-assign]


def fit_in_a_long_epoch(dataset: Dataset, task: Task, hooks: Hooks, store: Store) -> Fit:
    """Train on the second attempt; in the first the node's end comes before the epoch's.

    The worker waits as training would, and asks nothing of `hooks`.
    """
    if attempts_before(task) == 0:
        node_goes_away()
        is_told = lambda: internal_kv._internal_kv_list(b"leaving/", namespace=_NAMESPACE)  # noqa: E731
        wait_until(is_told)
        os._exit(1)
    return fit_for_real(dataset, task, hooks, store)


def fit_on_leaving_nodes(dataset: Dataset, task: Task, hooks: Hooks, store: Store) -> Fit:
    """Train on the fourth attempt; three nodes before say that they go away, and take it along."""
    if attempts_before(task) < 3:
        node_goes_away()
        assert hooks.poll() is ControlSignal.SAVE
        os._exit(1)
    return fit_for_real(dataset, task, hooks, store)


def fit_on_a_leaving_node_after_failures(
    dataset: Dataset, task: Task, hooks: Hooks, store: Store
) -> Fit:
    """Train on the fourth attempt; two workers are lost before, a third with its leaving node."""
    if (before := attempts_before(task)) < 3:
        if before == 2:
            node_goes_away()
            assert hooks.poll() is ControlSignal.SAVE
            time.sleep(3.0)  # a node's last seconds, in which the driver hears of it
        os._exit(1)
    return fit_for_real(dataset, task, hooks, store)


def fit_on_a_leaving_node_without_store(
    dataset: Dataset, task: Task, hooks: Hooks, store: Store
) -> Fit:
    """Train on the third attempt; the first misses its store, the second's worker is lost."""
    if (before := attempts_before(task)) == 0:
        node_goes_away()
        assert hooks.poll() is ControlSignal.SAVE
        raise Unavailable("the store went away")
    if before == 1:
        os._exit(1)
    return fit_for_real(dataset, task, hooks, store)
