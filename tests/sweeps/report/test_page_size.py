"""The page of a large sweep: below 5 MB with every section that grows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_tables import make, plan, report_input

from sweeps.report.build import build_report
from sweeps.results.schemas import EXAMPLES

MOST = 5_000_000
SIDE = 96


def noise(trial_id: str) -> pd.DataFrame:
    """Pictures that no compression makes small: 8 images with two maps, and means."""
    rng = np.random.default_rng(int(trial_id, 16))
    rows = []
    for i in range(8):
        for picture in ("image", "mask", "saliency", "prediction"):
            pixels = rng.integers(0, 256, SIDE * SIDE, np.uint8)
            rows.append((f"im-{i}", i // 4, picture, bool(i // 2 % 2), pixels))
    columns = ("sample_id", "label", "picture", "spurious_tube", "pixels")
    frame = pd.DataFrame(rows, columns=list(columns))
    size = {"height": SIDE, "width": SIDE, "channels": 1, "highest": 1.0}
    return frame.assign(schema_version=1, trial_id=trial_id, attempt="a1", **size)[
        [*(column.name for column in EXAMPLES), "spurious_tube"]
    ]


@pytest.mark.slow
def test_three_hundred_purchases(tmp_path: Path) -> None:
    """All draws, a frontier of dozens, training curves and pictures of noise."""
    specificities = ("label", "box", "mask", "r=2", "r=4", "r=8")
    budgets = [str(100 * k) for k in range(1, 19)]
    made = make(plan(specificities, budgets, ("erm", "jtt", "ssl", "spl")))
    assert len({one.key for one in made.planned}) == 306
    first = {one.key: str(one.trial_id) for one in reversed(made.planned)}
    examples = {trial_id: noise(trial_id) for key, trial_id in first.items() if key[2] == "spl"}
    files = build_report(report_input(made, examples=examples), tmp_path)
    page = files.page.read_text()
    assert "It carries\n4,000 draws" in page
    assert 'alt="test image im-0"' in page
    assert "which would make the page long" in page
    assert page.count("<figcaption>") > 8
    assert len(page.encode()) < MOST
