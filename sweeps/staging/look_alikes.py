"""Counts images of different splits that look alike, and warns of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from cluster.common.wording import count_of
from spurious.data.near_duplicates import find_near_pairs

_SHOWN = 5
_log = logging.getLogger("sweeps.staging.stage")


def report_look_alikes(
    name: str, prints: Mapping[str, bytes], splits: Mapping[str, str]
) -> dict[str, str]:
    """Warn of pairs of images in different splits that look alike.

    Args:
        name: Name of the dataset.
        prints: Fingerprint by sample id, see `spurious.data.near_duplicates`.
        splits: Split by sample id.

    Returns:
        What the manifest's provenance says of them: nothing where there are none.
    """
    count, pairs = find_near_pairs(prints, splits, most=1000)
    if not count:
        return {}
    shown = [
        f"{pair.first} ({splits[pair.first]}) and {pair.second} ({splits[pair.second]})"
        for pair in pairs[:_SHOWN]
    ]
    more = f"; and {count - len(shown)} more" if count > len(shown) else ""
    text = f"{count_of(count, 'pair')} of images in different splits: {'; '.join(shown)}{more}"
    _log.warning(
        "dataset '%s' has near copies, %s; what a model has seen in training it may only remember "
        "in test: look at them, and leave one of each out",
        name,
        text,
    )
    return {"near_copies": text}
