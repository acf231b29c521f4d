"""Spurious attributes that trials were to be explained on, and whose pixels nobody knew."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from cluster.common.wording import count_of


def count_unlocated(explained: pd.DataFrame, attributes: Collection[str]) -> dict[str, int]:
    """Count the trials with explanations of which none is on an attribute's pixels.

    Args:
        explained: The result of `sweeps.report.explained.explained_frame`.
        attributes: The dataset's spurious attributes.

    Returns:
        Attribute to trials, of those attributes that have such trials, in alphabetical order.
    """
    trials = set(explained["trial_id"])
    regions = explained.groupby("region")["trial_id"].unique()
    without = {name: len(trials.difference(regions.get(name, []))) for name in sorted(attributes)}
    return {name: trials for name, trials in without.items() if trials}


def describe_unlocated(explained: pd.DataFrame, attributes: Collection[str]) -> str:
    """Return which attributes explanations are not measured on, as sentences; empty where none.

    Args:
        explained: As of `count_unlocated`.
        attributes: Likewise.
    """
    total = explained["trial_id"].nunique()
    return " ".join(
        f"{count_of(without, 'trial')} of {total:,} measured no explanation on {name}: no pixels "
        "of it were known of test images."
        for name, without in count_unlocated(explained, attributes).items()
    )
