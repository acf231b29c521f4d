"""The annotated training images of a trial, batch by batch, augmented where asked.

Shape legend: B batch, H height, W width, C channels.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from spurious.config.fields import Negatives
from spurious.config.options import Specificity, Train
from spurious.data import augment
from spurious.data.batches import StoredBatch, empty_batch
from spurious.data.buffers import Buffers
from spurious.data.dataset import Dataset
from spurious.data.inputs import PackedTargets, pixel_classes, scale
from spurious.data.read_ahead import AHEAD
from spurious.data.stored_images import StoredImages

_LOCAL = threading.local()
_TOGETHER = 4
"""Images that a thread augments in one go: a task of each would cost a tenth of augmenting it."""
_Place = tuple[int, int, tuple[int, int, int]]
"""Index within a batch, position, and the draw: (epoch, view, occurrence)."""


class TrainingSet:
    """Images and supervision of some training rows; gives out nothing of the other splits.

    Attributes:
        labels: (n,) int64, what a classifier is to answer: labels, or classes; -1 where hidden.
        n_classes: K, 2 where these are labels.
        positive: (n,) bool, images of label 1, whatever the classes.

    Args:
        dataset: The dataset.
        rows: (n,) int64 rows of the training split that carry the annotation.
        specificity: Decides the targets: (B,) int64 labels or (B, H, W) int64 pixels.
        config: Augmentation and normalisation.
        seed: The trial's seed.
        workers: Threads that augment; results do not depend on it.
        hide_labels: Give -1 for every label: nobody annotated these images.
        pinned: Batches in page-locked memory, for a GPU.
        negatives: What masks of negative images count as.
        regions: (n,) bool, which images have a region that steers; labels are the targets then.
            None where the specificity decides the targets.
        by_class: Whether labels are the dataset's classes.
    """

    def __init__(
        self,
        dataset: Dataset,
        rows: NDArray[np.int64],
        specificity: Specificity,
        config: Train,
        seed: int,
        workers: int = 1,
        hide_labels: bool = False,
        *,
        pinned: bool = False,
        negatives: Negatives = "background",
        regions: NDArray[np.bool_] | None = None,
        by_class: bool = False,
    ) -> None:
        augment.check(config.augment, dataset.images.dtype)
        self.images, self.rows = dataset.images, rows
        answers = dataset.answers(by_class=by_class)
        self.labels = np.full(len(rows), -1) if hide_labels else answers[rows]
        self.n_classes = len(dataset.classes) if by_class else 2
        self.positive = dataset.labels[rows] == 1
        self.config, self.seed, self.workers, self.pinned = config, seed, workers, pinned
        self.buffers = Buffers()
        classes = pixel_classes(dataset.labels[rows], negatives)
        self.steered = regions is not None
        if regions is not None:
            classes = ((classes > 0) & regions).astype(np.int64)
        self.targets = (
            None
            if specificity.kind == "label"
            else PackedTargets(
                *(dataset.masks, rows, specificity, classes, dataset.boxes, dataset.derived)
            )
        )

    def __len__(self) -> int:
        return len(self.rows)

    def under(
        self,
        augmentation: Literal["none", "flip", "paper"],
        targets: PackedTargets | None = None,
    ) -> TrainingSet:
        """Return the same images under another augmentation, with ready pixel targets where given.

        Raises:
            ConfigError: the augmentation does not suit the images.
        """
        augment.check(augmentation, self.images.dtype)
        changed = copy(self)
        changed.config = replace(self.config, augment=augmentation)
        changed.targets = self.targets if targets is None else targets
        return changed

    def batches(
        self, order: Sequence[NDArray[np.int64]], epoch: int, view: int = 0
    ) -> Iterator[StoredBatch]:
        """Yield a batch for each array of positions of an epoch.

        Copies of an image within the epoch are augmented by other draws each, and so is another
        `view`.
        """
        if self.config.augment == "none":
            yield from self._stored().read(order)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            pending: deque[tuple[StoredBatch, list[Future[None]]]] = deque()
            drawn: Counter[int] = Counter()
            for positions in order:
                batch, places = self._empty_batch(positions), []
                for index, position in enumerate(map(int, positions)):
                    places.append((index, position, (epoch, view, drawn[position])))
                    drawn[position] += 1
                parts = [places[at : at + _TOGETHER] for at in range(0, len(places), _TOGETHER)]
                tasks = [pool.submit(self._augment_into, batch, part) for part in parts]
                pending.append((batch, tasks))
                if len(pending) > AHEAD:
                    yield _finish(*pending.popleft())
            while pending:
                yield _finish(*pending.popleft())

    def clean(self, batch_size: int) -> Iterator[StoredBatch]:
        """Every image once, in order, not augmented: what a trained model is looked at with."""
        return self._stored().read_in_order(batch_size)

    def _stored(self) -> StoredImages:
        return StoredImages(
            self.images,
            self.rows,
            self.labels,
            self.targets,
            self.config.normalise,
            self.pinned,
            self.buffers,
            self.steered,
        )

    def _empty_batch(self, positions: NDArray[np.int64]) -> StoredBatch:
        """Return a batch that threads fill image by image, so that nothing is copied again."""
        shape = (len(positions), *self.images.shape[1:])
        pixels, labels = None, self.labels[positions]
        if self.targets is not None:
            pixels = empty_batch(shape[:3], np.bool_, self.buffers, pinned=self.pinned)
            labels = labels if self.steered else self.targets.classes[positions]
        return StoredBatch(
            empty_batch(shape, np.float32, self.buffers, pinned=self.pinned),
            pixels,
            torch.from_numpy(labels),
            torch.from_numpy(positions),
            self.config.normalise,
            scaled=np.issubdtype(self.images.dtype, np.integer),
            steered=self.steered,
        )

    def _augment_into(self, batch: StoredBatch, places: Sequence[_Place]) -> None:
        """Fill some places of a batch."""
        images, memory = batch.images.numpy(), self._memory()
        pixels = None if batch.pixels is None else batch.pixels.numpy()
        for index, position, (epoch, view, occurrence) in places:
            row = int(self.rows[position])
            target = None if self.targets is None else self.targets[np.array([position])][0]
            images[index], warped = augment.augment_batch(
                self.config.augment,
                scale(np.asarray(self.images[row]), memory),
                target,
                seed=self.seed,
                epoch=epoch,
                sample=row,
                view=view,
                occurrence=occurrence,
            )
            if pixels is not None:
                pixels[index] = warped

    def _memory(self) -> NDArray[np.float32]:
        """Return a thread's memory for an image: new one for each would be zeroed by the system."""
        shape = self.images.shape[1:]
        memory: NDArray[np.float32] | None = getattr(_LOCAL, "memory", None)
        if memory is None or memory.shape != shape:
            memory = _LOCAL.memory = np.empty(shape, np.float32)
        return memory


def _finish(batch: StoredBatch, tasks: list[Future[None]]) -> StoredBatch:
    """Wait for a batch's images; raises what augmenting one of them raised."""
    for task in tasks:
        task.result()
    return batch
