"""Architectures of timm and segmentation-models-pytorch, so that a plan knows them without torch.

`architectures.tsv` has a line for each, written by `python -m docs.generate.architectures`; a test
compares its names with the libraries' and some of its lines with what they compute.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

_TABLE = Path(__file__).with_name("architectures.tsv")
_SIDES = re.compile(r"(=?)([0-9]+)(?:>=([0-9]+))?")


class Sides(NamedTuple):
    """Image sides that a model takes, in pixels.

    Attributes:
        multiple: Both sides are multiples of it.
        least: Both sides are at least this long.
        fixed: Both sides have exactly `multiple` pixels.
    """

    multiple: int = 1
    least: int = 1
    fixed: bool = False

    def __str__(self) -> str:
        if self.fixed:
            return f"of exactly {self.multiple} pixels"
        least = f" and at least {self.least} pixels" if self.least > self.multiple else ""
        return f"that are multiples of {self.multiple}{least}"

    def take(self, height: int, width: int) -> bool:
        """Check an image's sides."""
        if self.fixed:
            return height == width == self.multiple
        whole = height % self.multiple == width % self.multiple == 0
        return whole and min(height, width) >= self.least


class Architecture(NamedTuple):
    """A line of the table.

    Attributes:
        classifier: Image sides as a classifier, or None where it cannot be one.
        encoder: Image sides of a U-Net on it, or None where it cannot be an encoder.
        maps: Whether a classifier has feature maps before it pools them; transformers have tokens.
        classifier_numbers: Of its tensors as a classifier without the last layer; None where it
            cannot be one.
        unet_numbers: Of a U-Net on it; likewise.
        sketch: The smallest hashes of its tensors' names and shapes, see
            `spurious.training.released.sketch`.
    """

    classifier: Sides | None
    encoder: Sides | None
    maps: bool
    classifier_numbers: int | None
    unet_numbers: int | None
    sketch: frozenset[str]


@cache
def timm_architectures() -> Mapping[str, Architecture]:
    """Return the architectures of timm: name to what it takes."""
    return {
        name: Architecture(
            _parse_sides(classifier),
            _parse_sides(encoder),
            maps == "maps",
            _parse_number(of_classifier),
            _parse_number(of_unet),
            _split_sketch(sketch),
        )
        for library, name, classifier, encoder, maps, of_classifier, of_unet, sketch in _rows()
        if library == "timm"
    }


@cache
def encoder_sketches() -> Mapping[str, frozenset[str]]:
    """Return the encoders of segmentation-models-pytorch: name to sketch."""
    return {name: _split_sketch(row[-1]) for library, name, *row in _rows() if library == "smp"}


@cache
def unet_parameters() -> Mapping[str, int]:
    """Return the encoders of segmentation-models-pytorch: name to the numbers of a U-Net on it."""
    return {name: int(row[-2]) for library, name, *row in _rows() if library == "smp"}


def _parse_number(text: str) -> int | None:
    return None if text == "-" else int(text)


def _rows() -> list[list[str]]:
    lines = _TABLE.read_text(encoding="ascii").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


def _split_sketch(text: str) -> frozenset[str]:
    return frozenset(text[start : start + 8] for start in range(0, len(text), 8))


def _parse_sides(text: str) -> Sides | None:
    if text == "-":
        return None
    match = _SIDES.fullmatch(text)
    assert match is not None, text
    fixed, multiple, least = match.groups()
    return Sides(int(multiple), int(least or 1), bool(fixed))
