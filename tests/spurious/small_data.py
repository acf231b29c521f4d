"""Small datasets and configurations for the tests of the science."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spurious.config.datasets import GaussianSquares
from spurious.config.machine import Machine
from spurious.config.methods import Erm
from spurious.config.models import Aggregation, FourBlock, SmallCnn, SmallUnet
from spurious.config.options import Budget, FitConfig, Specificity, Train
from spurious.data.dataset import Dataset
from spurious.data.masks import PackedMasks
from spurious.data.records import Record
from spurious.fit import fit
from spurious.generators.gaussian_squares import GaussianSquaresSource
from spurious.training.checkpoint import SaveCheckpoint, Snapshot
from spurious.training.loop import Fit, Hooks

SMALL = GaussianSquares(
    image_size=16,
    abnormality_size=4,
    spurious_size=5,
    prevalence=0.5,
    n_train=21,
    n_val=16,
    n_test=16,
)
"""Images of 16 x 16 that train in milliseconds; 21 images leave a single one over five."""


def stacked(records: list[Record], directions: tuple[int, ...] = (1,)) -> Dataset:
    """The dataset that opening staged records would give."""
    names = tuple(sorted(records[0].attributes))
    codes = {None: -1, False: 0, True: 1}
    return Dataset(
        images=np.stack([record.image for record in records]),
        masks=PackedMasks.pack(record.mask for record in records),
        labels=np.array([record.label for record in records], dtype=np.int64),
        attributes=np.array(
            [[codes[record.attributes[name]] for name in names] for record in records],
            dtype=np.int8,
        ).reshape(len(records), len(names)),
        splits=np.array([record.split for record in records]),
        sample_ids=np.array([record.sample_id for record in records]),
        patient_ids=np.array([record.patient_id for record in records]),
        abnormalities=np.array([record.abnormalities for record in records], dtype=np.int64),
        attribute_names=names,
        directions=directions,
        digest="0" * 64,
    )


def squares(options: GaussianSquares = SMALL, **changes: Any) -> Dataset:
    """A dataset of Gaussian squares, its arrays read-only as memory-mapped ones are."""
    source = GaussianSquaresSource(replace(options, **changes))
    dataset = stacked([source.load(sample_id) for sample_id in source.index()])
    return read_only(dataset)


def grey_squares(dtype: str = "uint8", **changes: Any) -> Dataset:
    """The same as integer images: 13 standard deviations below and above 0 fill the range."""
    dataset = squares(**changes)
    top = np.iinfo(dtype).max
    images = np.clip((dataset.images + 13.0) / 26.0, 0.0, 1.0) * top
    return read_only(replace(dataset, images=images.astype(dtype)))


def read_only(dataset: Dataset) -> Dataset:
    """The dataset with arrays that refuse writing."""
    for value in (*vars(dataset).values(), dataset.masks.bits):
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return dataset


def copy_array(dataset: Dataset, name: str) -> NDArray[Any]:
    """One array of a dataset, which may be changed; masks as (N, H, W) bool."""
    return dataset.masks[:] if name == "masks" else getattr(dataset, name).copy()


def with_arrays(dataset: Dataset, **arrays: NDArray[Any]) -> Dataset:
    """The dataset with other arrays; masks are given as (N, H, W) bool."""
    packed = {"masks": PackedMasks.pack(arrays["masks"])} if "masks" in arrays else {}
    return replace(dataset, **{**arrays, **packed})


def fit_config(kind: str, *, r: int | None = None, seed: int = 0, **train: Any) -> FitConfig:
    """ERM on all training images with the smallest models; `train` changes training options."""
    labels = kind == "label"
    options: dict[str, Any] = {"batch_size": 5, "learning_rate": 1e-2, "keep": "last", **train}
    return FitConfig(
        specificity=Specificity(kind, r=r),  # type: ignore[arg-type]
        budget=Budget(None),
        method_name="erm",
        method=Erm(),
        model_name="small-cnn" if labels else "small-unet",
        model=SmallCnn(channels=4, levels=1) if labels else SmallUnet(channels=4, levels=1),
        readout=None if labels else Aggregation(),
        train=Train(**options),
        seed=seed,
    )


def method_config(name: str, kind: str, method: Any, **options: Any) -> FitConfig:
    """A method at a specificity, on the smallest model that shows what it reads."""
    config = fit_config(kind if method.segments(kind) else "label", **options)
    config = replace(config, method_name=name, method=method, specificity=Specificity(kind))  # type: ignore[arg-type]
    if "decoder" in method.reads:
        drawing = FourBlock(channels=2, decoder="unet")
        config = replace(config, model_name="four-block", model=drawing)
    return config


def keeping(saved: list[bytes]) -> SaveCheckpoint:
    """Append each checkpoint to a list, at once."""

    def save(take: Callable[[], Snapshot], *, urgent: bool) -> bool:
        saved.append(bytes(take().seal()))
        return True

    return save


def fitted(dataset: Dataset, config: FitConfig, hooks: Hooks | None = None) -> Fit:
    """Fit on one CPU thread without pretrained weights."""
    return fit(dataset, config, Machine(), hooks or Hooks(), no_weights)


def no_weights(digest: str) -> dict[str, Any]:
    """A loader for tests whose models load nothing."""
    raise AssertionError(f"weights {digest} were asked for")


def values(outcome: Fit, split: str, metric: str) -> NDArray[np.float64]:
    """One metric over epochs, over all attributes together where there are several."""
    return np.array(
        [
            row.value
            for row in outcome.rows
            if (row.split, row.metric, row.attribute) == (split, metric, None)
        ]
    )


def weights(outcome: Fit) -> bytes:
    """The kept model as bytes."""
    return b"".join(tensor.numpy().tobytes() for tensor in outcome.kept_state.values())


def numbers(outcome: Fit) -> tuple[Any, ...]:
    """Everything that a fit decides, comparable; NaN equals NaN."""
    scores = [outcome.kept_scores, outcome.last_scores]
    return (
        repr(outcome.rows),
        outcome.kept_epoch,
        repr(outcome.kept_value),
        weights(outcome),
        [{split: found.tobytes() for split, found in part.items()} for part in scores],
    )
