"""What a classifier's output depends on: gradients of its input, and Grad-CAM.

Both keep their graph where a loss is made of them.

Shape legend: B batch, C channels, H height, W width, D feature maps of h x w, K classes.
"""

from __future__ import annotations

import torch

from spurious.training.second_order import for_inputs_alone


def widen(values: torch.Tensor) -> torch.Tensor:
    """Return values in float32 at least."""
    return values if values.dtype == torch.float64 else values.float()


def input_gradient(output: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Differentiate the sum of an output by the images, with the graph; (B, C, H, W)."""
    with for_inputs_alone():
        (gradient,) = torch.autograd.grad(output.sum(), x, create_graph=True)
    return widen(gradient)


def contrast(logits: torch.Tensor) -> torch.Tensor:
    """Return |y0 - y1| of two logits, (B, 2) to (B,) float32."""
    return (widen(logits[:, 0]) - widen(logits[:, 1])).abs()


def log_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Return the sum over classes of log p, (B, K) to (B,) float32."""
    return widen(logits).log_softmax(dim=1).sum(dim=1)


def grad_cam(
    logits: torch.Tensor, classes: torch.Tensor, maps: torch.Tensor, *, rectify: bool
) -> torch.Tensor:
    """Weigh feature maps by the mean of a class's gradient over them (Selvaraju et al. 2017).

    Args:
        logits: (B, K), computed from the maps.
        classes: (B,) int64.
        maps: (B, D, h, w).
        rectify: Keep the positive part alone.

    Returns:
        (B, h, w) float32, with its graph.
    """
    chosen = logits.gather(1, classes[:, None]).sum()
    (gradient,) = torch.autograd.grad(chosen, maps, create_graph=True)
    weights = widen(gradient).mean(dim=(2, 3), keepdim=True)
    cam = (weights * widen(maps)).sum(dim=1)
    return cam.relu() if rectify else cam


def scale_to_unit(cam: torch.Tensor) -> torch.Tensor:
    """Shift and divide each map so that it runs from 0 to 1, (B, h, w); an even one becomes 0."""
    lowest = cam.flatten(1).min(dim=1).values[:, None, None]
    shifted = cam - lowest
    return shifted / (shifted.flatten(1).max(dim=1).values[:, None, None] + 1e-6)
