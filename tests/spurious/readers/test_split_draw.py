"""Splitting by patient: what is promised of the shares, and that draws stay what they were."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest

from spurious.config.releases import RsnaPneumoniaOptions
from spurious.data.splits import SPLITS
from spurious.readers.split_draw import Case, draw_splits, split_by_patient

SHARES = (0.7, 0.1, 0.2)


def make_cases(patients: int, seed: int = 0) -> dict[str, Case]:
    """Patients of one to four images each, with a rare group."""
    random = np.random.default_rng(seed)
    cases = {}
    for patient in range(patients):
        for image in range(random.integers(1, 5)):
            label = int(random.random() < 0.3)
            ruler = bool(random.random() < (0.8 if label else 0.1))
            ink = None if random.random() < 0.5 else bool(random.random() < 0.5)
            cases[f"{patient}-{image}"] = Case(f"p{patient}", label, {"ruler": ruler, "ink": ink})
    return cases


@pytest.mark.parametrize("seed", range(3))
def test_every_group_is_shared_out_and_no_patient_is(seed: int) -> None:
    """Each group of label and attribute comes within two images, or 5 %, of its share."""
    cases = make_cases(300)
    splits = split_by_patient(cases, SHARES, seed)
    assert splits.keys() == cases.keys()
    of_patient = {(case.patient, splits[image]) for image, case in cases.items()}
    assert len(of_patient) == 300
    groups = Counter((c.label, c.attributes["ruler"], splits[i]) for i, c in cases.items())
    totals = Counter((c.label, c.attributes["ruler"]) for c in cases.values())
    for split, share in zip(SPLITS, SHARES, strict=True):
        for group, total in totals.items():
            assert abs(groups[*group, split] - share * total) <= max(2, 0.05 * total)


def test_the_seed_and_ids_alone_decide() -> None:
    """Not the order of rows; another seed places other patients."""
    cases = make_cases(60)
    splits = split_by_patient(cases, SHARES, 0)
    backwards = dict(reversed(cases.items()))
    assert split_by_patient(backwards, SHARES, 0) == splits
    assert split_by_patient(cases, SHARES, 1) != splits


def test_few_images_reach_every_split() -> None:
    """Ten images of each label, a patient each."""
    cases = {f"{i}": Case(f"{i}", i % 2, {}) for i in range(20)}
    held = Counter((split, int(i) % 2) for i, split in split_by_patient(cases, SHARES, 0).items())
    assert held == {(s, y): n for s, n in zip(SPLITS, (7, 1, 2), strict=True) for y in (0, 1)}


def test_draws_are_those_of_staged_datasets() -> None:
    """Of releases and of own folders: another draw would be another dataset of the same name."""

    def shorten(splits: Mapping[str, str]) -> str:
        return hashlib.sha256(json.dumps(sorted(splits.items())).encode()).hexdigest()[:16]

    cases = make_cases(60)
    assert shorten(split_by_patient(cases, SHARES, 3)) == "fcf05ce1c7b7fa97"
    patients = {image: case.patient for image, case in cases.items()}
    strata = {image: (c.label, int(c.attributes["ruler"] or 0)) for image, c in cases.items()}
    options = RsnaPneumoniaOptions(split="0.7/0.1/0.2", seed=3)
    splits = draw_splits(patients, strata, options)
    assert shorten(splits) == "7a375136b9e74505"
    assert len({(patients[image], split) for image, split in splits.items()}) == 60
