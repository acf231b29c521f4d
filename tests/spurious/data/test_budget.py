"""Which training images carry the annotation."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_data import SMALL, fit_config, squares

from spurious.config.fields import SupervisionKind
from spurious.config.options import Budget
from spurious.data.budget import draw, maximum
from spurious.data.drawn import BOXES, MASK
from spurious.errors import ConfigError
from spurious.fit import annotated_rows

DIGEST = "a" * 64
LABELS = (np.random.default_rng(0).random(400) < 0.3).astype(np.int64)


@given(
    labels=st.lists(st.integers(0, 1), min_size=4, max_size=60),
    seed=st.integers(0, 2**31 - 1),
    balance=st.sampled_from(["equal", "natural"]),
)
def test_draws_are_nested_and_balanced(labels: list[int], seed: int, balance: str) -> None:
    """Every budget contains all smaller ones; `equal` is half positive, odd ones one more."""
    y = np.array(labels, dtype=np.int64)
    most = maximum(int(y.sum()), int((1 - y).sum()), balance)  # type: ignore[arg-type]
    smaller: set[int] = set()
    for images in range(2, most + 1):
        found = draw(y, Budget(images, balance), DIGEST, seed)  # type: ignore[arg-type]
        assert found.dtype == np.int64
        assert len(found) == images == len(set(found.tolist()))
        assert (np.diff(found) > 0).all()
        assert smaller <= set(found.tolist())
        if balance == "equal":
            assert y[found].sum() == images - images // 2
        smaller = set(found.tolist())


def test_natural_draws_keep_the_prevalence_on_average() -> None:
    """Over 200 seeds the share of positives is that of the split, within four standard errors."""
    shares = [LABELS[draw(LABELS, Budget(50, "natural"), DIGEST, s)].mean() for s in range(200)]
    assert abs(np.mean(shares) - LABELS.mean()) < 4 * np.std(shares) / np.sqrt(200)
    assert np.std(shares) > 0


def test_all_means_all() -> None:
    """Without a number every training image is annotated, whatever the balance."""
    for balance in ("equal", "natural"):
        found = draw(LABELS, Budget(None, balance), DIGEST, 0)  # type: ignore[arg-type]
        assert found.tolist() == list(range(400))


def test_a_draw_depends_on_digest_and_seed() -> None:
    """The same pair gives the same images, another digest or seed others."""
    budget = Budget(20)
    first = draw(LABELS, budget, DIGEST, 3).tolist()
    assert draw(LABELS, budget, DIGEST, 3).tolist() == first
    assert draw(LABELS, budget, DIGEST, 4).tolist() != first
    assert draw(LABELS, budget, "b" * 64, 3).tolist() != first


def test_nothing_else_can_enter_a_draw() -> None:
    """A draw knows no method and no trial; a specificity decides which images suffice alone."""
    assert list(inspect.signature(draw).parameters) == [
        "labels",
        "budget",
        "dataset_digest",
        "seed",
        "drawn",
        "kind",
    ]


def test_the_draw_is_pinned() -> None:
    """Changing which images a seed draws changes every result: SCIENCE_VERSION must rise."""
    assert draw(LABELS, Budget(6), DIGEST, 0).tolist() == [1, 12, 92, 99, 125, 375]
    natural = draw(LABELS, Budget(6, "natural"), DIGEST, 0)
    assert natural.tolist() == [12, 92, 99, 125, 258, 375]


DRAWN = np.where(np.arange(400) % 4 == 0, MASK, np.where(np.arange(400) % 4 == 1, BOXES, 0))
"""A quarter of the images has a mask, another boxes alone."""


@pytest.mark.parametrize("balance", ["equal", "natural"])
def test_images_with_masks_come_first(balance: str) -> None:
    """A budget that masks suffice for is the same at every specificity; draws stay nested."""
    drawn, kinds = DRAWN.astype(np.uint8), ("label", "box", "mask", "r")
    few = [draw(LABELS, Budget(10, balance), DIGEST, 0, drawn, kind) for kind in kinds]  # type: ignore[arg-type]
    assert all((each == few[0]).all() for each in few)
    assert (drawn[few[0]] & MASK).all()
    if balance == "natural":
        more = draw(LABELS, Budget(150, balance), DIGEST, 0, drawn, "box")
        assert set(np.flatnonzero(drawn & MASK)) | set(few[0]) <= set(more)
        assert (drawn[more] != 0).all()
        assert draw(LABELS, Budget(250, balance), DIGEST, 0, drawn, "label").size == 250


def test_masks_that_do_not_suffice_name_the_maximum() -> None:
    """Of each kind, with the remedy where only positive images have masks; all takes what is."""
    drawn = DRAWN.astype(np.uint8)
    usable = {"label": drawn >= 0, "box": drawn > 0, "mask": drawn == MASK}
    for kind, images in usable.items():
        assert draw(LABELS, Budget(None), DIGEST, 0, drawn, kind).tolist() == (  # type: ignore[arg-type]
            np.flatnonzero(images).tolist()
        )
        most = 2 * int(LABELS[images].sum())
        assert draw(LABELS, Budget(most), DIGEST, 0, drawn, kind).size == most  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=f"expected at most {most}$"):
            draw(LABELS, Budget(most + 2), DIGEST, 0, drawn, kind)  # type: ignore[arg-type]
    positives = np.where(LABELS == 1, MASK, 0).astype(np.uint8)
    for images_or_all in (2, None):
        with pytest.raises(ConfigError, match=r"at most 0; .* --set normal_images=empty"):
            draw(LABELS, Budget(images_or_all), DIGEST, 0, positives, "mask")


def test_every_specificity_and_model_of_a_seed_sees_the_same_images() -> None:
    """The rows of a trial do not move with what is annotated or how it is trained."""
    dataset = squares(SMALL)
    configs = [
        fit_config("label", epochs=3, learning_rate=0.5),
        fit_config("mask"),
        fit_config("r", r=4),
    ]
    rows = [annotated_rows(dataset, c).tolist() for c in configs]
    assert rows[0] == rows[1] == rows[2]
    assert (dataset.splits[rows[0]] == "train").all()


@pytest.mark.parametrize(
    ("balance", "most"), [("equal", 2 * int(LABELS.sum())), ("natural", len(LABELS))]
)
def test_too_large_a_budget_names_the_maximum(balance: str, most: int) -> None:
    """The largest budget is drawn; one more is refused, and the message says what would do."""
    assert len(draw(LABELS, Budget(most, balance), DIGEST, 0)) == most  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=f"expected at most {most}$"):
        draw(LABELS, Budget(most + 1, balance), DIGEST, 0)  # type: ignore[arg-type]


def test_masks_on_one_label_alone() -> None:
    """They train nothing, so they are refused, and a natural draw of labels has both labels."""
    positives_alone = np.where(LABELS == 1, MASK, 0).astype(np.uint8)
    kinds: tuple[SupervisionKind, ...] = ("mask", "box", "r")
    for kind in kinds:
        with pytest.raises(ConfigError, match="at most 0; where somebody looked"):
            draw(LABELS, Budget(10, "natural"), DIGEST, 0, positives_alone, kind)
    plain = draw(LABELS, Budget(20, "natural"), DIGEST, 0)
    for drawn in (positives_alone, positives_alone | np.uint8(BOXES)):
        chosen = draw(LABELS, Budget(20, "natural"), DIGEST, 0, drawn)
        assert chosen.tolist() == plain.tolist()
    assert set(LABELS[plain]) == {0, 1}
