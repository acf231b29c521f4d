"""Images per second of the training loop beside a bare PyTorch loop: `make bench`.

The same model, images, batch size and optimizer; data in memory; no evaluation counted on either
side. Both loops run in turns, one epoch each, so that a noisy machine is noisy for both; the ratio
is the median over the turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from spurious.config.datasets import GaussianSquares
from spurious.config.methods import Erm
from spurious.config.models import Aggregation, FcnResNet50, ResNet50, SmallCnn, SmallUnet, Unet
from spurious.config.options import Budget, FitConfig, Specificity, Train
from spurious.data.dataset import Dataset
from spurious.data.masks import PackedMasks
from spurious.data.sampling import BatchSampler
from spurious.data.training_set import TrainingSet
from spurious.generators.gaussian_squares import GaussianSquaresSource
from spurious.training.loop import Loop
from spurious.training.model import Model
from spurious.training.models import build
from spurious.training.objective import Objective
from spurious.training.supervision import supervision_for

MODELS: dict[str, Any] = {
    "small-cnn": SmallCnn(),
    "small-unet": SmallUnet(),
    "resnet50": ResNet50(),
    "unet": Unet(encoder="resnet18"),
    "fcn-resnet50": FcnResNet50(),
}
CLASSIFIERS = ("small-cnn", "resnet50")


@dataclass(frozen=True)
class Setting:
    """What both loops train."""

    model: str
    images: int
    side: int
    batch: int
    precision: str
    device: str


def data(setting: Setting) -> Dataset:
    """Gaussian squares, all of them training images."""
    options = GaussianSquares(
        image_size=setting.side,
        abnormality_size=setting.side // 5,
        spurious_size=setting.side // 4,
        prevalence=0.5,
        n_train=setting.images,
        n_val=2,
        n_test=2,
    )
    source = GaussianSquaresSource(options)
    records = [source.load(sample_id) for sample_id in source.index()]
    count = len(records)
    return Dataset(
        images=np.stack([record.image for record in records]),
        masks=PackedMasks.pack(record.mask for record in records),
        labels=np.array([record.label for record in records]),
        attributes=np.zeros((count, 0), np.int8),
        splits=np.array([record.split for record in records]),
        sample_ids=np.array([record.sample_id for record in records]),
        patient_ids=np.array([record.patient_id for record in records]),
        abnormalities=np.array([record.abnormalities for record in records]),
        attribute_names=(),
        directions=(),
    )


def ours(setting: Setting, dataset: Dataset) -> Callable[[], float]:
    """One epoch of the project's loop at a time; gives its seconds."""
    label = setting.model in CLASSIFIERS
    train = Train(
        epochs=10**5,
        batch_size=setting.batch,
        precision=setting.precision,  # type: ignore[arg-type]
        keep="last",
    )
    config = FitConfig(
        specificity=Specificity("label" if label else "mask"),
        budget=Budget(None),
        method_name="erm",
        method=Erm(),
        model_name=setting.model,
        model=MODELS[setting.model],
        readout=None if label else Aggregation(),
        train=train,
        seed=0,
    )
    images = TrainingSet(dataset, dataset.rows("train"), config.specificity, train, 0)
    objective = Objective(supervision_for(config.specificity, config.readout))
    loop = Loop(model(setting, dataset), objective, train, 0, torch.device(setting.device))
    batch_sampler = BatchSampler(images, setting.batch, 0)

    def epoch() -> float:
        loop.epoch += 1
        began = time.perf_counter()
        loop._train_epoch(batch_sampler)
        wait(setting)
        return time.perf_counter() - began

    return epoch


def bare(setting: Setting, dataset: Dataset) -> Callable[[], float]:
    """One epoch of a loop as a tutorial writes it; gives its seconds."""
    rows = dataset.rows("train")
    device = torch.device(setting.device)
    x = torch.from_numpy(np.ascontiguousarray(dataset.images[rows].transpose(0, 3, 1, 2)))
    if setting.model in CLASSIFIERS:
        targets = torch.from_numpy(dataset.labels[rows])
    else:
        targets = torch.from_numpy(dataset.masks[rows].astype(np.int64))
    net = model(setting, dataset).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=Train.learning_rate)
    bfloat16 = setting.precision == "bfloat16"

    def epoch() -> float:
        began = time.perf_counter()
        net.train()
        for part in torch.randperm(len(x)).split(setting.batch):
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                logits = net(x[part].to(device))
            loss = functional.cross_entropy(logits.float(), targets[part].to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        wait(setting)
        return time.perf_counter() - began

    return epoch


def model(setting: Setting, dataset: Dataset) -> Model:
    """The same weights for both."""
    height, width, channels = dataset.images.shape[1:]

    def none(digest: str) -> dict[str, torch.Tensor]:
        raise AssertionError(digest)

    return build(setting.model, MODELS[setting.model], (height, width, channels), 0, none)


def wait(setting: Setting) -> None:
    """For the GPU to end what it was given."""
    if setting.device == "cuda":
        torch.cuda.synchronize()


def settings(arguments: argparse.Namespace) -> Iterator[Setting]:
    """One per model."""
    for name in arguments.models:
        yield Setting(
            name,
            arguments.images,
            arguments.side,
            arguments.batch,
            arguments.precision,
            arguments.device,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["small-cnn", "small-unet"])
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True, warn_only=arguments.device != "cpu")
    for setting in settings(arguments):
        dataset = data(setting)
        loops = {"ours": ours(setting, dataset), "bare": bare(setting, dataset)}
        seconds: dict[str, list[float]] = {name: [] for name in loops}
        for turn in range(arguments.rounds + 1):
            order = list(loops) if turn % 2 else list(reversed(loops))
            for name in order:
                took = loops[name]()
                if turn:  # the first epoch warms up
                    seconds[name].append(took)
        speed = {name: setting.images / statistics.median(took) for name, took in seconds.items()}
        turns = zip(seconds["bare"], seconds["ours"], strict=True)
        ratio = statistics.median(bare / ours for bare, ours in turns)
        print(
            f"{setting.model}: ours {speed['ours']:.0f} images/s, bare {speed['bare']:.0f} "
            f"images/s, ours / bare {ratio:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
