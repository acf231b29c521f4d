"""What a trained model looks at on each image: maps of three kinds, by one definition each.

Maps are computed in float32 whatever the trial's arithmetic, in evaluation mode, and are nowhere
below 0.

Shape legend: B batch, C channels, K classes, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional

from spurious.training.attribution import grad_cam, input_gradient, widen
from spurious.training.model import Embedded, Model

SALIENCY, GRAD_CAM, PREDICTION = "saliency", "grad-cam", "prediction"
EXPLANATIONS: Mapping[str, str] = {
    SALIENCY: (
        "absolute gradient of the score by the image, summed over channels; the score is a "
        "classifier's log-odds of label 1, or the mean over pixels of a segmenter's probability"
    ),
    GRAD_CAM: (
        "Grad-CAM of the predicted class on the last feature maps, enlarged to the image "
        "bilinearly; of classifiers that have such maps"
    ),
    PREDICTION: "probability of the abnormality at each pixel; of segmenters",
}


def explain(
    model: Model, x: torch.Tensor, *, segments: bool, positive: Sequence[int] = (-1,)
) -> dict[str, torch.Tensor]:
    """Return the maps of some images, each (B, H, W) float32 on the CPU, by kind.

    Args:
        model: In evaluation mode.
        x: (B, C, H, W) float32.
        segments: Whether its logits are of pixels.
        positive: A classifier's classes that are abnormal.
    """
    images = x.detach().requires_grad_()
    with torch.enable_grad():
        output = model.embedded(images)
        score = score_of(output.logits, segments=segments, positive=positive)
        gradient = input_gradient(score, images)
    maps = {SALIENCY: gradient.detach().abs().sum(dim=1)}
    if segments:
        maps[PREDICTION] = widen(output.logits.detach()).softmax(dim=1)[:, -1]
    elif output.maps is not None:
        maps[GRAD_CAM] = _enlarged_cam(output, (x.shape[2], x.shape[3]))
    return {kind: values.float().cpu() for kind, values in maps.items()}


def score_of(
    logits: torch.Tensor, *, segments: bool, positive: Sequence[int] = (-1,)
) -> torch.Tensor:
    """Return what saliency is the gradient of, (B,).

    A probability would do for a classifier but for its gradient, which is 0 in float32 where the
    model is certain; log-odds have the same direction.

    Args:
        logits: (B, K); or (B, K, H, W), the score of the last class.
        segments: Whether they are of pixels.
        positive: Of the former, the classes whose log-odds they are.
    """
    values = widen(logits)
    if segments:
        return values.softmax(dim=1)[:, -1].mean(dim=(1, 2))
    abnormal = torch.zeros(values.shape[1], dtype=torch.bool)
    abnormal[list(positive)] = True
    return values[:, abnormal].logsumexp(dim=1) - values[:, ~abnormal].logsumexp(dim=1)


def _enlarged_cam(output: Embedded, size: tuple[int, int]) -> torch.Tensor:
    assert output.maps is not None
    predicted = output.logits.detach().argmax(dim=1)
    cam = grad_cam(output.logits, predicted, output.maps, rectify=True).detach()
    return functional.interpolate(cam[:, None], size, mode="bilinear", align_corners=False)[:, 0]
