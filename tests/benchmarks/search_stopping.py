"""What early stopping saves in a search, and what it costs: epochs and seconds to the choice.

Each search runs three times: every configuration to its end, and with either rule of early
stopping. A grid tries the same configurations each time, so that its regret, how far the choice is
below that of the whole search on the metric that was searched and on test, is of stopping alone;
tpe suggests others after a batch (`--samplers tpe`). Trials train for real, in this process, one
after the other.

    .venv/bin/python tests/benchmarks/search_stopping.py
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.stores.folder import FolderStore
from spurious.errors import NumericalError
from sweeps.plan.facts import plan_on
from sweeps.plan.plan import DatasetFacts, Trial
from sweeps.results.tables import checkpointed_ids, read_trials
from sweeps.search.cell_run import CellRun
from sweeps.search.stored import StoredObservations
from sweeps.spec.model import GeneratorDataset, Spec, parse_spec
from sweeps.staging.sources import generator_staging
from sweeps.staging.stage import stage
from sweeps.trial.run import run_trial
from sweeps.trial.tasks import task_for

TEXT = """
name: stopping
dataset: {name: DATASET}
axes: {specificity: [KIND], budget: [100], method: [erm], seed: [SEED]}
model: {classifier: {name: small-cnn, channels: 8}, segmenter: {name: small-unet, channels: 8}}
train: {epochs: 27, batch_size: 20, keep: best val.auroc, score_test: candidates}
checkpoint: {every_epochs: 100}
search: {sampler: SAMPLER, trials: TRIALS, stop: STOP, space: {learning_rate: SPACE,
  weight_decay: DECAYS}}
"""
RATES = [10 ** (-4 + 0.5 * step) for step in range(6)]
DECAYS = [0.0, 0.01]
SQUARES = (
    "gaussian-squares, shape: ring, image_size: 32, abnormality_size: 10, ring_width: 2, "
    "abnormality_mean: 0.8, spurious_size: 10, spurious_mean: -5.0, prevalence: 0.5, n_train: 200, "
    "n_val: 100, n_test: 200"
)
"""As in the quick start: so faint that a few images do not suffice."""
CROSSES = "crosses, difficulty: easy, n_val: 128, n_test: 128"
CASES = ((SQUARES, "label"), (SQUARES, "mask"), (CROSSES, "label"))


@dataclass
class Spent:
    """What a search cost: epochs, and seconds of its trials."""

    epochs: int = 0
    seconds: float = 0.0


def make_spec(case: tuple[str, str], seed: int, sampler: str, stop: str, trials: int) -> Spec:
    """Return the spec of one search; a grid lists its values, others draw from their range."""
    values = {
        "DATASET": case[0],
        "KIND": case[1],
        "SEED": seed,
        "SAMPLER": sampler,
        "TRIALS": trials,
        "STOP": stop,
        "SPACE": RATES if sampler == "grid" else f"{{log: [{RATES[0]}, {RATES[-1]}]}}",
        "DECAYS": DECAYS,
    }
    text = TEXT
    for name, value in values.items():
        text = text.replace(name, str(value))
    return parse_spec(text)


def run(spec: Spec, store: FolderStore, cache: Path, facts: DatasetFacts) -> tuple[Trial, Spent]:
    """Run a search in a store of its own; return the chosen trial and what that took."""
    spent, search = Spent(), CellRun(spec, plan_on(spec, store).cells[0], facts)
    observe = StoredObservations(store)
    while requests := search.advance(observe):
        for request in requests:
            before = observe([request.trial.id])[request.trial.id].reached
            saved = request.trial.id in checkpointed_ids(store)
            task = task_for(request.trial, spec, store.url, cache, saved)
            began = time.perf_counter()
            try:
                task = replace(task, until_epoch=request.until)
                run_trial(task, uuid.uuid4().hex[:12], lambda *_: None)
            except NumericalError:
                pass
            spent.seconds += time.perf_counter() - began
            spent.epochs += (request.until or spec.train.base.epochs) - before
    state = search.state()
    assert state.chosen is not None
    return state.tried[state.chosen].trials[0], spent


def metrics_of(store: FolderStore, trial: Trial) -> Mapping[str, float]:
    """Return a trial's AUROCs at its kept epoch."""
    [row] = read_trials(store, [trial.id]).to_pylist()
    return {name: row[name] for name in ("val_auroc", "test_auroc")}


def main() -> None:
    """Print a row a case and way of stopping: medians over seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--samplers", nargs="+", default=["grid"])
    options = parser.parse_args()
    print(f"{options.trials} configurations of 27 epochs; medians of {options.seeds} seeds")
    print(
        "case                     sampler  stop    epochs  fewer  seconds  faster  regret val/test"
    )
    for case in CASES:
        for sampler in options.samplers:
            compare(case, sampler, options.seeds, options.trials)


def compare(case: tuple[str, str], sampler: str, seeds: int, trials: int) -> None:
    """Run a case with every way of stopping, and print it."""
    rows: dict[str, list[tuple[float, ...]]] = {"none": [], "asha": [], "median": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder, cache = Path(scratch), Path(scratch) / "cache"
        for seed in range(seeds):
            whole: tuple[Spent, Mapping[str, float]] | None = None
            for stop in rows:
                spec = make_spec(case, seed, sampler, stop, trials)
                store = FolderStore(folder / f"{seed}-{stop}")
                assert isinstance(spec.dataset, GeneratorDataset)
                made = generator_staging(spec.dataset.name, spec.dataset.options)
                digest, given = made.digest, made.options
                stage(
                    *(store, made.source, spec.dataset.name),
                    digest=digest,
                    options=given,
                    in_process=True,
                )
                facts = plan_on(spec, store).facts
                assert facts is not None
                if seed == 0 and stop == "none":  # imports and the cache are not a search's
                    warm = make_spec(case, 99, "grid", "asha", 2)
                    run(warm, store, cache, facts)
                chosen, spent = run(spec, store, cache, facts)
                reached = metrics_of(store, chosen)
                whole = whole or (spent, reached)
                rows[stop].append(
                    (
                        spent.epochs,
                        whole[0].epochs / spent.epochs,
                        spent.seconds,
                        whole[0].seconds / spent.seconds,
                        whole[1]["val_auroc"] - reached["val_auroc"],
                        whole[1]["test_auroc"] - reached["test_auroc"],
                    )
                )
    for stop, found in rows.items():
        name = case[0].partition(",")[0]
        epochs, fewer, seconds, faster, val, test = map(statistics.median, zip(*found, strict=True))
        print(
            f"{f'{name}, {case[1]}':<24} {sampler:<8} {stop:<7} {epochs:>6.0f} {fewer:>5.1f}x "
            f"{seconds:>8.1f} {faster:>6.1f}x  {val:+.4f} {test:+.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
