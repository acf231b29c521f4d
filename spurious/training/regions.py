"""Drawn regions as methods use them: dilated, and everything outside them shuffled.

Shape legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import torch
from torch.nn import functional


def dilate(regions: torch.Tensor, radius: int) -> torch.Tensor:
    """Grow regions by a square of `radius` pixels to each side, (B, H, W) bool to the same."""
    if not radius:
        return regions
    size = 2 * radius + 1
    grown = functional.max_pool2d(regions[:, None].float(), size, stride=1, padding=radius)
    return grown[:, 0] > 0


def shuffle_outside(
    x: torch.Tensor, inside: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Permute an image's values outside its region, over all pixels and channels together.

    The values stay what they are, and so do all inside (`x_masked` of Viviano et al. 2019).

    Args:
        x: (B, C, H, W).
        inside: (B, H, W) bool; an image that is all inside stays as it is.
        generator: On the CPU, so that every device shuffles alike.

    Returns:
        A new tensor of the shape of `x`.
    """
    shuffled = x.detach().clone()
    for image, region in zip(shuffled, inside, strict=True):
        moved = ~region
        values = image[:, moved]
        order = torch.randperm(values.numel(), generator=generator)
        image[:, moved] = values.flatten()[order.to(x.device)].view_as(values)
    return shuffled
