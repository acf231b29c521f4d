"""Types, parsers and checks that options of released datasets share."""

from __future__ import annotations

import re
from typing import Annotated, Any

from annotated_types import Ge, Le

from spurious.config.fields import Pattern

Side = Annotated[int, Ge(8), Le(4096)]
_SHARES = r"(0|1|0?\.[0-9]{1,6})(/(0|1|0?\.[0-9]{1,6})){2}"
_MEANING = "three shares that add up to 1, as '0.7/0.1/0.2'"
Shares = Annotated[str, Pattern(_SHARES, _MEANING)]
"""Shares of train, val and test."""
SharesOrNone = Annotated[str, Pattern(rf"|{_SHARES}", f"{_MEANING}, or nothing")]
"""Empty where the release names its splits."""
Window = Annotated[
    str,
    Pattern("full|data|percentile|[0-9]{1,5}/[0-9]{1,5}", "full, data, percentile or LOW/HIGH"),
]
"""How more than 8 bits become 8, see `spurious.readers.windows`."""
VolumeWindow = Annotated[
    str,
    Pattern("data|percentile|-?[0-9]{1,5}/-?[0-9]{1,5}", "data, percentile or LOW/HIGH"),
]
"""Likewise of a volume, whose values may be negative."""


def parse_shares(shares: str) -> tuple[float, float, float]:
    """Return the shares of train, val and test."""
    train, val, test = (float(share) for share in shares.split("/"))
    return train, val, test


def parse_names(names: str) -> tuple[str, ...]:
    """Return the names in a list with commas, such as findings that count as positive."""
    return tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))


def find_share_problems(split: str) -> list[str]:
    """Return what is wrong with the shares of splits."""
    shares = parse_shares(split)
    if min(shares) > 0 and abs(sum(shares) - 1) <= 1e-6:
        return []
    return [
        f"split {split} adds up to {sum(shares):g}; expected three shares above 0 that add up to 1"
    ]


def find_release_problems(options: Any) -> list[str]:
    """Return what is wrong with shares and with lists of names."""
    messages = find_share_problems(getattr(options, "split", "") or "0.5/0.25/0.25")
    positive = parse_names(getattr(options, "positive", "any"))
    if not positive:
        messages.append("positive names no finding; expected one or more, with commas between them")
    for name in parse_names(getattr(options, "attributes", "")):
        if name in positive:
            messages.append(f"attributes has {name}, which is positive; expected other findings")
    if getattr(options, "attribute", None) in positive:
        messages.append(
            f"attribute is {options.attribute}, as positive is; expected another finding"
        )
    return messages


def name_attribute(finding: str) -> str:
    """Return a finding's name as that of an attribute: `Pleural effusion` is `pleural_effusion`."""
    return re.sub(r"[^a-z0-9]+", "_", finding.lower()).strip("_")
