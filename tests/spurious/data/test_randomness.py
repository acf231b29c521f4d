"""Seeds from (seed, purpose)."""

from __future__ import annotations

import itertools

from spurious.data.randomness import derive, generator


def test_seeds_are_pinned() -> None:
    """Other seeds would change every result: SCIENCE_VERSION must rise with this test."""
    assert derive("budget", "a", 0) == 717847859833571928
    assert generator("x", 1).integers(0, 1000, 4).tolist() == [303, 265, 806, 220]


def test_different_parts_give_different_seeds() -> None:
    """Order, type and borders between parts all count, and a seed fits 63 bits."""
    parts: list[tuple[int | str, ...]] = [
        ("a", "b"),
        ("b", "a"),
        ("ab",),
        ("a", "b", ""),
        ("a", 1),
        ("a", "1"),
        ("a", 11),
        ("a", 1, 1),
    ]
    seeds = [derive(*some) for some in parts]
    assert len(set(seeds)) == len(parts)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_streams_of_neighbouring_epochs_are_unrelated() -> None:
    """Neither equal nor shifted copies of each other."""
    streams = [generator("order", 0, epoch).integers(0, 2**62, 50).tolist() for epoch in range(5)]
    for a, b in itertools.combinations(streams, 2):
        assert not set(a) & set(b)
