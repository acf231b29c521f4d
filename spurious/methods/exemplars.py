"""Two exemplary explanations by a first model: how they are picked, and what is compared with them.

Shape legend: N and B images, C channels, H height, W width, h and w of feature maps.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from spurious.config.exemplars import Exbl
from spurious.data.batches import Batch
from spurious.errors import ConfigError
from spurious.methods.base import TrainingProblem
from spurious.methods.covering import count_covering
from spurious.methods.steered import require_maps
from spurious.scoring.explanations import activation_precision, share_inside
from spurious.training.attribution import grad_cam, scale_to_unit
from spurious.training.evaluate import layout
from spurious.training.model import Embedded, Model
from spurious.training.objective import Forward

_BATCH = 64
"""Images per forward pass; fixed, so that the options of training do not touch the choice."""
Grid = Literal["image", "map"]


class Exemplar(NamedTuple):
    """An example.

    Attributes:
        row: Of its image, in the dataset's ascending order of ids.
        precision: The explanation's activation precision; NaN where no rule asked for it.
        product: (C, H, W) or (C, h, w) float32, image times explanation, without a graph.
    """

    row: int
    precision: float
    product: torch.Tensor


def explain(output: Embedded) -> torch.Tensor:
    """Return Grad-CAM of the predicted class, each from 0 to 1, (B, h, w) with its graph."""
    predicted = output.logits.argmax(dim=1)
    maps = require_maps(output)
    return scale_to_unit(grad_cam(output.logits, predicted, maps, rectify=True))


def multiply(x: torch.Tensor, cam: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Multiply images with their explanations, all channels alike.

    Args:
        x: (B, C, H, W), as the model takes them.
        cam: (B, h, w).
        grid: `image` enlarges maps bilinearly, `map` shrinks images to the mean of each cell.

    Returns:
        (B, C, H, W) or (B, C, h, w).
    """
    if grid == "map":
        height, width = cam.shape[1:]
        return functional.adaptive_avg_pool2d(x, (height, width)) * cam[:, None]
    return x * enlarge(cam, (x.shape[2], x.shape[3]))


def enlarge(cam: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Enlarge maps bilinearly, (B, h, w) to (B, 1, H, W)."""
    return functional.interpolate(cam[:, None], size, mode="bilinear", align_corners=False)


def require_regions(problem: TrainingProblem) -> None:
    """Refuse images that the rule cannot pick from, before anything trains.

    Raises:
        ConfigError: fewer than two have a region that leaves something of the image outside.
    """
    images, specificity = problem.examined, problem.config.specificity
    assert images is not None
    counted = count_covering(images)
    if counted.regions - counted.covering >= 2:
        return
    remedy = "raise the budget"
    if counted.covering:
        remedy = "use label and name good and bad"
        remedy = f"use a larger r, or {remedy}" if specificity.kind == "r" else remedy
    raise ConfigError(
        "rule: activation_precision needs two images with a region that leaves something outside, "
        f"and of {len(images)} images {counted.regions} have a region, of which {counted.covering} "
        f"cover the whole image; {remedy}"
    )


def _require_explanations(judged: NDArray[np.float64]) -> None:
    """Refuse explanations of which fewer than two are more than zeros."""
    known = int((~np.isnan(judged).any(axis=1)).sum())
    if known < 2:
        raise ConfigError(
            "rule: activation_precision needs two explanations, and the first model's are 0 "
            f"everywhere on all images with a region but {known}; give it other training, such as "
            "a larger first_epochs"
        )


def find_exemplars(
    problem: TrainingProblem, options: Exbl, model: Model
) -> tuple[Exemplar, Exemplar]:
    """Return the good and the bad one.

    Args:
        problem: `examined` holds the two named images, or those that the rule picks from.
        options: Of the method.
        model: The first model, in evaluation mode.

    Raises:
        ConfigError: fewer than two images with a region have an explanation that is not empty, or
            the explanation of a named image is empty.
    """
    images = problem.examined
    assert images is not None
    precisions = np.full(len(images), np.nan)
    chosen = np.array([0, 1])
    if options.named is None:
        judged = judge(problem, model)
        _require_explanations(judged)
        precisions, chosen = judged[:, 0], pick_extremes(judged)
    stored = next(iter(images.under("none").batches([chosen], 0)))
    batch = stored.to(problem.device, layout(problem.train))
    cam = _explain_batch(problem, model, batch)
    empty = ~(cam > 0).flatten(1).any(dim=1)
    for at, name in enumerate(options.named or ()):
        if empty[at]:
            raise ConfigError(
                f"the first model's explanation of image '{name}' is 0 everywhere, so it can be no "
                "example; name another image"
            )
    products = multiply(batch.x, cam, options.grid)
    good, bad = (
        Exemplar(int(images.rows[at]), float(precisions[at]), product)
        for at, product in zip(chosen, products, strict=True)
    )
    return good, bad


def judge(problem: TrainingProblem, model: Model) -> NDArray[np.float64]:
    """Judge the explanation of each examined image, (N, 2).

    The activation precision, and the share of the whole explanation inside the region. NaN where an
    image has no region, or its explanation is 0 everywhere. Maps are enlarged to the image's size
    before.
    """
    images = problem.examined
    assert images is not None
    judged = [np.empty((0, 2))]
    for stored in images.clean(_BATCH):
        batch = stored.to(problem.device, layout(problem.train))
        assert batch.regions is not None
        inside = batch.regions.cpu().numpy()
        cam = _explain_batch(problem, model, batch)
        maps = enlarge(cam, (inside.shape[1], inside.shape[2]))[:, 0].cpu().numpy()
        usable = ~inside.all(axis=(1, 2)) & maps.any(axis=(1, 2))
        both = np.stack([activation_precision(maps, inside), share_inside(maps, inside)], axis=1)
        judged.append(np.where(np.asarray(usable)[:, None], both, np.nan))
    return np.concatenate(judged)


def pick_extremes(judged: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the positions of the highest and the lowest row, the first of equal ones, (2,) int64.

    Args:
        judged: (N, 2), two rows at least without NaN, which is never picked; of equal first values
            the second decides.

    Raises:
        ConfigError: all are equal: nothing tells good from bad.
    """
    known = np.flatnonzero(~np.isnan(judged).any(axis=1)).tolist()
    rows = {at: tuple(judged[at]) for at in known}
    if len(set(rows.values())) < 2:
        raise ConfigError(
            "rule: activation_precision needs two images whose explanations lie in their regions "
            f"to other shares, and of {len(judged)} images {len(known)} have a region and an "
            "explanation, all alike; raise the budget or, on labels, candidates"
        )
    best, worst = (choose(known, key=rows.__getitem__) for choose in (max, min))
    return np.array([best, worst])


def _explain_batch(problem: TrainingProblem, model: Model, batch: Batch) -> torch.Tensor:
    """Return explanations of images by a model in evaluation mode, (B, h, w) without a graph."""
    forward = Forward(model, problem.device, problem.train.precision == "bfloat16")
    with torch.enable_grad():
        # a model whose maps no weight that trains leads to has a gradient by its images alone
        return explain(forward.embedded(batch.x.clone().requires_grad_())).detach()
