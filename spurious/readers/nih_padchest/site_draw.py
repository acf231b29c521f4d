"""Draws a set of two sites in which the site goes with the label, and turns round in val and test.

Source: Viviano et al. 2021 (saliency is a possible red herring): one film a patient, as many
positives as negatives, and a chosen share of the positives of one site.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise

from spurious.config.release_fields import parse_shares
from spurious.data.splits import SPLITS


@dataclass(frozen=True)
class Candidate:
    """A film that may be drawn; `site` is True for the site that goes with the label in train."""

    patient: str
    site: bool
    label: int


def draw_sites(
    films: Mapping[str, Candidate], correlation: float, shares: str, seed: int, most: int | None
) -> dict[str, str]:
    """Draw the split of every film that is taken; the others are left out.

    Of each split half of the films are positive. In train the share `correlation` of the positives
    is of one site, and of the negatives of the other; in val and test it is 1 - `correlation`. The
    set is the largest for which all four groups have enough patients.

    Args:
        films: By id.
        correlation: In [0, 1].
        shares: Of train, val and test.
        seed: Another seed draws other films.
        most: Films in all, at most; None for as many as there are.

    Returns:
        Film to split.
    """
    groups: dict[tuple[bool, int], list[str]] = defaultdict(list)
    for film in _one_a_patient(films, seed):
        groups[films[film].site, films[film].label].append(film)
    parts = {
        (site, label): [
            share * 0.5 * (rate if site == bool(label) else 1 - rate)
            for share, rate in zip(
                parse_shares(shares), (correlation, 1 - correlation, 1 - correlation), strict=True
            )
        ]
        for site in (False, True)
        for label in (0, 1)
    }
    needs = {group: sum(part) for group, part in parts.items() if sum(part) > 0}
    total = min(len(groups[group]) / need for group, need in needs.items())
    total = total if most is None else min(total, most)
    splits: dict[str, str] = {}
    for group, part in parts.items():
        cuts = [0, *(int(total * share + 1e-9) for share in accumulate(part))]
        for split, (begin, end) in zip(SPLITS, pairwise(cuts), strict=True):
            splits |= dict.fromkeys(groups[group][begin:end], split)
    return splits


def _one_a_patient(films: Mapping[str, Candidate], seed: int) -> list[str]:
    """Return one film of each patient, a positive one where there is any, in a seeded order."""
    order = sorted(films, key=lambda film: _hash(seed, film))
    chosen: dict[tuple[bool, str], str] = {}
    for film in order:
        candidate = films[film]
        key = (candidate.site, candidate.patient)
        known = chosen.get(key)
        if known is None or films[known].label < candidate.label:
            chosen[key] = film
    return sorted(chosen.values(), key=lambda film: _hash(seed, film))


def _hash(seed: int, film: str) -> bytes:
    return hashlib.sha256(f"{seed}/{film}".encode()).digest()
