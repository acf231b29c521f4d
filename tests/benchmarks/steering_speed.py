"""What a step of a method that steers costs, in steps of ERM on the same model: `make bench`.

Epochs of ERM and of each method take turns, so that a noisy machine is noisy for all; the ratio is
the median over the turns, of CPU time on one thread. Memory is what an epoch adds at its peak.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from small_data import fit_config, no_weights, squares
from steered_problems import objective_of

from spurious.config.machine import Machine
from spurious.config.methods import METHODS
from spurious.config.models import FourBlock, ResNet18SmallStem, SmallCnn
from spurious.config.options import Budget, Specificity
from spurious.fit import _problem
from spurious.training.loop import Loop

MODELS: Mapping[str, tuple[Any, int]] = {
    "small-cnn": (SmallCnn(), 64),
    "four-block": (FourBlock(), 28),
    "resnet18-small-stem": (ResNet18SmallStem(), 28),
}
"""Options, and the side of the images."""
STEERING = ("actdiff", "gradmask", "actdiff-gradmask", "adversarial", "rrr", "rbr", "xbl", "care")
GOALS = {"actdiff": 2.6, "gradmask": 3.2, "rrr": 3.2}


def loop_of(name: str, model_name: str, images: int, batch: int) -> tuple[Loop, Any]:
    """A method's loop and what gives its batches; `erm` trains on labels."""
    options, side = MODELS[model_name]
    data = squares(image_size=side, n_train=images, n_val=2, n_test=2)
    chosen = METHODS[name]()
    config = replace(
        fit_config("label", batch_size=batch, learning_rate=1e-4),
        specificity=Specificity("mask" if chosen.steers else "label"),
        budget=Budget(None, "natural"),
        method_name=name,
        method=chosen,
        model_name=model_name,
        model=options,
    )
    problem = _problem(data, config, Machine(), no_weights)
    model = problem.build()
    return problem.loop(model, objective_of(problem, name, chosen, model)), problem.batch_sampler()


def peak_mib(run: Callable[[], object]) -> float:
    """Return by how much the process grows at most while something runs, MiB (Linux)."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # freed memory goes back to the system
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    run()
    return (_resident("VmHWM") - before) / 1024


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def main() -> None:
    """Print a line for each model and method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| model | method | ERM steps a step | goal | MiB | of ERM |")
    print("| --- | --- | --: | --: | --: | --: |")
    for model in MODELS:
        loops = {
            name: loop_of(name, model, options.images, options.batch) for name in ("erm", *STEERING)
        }
        seconds: dict[str, list[float]] = {name: [] for name in loops}
        for _ in range(options.turns + 1):
            for name, (loop, batches) in loops.items():
                loop.epoch += 1
                began = time.process_time()
                loop._train_epoch(batches)
                seconds[name].append(time.process_time() - began)
        mib = {
            name: peak_mib(partial(loop._train_epoch, batches))
            for name, (loop, batches) in loops.items()
        }
        for name in STEERING:
            pairs = zip(seconds[name][1:], seconds["erm"][1:], strict=True)
            ratio = statistics.median(mine / erm for mine, erm in pairs)
            memory = f"{mib[name]:.0f} | {mib['erm']:.0f}"
            print(
                f"| {model} | {name} | {ratio:.2f} | {GOALS.get(name, '')} | {memory} |", flush=True
            )


if __name__ == "__main__":
    main()
