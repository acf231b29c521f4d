"""Committed and calibrated trials as an estimate of time reads them: what they did and how long."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from spurious.config.machine import Machine
from spurious.config.method import Method
from spurious.config.methods import Erm
from spurious.config.options import FitConfig, Specificity, Train
from sweeps.errors import ResultError
from sweeps.plan.cell import Cell, cell_of
from sweeps.plan.identity import canonical, resolve_config, revision_of
from sweeps.plan.plan import DatasetFacts, Plan, Trial
from sweeps.plan.work import ImageNumbers, Work, count_images, count_work
from sweeps.spec.model import Resources

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = (
    *("trial_id", "dataset_digest", "config", "seconds_total", "seconds_training"),
    *("device", "threads", "cpus", "gpus"),
)
"""Columns of the table of trials that estimates and limits read."""

MOST_READ = 500
"""Trials of the store that a plan reads for an estimate: more would hardly change it."""

_SPEED = (
    *("batch_size", "augment", "precision", "channels_last", "fused", "compile", "accumulate"),
    *("deterministic", "optimizer"),
)
"""Training options that change the time of an image."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kind:
    """What decides how long a trial takes, from all of it to the model alone.

    Attributes:
        twin: The configuration without the seed.
        recipe: Method, kind of annotation, model and training options that change the speed.
        model: Model and arithmetic.
    """

    twin: str
    recipe: str
    model: str


@dataclass(frozen=True)
class TimedTrial:
    """How long a trial took.

    Attributes:
        kind: Of the trial.
        method: The method's name.
        work: What it did.
        seconds: Wall time of all of it.
        seconds_training: Wall time of the training steps of its own epochs.
        own_trained: Of `work.trained` the part of these steps; 0 where unknown.
        device: Name of the GPU, or `cpu`.
        is_calibration: Whether it was a short calibration and no whole trial.
    """

    kind: Kind
    method: str
    work: Work
    seconds: float
    seconds_training: float
    own_trained: float
    device: str
    is_calibration: bool = False


def kind_of(config: Mapping[str, Any]) -> Kind:
    """Return the kind of a trial by its fully resolved configuration."""
    train, model = config["train"], config["model"]
    arithmetic = {"precision": train["precision"]}
    specificity = config["specificity"]["kind"]
    recipe = {
        "method": config["method"]["name"],
        "labels": specificity == "label",
        "model": model,
        "rest": config.get("rest"),
        "train": {name: train[name] for name in _SPEED if name in train},
    }
    twin = {name: value for name, value in config.items() if name != "seed"}
    return Kind(canonical(twin), canonical(recipe), canonical({"model": model, **arithmetic}))


def trial_kind(trial: Trial, facts: DatasetFacts | None) -> Kind:
    """Return the kind of a planned trial."""
    images = None if facts is None else facts.training_images
    revision = revision_of(trial.config, images)
    # as a row holds it: through JSON
    return kind_of(
        json.loads(canonical(resolve_config(trial.config, trial.dataset_digest, revision)))
    )


def calibrated_config(config: FitConfig) -> FitConfig:
    """Return what stands for a trial in its calibration.

    Methods that begin with a first model need more images than a calibration has: they are timed as
    ERM on the same model, and what they train beyond it is counted, see `sweeps.plan.work`.
    """
    method: Method = config.method
    train = replace(config.train, keep="last", evaluate_every=1, score_test="every")
    if method.first_training(config.train)[0] == 0 and method.passes:
        return replace(config, train=train)
    # its classifier learns labels, also where regions steer it
    specificity = Specificity("label") if method.steers else config.specificity
    return replace(
        config, method_name="erm", method=Erm(), specificity=specificity, train=train, rest=None
    )


def machine_of(resources: Resources) -> Machine:
    """Return where trials run, as far as it decides their time."""
    return Machine("cuda" if resources.gpus else "cpu", resources.threads, resources.cpus)


def read_timed(
    rows: Iterable[Mapping[str, Any]], facts: DatasetFacts | None, resources: Resources
) -> list[TimedTrial]:
    """Take from rows of the table of trials what compares with a plan's trials.

    Those on another dataset, on another kind of device or, without a GPU, with another number of
    threads do not.

    Args:
        rows: Rows with the columns of `COLUMNS`.
        facts: The plan's dataset.
        resources: What a trial gets.
    """
    if facts is None:
        return []
    images, machine = count_images(facts), machine_of(resources)
    timed = []
    for row in rows:
        is_here = row["dataset_digest"] == facts.digest and row["seconds_total"] > 0
        if is_here and _runs_alike(row, machine):
            try:
                timed.append(_timed(row, images))
            except (ResultError, TypeError, KeyError) as error:  # of another version
                _log.info("trial %s tells no time: %s", row["trial_id"], error)
    return timed


def _runs_alike(row: Mapping[str, Any], machine: Machine) -> bool:
    on_cpu = row["device"] == "cpu"
    if on_cpu != (machine.device == "cpu"):
        return False
    return not on_cpu or row["threads"] == machine.threads


def _timed(row: Mapping[str, Any], images: ImageNumbers) -> TimedTrial:
    config = json.loads(row["config"])
    cell, train = cell_of(row["config"]), Train(**config["train"])
    reads_rest = config.get("rest") is not None
    work = count_work(cell, train, images, reads_rest=reads_rest)
    return TimedTrial(
        kind=kind_of(config),
        method=cell.method.name,
        work=work,
        seconds=row["seconds_total"],
        seconds_training=row["seconds_training"],
        own_trained=_own_trained(cell, train, work),
        device=row["device"],
    )


def _own_trained(cell: Cell, train: Train, work: Work) -> float:
    """Return the trained images that `seconds_training` is of; 0 where other work is in it."""
    method = cell.method.options
    has_first = method.first_training(train)[0] > 0
    return 0.0 if has_first or not method.passes else work.trained


def choose_timed(plan: Plan, committed: Iterable[str], most: int = MOST_READ) -> list[str]:
    """Choose the committed trials that an estimate reads: the plan's own, then others.

    The plan's are taken from all cells in turn. Ids are hashes, so the first of the others in their
    order are a random choice.

    Args:
        plan: The plan.
        committed: Ids of all trials with a result.
        most: How many are chosen.
    """
    by_cell: dict[Cell, list[str]] = {}
    for trial in plan.trials:
        if trial.id in plan.done:
            by_cell.setdefault(trial.cell, []).append(trial.id)
    longest = max(map(len, by_cell.values()), default=0)
    in_turn = [ids[n] for n in range(longest) for ids in by_cell.values() if n < len(ids)][:most]
    planned = {trial.id for trial in plan.trials}
    of_other_sweeps = sorted(set(committed) - planned)
    return in_turn + of_other_sweeps[: most - len(in_turn)]


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows of a table of trials with the columns that an estimate reads."""
    rows: list[dict[str, Any]] = table.select(list(COLUMNS)).to_pylist()
    return rows


def as_record(timed: TimedTrial) -> dict[str, Any]:
    """Return a calibrated trial as plain JSON values."""
    return asdict(timed)


def from_record(record: Mapping[str, Any]) -> TimedTrial:
    """Return what `as_record` wrote."""
    fields = {**record, "kind": Kind(**record["kind"]), "work": Work(**record["work"])}
    return TimedTrial(**fields)
