"""Short trials that train, as `sweeps run` runs them: the pool's share that is training."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from cluster.stores.folder import FolderStore
from sweeps.plan.facts import plan_on
from sweeps.results.tables import read_trials
from sweeps.spec.model import parse_spec

SPEC = """
name: short
dataset: {{name: gaussian-squares, image_size: 32, abnormality_size: 4, spurious_size: 4,
          n_train: 200, n_val: 50, n_test: 50}}
axes: {{specificity: [label, mask], budget: [40, 100], method: [erm], seed: {seeds}}}
balance: natural
model: {{classifier: {{name: small-cnn}}, segmenter: {{name: small-unet}}}}
train: {{epochs: 10}}
"""
SLOTS = 2


def run(folder: Path, trials: int) -> list[str]:
    """Run trials of some seconds on two workers, from the command line to its end."""
    text = SPEC.format(seeds=list(range(max(1, trials // 4))))
    (folder / "short.yaml").write_text(text)
    environment = {**os.environ, "SWEEPS_HOME": str(folder / "home")}
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "sweeps", "run", "short.yaml", "--store", "store", "--quiet"],
        cwd=folder,
        env=environment,
        check=True,
    )
    wall = time.perf_counter() - began
    store = FolderStore(folder / "store")
    plan = plan_on(parse_spec(text), store)
    if plan.missing:
        raise SystemExit(f"{len(plan.missing)} trials were not committed")
    frame = read_trials(store, plan.done).to_pandas()
    span = (frame.finished_at.max() - frame.started_at.min()).total_seconds()
    busy = frame.seconds_total.sum() / (SLOTS * span)
    training = frame.seconds_training.sum()
    return [
        "| trials | command s | first start to last end s | sum of trials' s, over 2 | busy share "
        "| sum of training s, over 2 | training share of the makespan |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        f"| {len(frame)} | {wall:.1f} | {span:.1f} | {frame.seconds_total.sum() / SLOTS:.1f} "
        f"| {busy:.3f} | {training / SLOTS:.1f} | {training / (SLOTS * span):.3f} |",
    ]
