"""Options of the readers of released datasets; `spurious.config.datasets.READERS` lists them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from spurious.config.fields import Pattern, Seed, problems

Side = Annotated[int, Ge(8), Le(4096)]
Shares = Annotated[
    str,
    Pattern(
        r"(0|1|0?\.[0-9]{1,6})(/(0|1|0?\.[0-9]{1,6})){2}",
        "three shares that add up to 1, as '0.7/0.1/0.2'",
    ),
]
"""Shares of train, val and test."""


COVID_CLASSES = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
"""Of the COVID-19 Radiography Database, as its folders are called."""


def parse_shares(shares: str) -> tuple[float, float, float]:
    """Return the shares of train, val and test."""
    train, val, test = (float(share) for share in shares.split("/"))
    return train, val, test


def parse_names(names: str) -> tuple[str, ...]:
    """Return the names in a list with commas, such as findings that count as positive."""
    return tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))


def _find_problems(options: Any) -> list[str]:
    """Return what is wrong with shares and with lists of names."""
    found = []
    shares = parse_shares(options.split) if hasattr(options, "split") else (0.5, 0.25, 0.25)
    if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        found.append(
            f"split {options.split} adds up to {sum(shares):g}; expected three shares above 0 that "
            "add up to 1"
        )
    positive = parse_names(getattr(options, "positive", "any"))
    if not positive:
        found.append("positive names no finding; expected one or more, with commas between them")
    for name in parse_names(getattr(options, "attributes", "")):
        if name in positive:
            found.append(f"attributes has {name}, which is positive; expected other findings")
    return found


def name_attribute(finding: str) -> str:
    """Return a finding's name as that of an attribute: `Pleural effusion` is `pleural_effusion`."""
    return re.sub(r"[^a-z0-9]+", "_", finding.lower()).strip("_")


@dataclass(frozen=True, kw_only=True)
class CovidRadiographyOptions:
    """How the COVID-19 Radiography Database is read and down-sampled, with masks of the lungs.

    Attributes:
        image_size: Side of the staged images in pixels; films have 299.
        positive: Classes of label 1, with commas between them: COVID, Lung_Opacity, Normal, Viral
            Pneumonia.
        negative: Classes of label 0, likewise; empty: all others.
        source: A part of the URLs in the workbooks; films from there have the attribute `source`.
            Empty: the set has no attribute.
        split: Shares of train, val and test, which are drawn.
        seed: Another seed draws other splits.
    """

    image_size: Annotated[int, Ge(8), Le(299)] = 256
    positive: str = "COVID"
    negative: str = ""
    source: str = ""
    split: Shares = "0.7/0.1/0.2"
    seed: Seed = 0


@problems.register(CovidRadiographyOptions)
def _(options: CovidRadiographyOptions) -> list[str]:
    found = _find_problems(options)
    for option in ("positive", "negative"):
        for name in parse_names(getattr(options, option)):
            if name not in COVID_CLASSES:
                found.append(f"{option} has '{name}'; expected some of {', '.join(COVID_CLASSES)}")
    if both := {*parse_names(options.positive)} & {*parse_names(options.negative)}:
        found.append(f"negative has {min(both)}, which is positive; expected other classes")
    if {*COVID_CLASSES} <= {*parse_names(options.positive)}:
        found.append("positive has all classes, so none is left for label 0")
    return found


@dataclass(frozen=True, kw_only=True)
class RsnaPneumoniaOptions:
    """How the RSNA pneumonia challenge is read and down-sampled: boxes, no masks.

    Attributes:
        image_size: Side of the staged images in pixels.
        split: Shares of train, val and test, which the release does not name.
        seed: Another seed draws other splits.
    """

    image_size: Side = 512
    split: Shares = "0.7/0.1/0.2"
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class VindrCxrOptions:
    """How VinDr-CXR is read and down-sampled: boxes of several readers, fused; no masks.

    Attributes:
        image_size: Side of the staged images in pixels.
        positive: Findings of label 1, with commas between them.
        attributes: Findings that are the spurious attributes, likewise.
        min_readers: Fewest radiologists who drew a box that is kept.
        overlap: Intersection over union from which two boxes are of one finding.
        disputed: What films are on which fewer drew a positive finding.
        split: Shares of train, val and test, which are drawn.
        seed: Another seed draws other splits.
    """

    image_size: Side = 512
    positive: str = "Pneumothorax"
    attributes: str = "Pleural effusion"
    min_readers: Annotated[int, Ge(1), Le(17)] = 2
    overlap: Annotated[float, Gt(0.0), Le(1.0)] = 0.4
    disputed: Literal["negative", "leave-out"] = "negative"
    split: Shares = "0.7/0.1/0.2"
    seed: Seed = 0


for _cls in (RsnaPneumoniaOptions, VindrCxrOptions):
    problems.register(_cls)(_find_problems)
