"""Options of the readers of released datasets; `spurious.config.datasets.READERS` lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

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


def parse_shares(shares: str) -> tuple[float, float, float]:
    """Return the shares of train, val and test."""
    train, val, test = (float(share) for share in shares.split("/"))
    return train, val, test


def parse_names(names: str) -> tuple[str, ...]:
    """Return the names in a list with commas, such as findings that count as positive."""
    return tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))


def find_share_problem(shares: str) -> list[str]:
    """Return what is wrong with shares, for `problems` of options that have a `split`."""
    parsed = parse_shares(shares)
    if min(parsed) > 0 and abs(sum(parsed) - 1) < 1e-6:
        return []
    return [f"split {shares} adds up to {sum(parsed):g}; expected three shares above 0 of 1"]


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


@problems.register(RsnaPneumoniaOptions)
def _(options: RsnaPneumoniaOptions) -> list[str]:
    return find_share_problem(options.split)
