"""Random purchases with random draws, for tests of what is advised."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from sweeps.report.advice import SCALE, Offer

PRICES = {
    **{"wage_per_hour": 100.0, "seconds_per_click": 1.0, "label": 1.0, "box": 2.0, "mask": 45.0},
    **{"r": 2.0, "spurious_label": 1.0, "region": 45.0, "ranked_pair": 2.0},
}
AXIS = ("training", "spurious_labels", "validation")
ITEMS = {"training": ("label", "box", "mask"), "validation": ("label", "mask")}


def market(seed: int, number: int = 7, draws: int = 60) -> tuple[list[Offer], Any]:
    """Random offers, some of them alike, and random draws with ties."""
    pick = random.Random(seed)
    offers = []
    for i in range(number):
        items = [
            (part, pick.choice(names), float(pick.choice([0, 10, 20, 40])))
            for part, names in ITEMS.items()
        ]
        mean = pick.choice([0.5, 0.7, 0.7, 0.9, pick.random()])
        compute = pick.choice([0.0, 3.0])
        offers.append(Offer(f"offer {i}", items, compute, mean, pick.random() < 0.8))
    table = [
        [pick.choice([pick.randrange(SCALE + 1), 40_000]) for _ in offers] for _ in range(draws)
    ]
    return offers, np.array(table, np.int64)
