"""The dermoscopy phantom: what it draws and how artefacts go with the label."""

from __future__ import annotations

from pathlib import Path

import pytest

from spurious.errors import DataError
from spurious.generators.skin.isic_writer import write_isic
from spurious.generators.skin.skin_phantom import DRAWN, Case, SkinPhantom, draw_cases, render_case

PHANTOM = SkinPhantom(n_train=12, n_val=6, n_test=8, prevalence=0.5, width=96, seed=3)


def test_the_phantom_turns_artefacts_round_in_test() -> None:
    """Shares are met exactly in each split and label, in the directions of the release."""
    config = SkinPhantom(n_train=50, n_val=20, n_test=30, prevalence=0.4, agreement=0.7)
    drawn = draw_cases(config)
    for split, size, agreement in (("train", 50, 0.7), ("val", 20, 0.7), ("test", 30, 0.2)):
        for malignant in (True, False):
            here = [c for c in drawn if (c.split, c.malignant) == (split, malignant)]
            assert len(here) == size * (0.4 if malignant else 0.6)
            for name, (direction, _) in DRAWN.items():
                agreeing = sum(c.artefacts[name] == (malignant == (direction > 0)) for c in here)
                assert agreeing == round(len(here) * agreement)


def test_the_same_options_give_the_same_pixels(tmp_path: Path) -> None:
    """All files of two phantoms are equal; another seed draws others."""
    write_isic(tmp_path / "once", PHANTOM)
    write_isic(tmp_path / "again", PHANTOM)
    for path in sorted((tmp_path / "once").rglob("*.*")):
        assert (
            tmp_path / "again" / path.relative_to(tmp_path / "once")
        ).read_bytes() == path.read_bytes()
    assert draw_cases(PHANTOM) != draw_cases(SkinPhantom(n_train=12, n_val=6, n_test=8, seed=4))
    with pytest.raises(DataError, match="not empty"):
        write_isic(tmp_path / "again", PHANTOM)


def test_without_contrast_lesions_do_not_tell() -> None:
    """The label alone changes nothing in an image of contrast 0, and much in one of contrast 1."""
    [case, *_] = draw_cases(PHANTOM)
    other = Case(case.number, case.split, not case.malignant, case.artefacts)
    for contrast, alike in ((0.0, True), (1.0, False)):
        config = SkinPhantom(width=96, contrast=contrast, seed=3)
        first, second = (render_case(config, of)[0] for of in (case, other))
        assert (first == second).all() == alike
