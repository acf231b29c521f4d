"""What a dataset's masks are of: the abnormality, or a region of every image. Imports no numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from spurious.config.fields import MaskOf

__all__ = ["OUTLINES", "MaskOf", "is_region", "read_mask_of"]

OUTLINES: Final[Mapping[MaskOf, int]] = {"lungs": 2, "heart": 1, "region": 1, "circle": 0}
"""Outlines that an annotator draws on an image, by the region that a mask is of."""


def is_region(mask_of: MaskOf) -> bool:
    """Return whether masks are of a region of every image, and not of the abnormality."""
    return mask_of in OUTLINES


def read_mask_of(provenance: Mapping[str, str]) -> MaskOf:
    """Return what a dataset's masks are of, from its manifest's provenance.

    Readers of releases with regions name them under `mask`, where others describe their masks in
    words; `folder` names them under `mask_of`.
    """
    named = provenance.get("mask_of", provenance.get("mask", ""))
    return next((region for region in OUTLINES if region == named), "abnormality")
