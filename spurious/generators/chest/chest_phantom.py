"""Chest-film phantom: pneumothorax as the abnormality, chest tubes as the spurious feature.

Films are drawn from made-up anatomy, so nothing in them is of a patient. In training a tube nearly
always comes with a pneumothorax (it treats one) and it is easier to see: the shortcut of
Oakden-Rayner et al. 2020 that Saab et al. 2022 measure on SIIM-ACR.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from spurious.config.fields import Probability, Seed
from spurious.data.randomness import generator
from spurious.errors import ConfigError
from spurious.generators.chest.chest_anatomy import draw_anatomy
from spurious.generators.chest.chest_film import Findings, render_film
from spurious.generators.chest.chest_findings import draw_pneumothorax, draw_tube

Contrast = Annotated[float, Ge(0.0), Le(5.0)]
Depth = Annotated[float, Gt(0.0), Le(0.6)]


@dataclass(frozen=True, kw_only=True)
class ChestPhantom:
    """Options of the phantom.

    Attributes:
        n_train, n_val, n_test: Images per split.
        prevalence: Share of images with a pneumothorax, in every split.
        p_tube_given_positive, p_tube_given_negative: Share of training images with a tube.
        eval_p_tube_given_positive, eval_p_tube_given_negative: The same in `val` and `test`;
            weaker by default, so that all four groups have images.
        size: Side of the films in pixels.
        smallest_depth, largest_depth: How far a lung falls back, as a share of the way to its
            hilum; small ones are more frequent.
        p_second: Share of positive images with a second, separate pneumothorax.
        pneumothorax_contrast: 0 invisible, 1 as subtle as on films, above 1 clearer.
        tube_contrast: The same for tubes.
        tube_labels: Whose tubes are labelled: `evaluation` for those of `val` and `test`, as in
            the release, `all` for those of `train` too, which methods with known groups need.
        seed: Every film derives from it and the film's number.
    """

    n_train: Annotated[int, Ge(2), Le(20_000)] = 2000
    n_val: Annotated[int, Ge(2), Le(20_000)] = 300
    n_test: Annotated[int, Ge(2), Le(20_000)] = 600
    prevalence: Probability = 0.3
    p_tube_given_positive: Probability = 0.9
    p_tube_given_negative: Probability = 0.05
    eval_p_tube_given_positive: Probability = 0.6
    eval_p_tube_given_negative: Probability = 0.2
    size: Annotated[int, Ge(128), Le(2048)] = 1024
    smallest_depth: Depth = 0.06
    largest_depth: Depth = 0.45
    p_second: Probability = 0.15
    pneumothorax_contrast: Contrast = 1.0
    tube_contrast: Contrast = 1.0
    tube_labels: Literal["evaluation", "all"] = "evaluation"
    seed: Seed = 0

    def __post_init__(self) -> None:
        if self.smallest_depth > self.largest_depth:
            raise ConfigError(
                f"smallest_depth {self.smallest_depth} is above largest_depth "
                f"{self.largest_depth}; swap them"
            )


@dataclass(frozen=True)
class Case:
    """One film to be made.

    Attributes:
        number: Position in the phantom; decides, with the seed, all that is random in the film.
        split: `train`, `val` or `test`.
        pneumothorax, tube: What the film shows.
        female: Sex of the made-up patient.
        patient_id: Random UUID, as in the release; no two films share one.
        uid_tail: Last three numbers of the study's UIDs (process, second, microsecond).
    """

    number: int
    split: str
    pneumothorax: bool
    tube: bool
    female: bool
    patient_id: str
    uid_tail: tuple[int, int, int] = field(repr=False)


def draw_cases(config: ChestPhantom) -> list[Case]:
    """Draw what every film shows: train, then val, then test.

    The shares of `config` are met exactly, up to rounding, and shuffled, so that small phantoms
    have all four groups too. Within `val` and within `test` the UIDs are in any order.
    """
    rng = generator(config.seed, "chest cases")
    sizes = {"train": config.n_train, "val": config.n_val, "test": config.n_test}
    tails = _uid_tails(rng, **sizes)
    cases: list[Case] = []
    for split, size in sizes.items():
        groups = _groups(config, split, size)
        for place in rng.permutation(size).tolist():
            positive, tube = groups[place]
            cases.append(
                Case(
                    number=len(cases),
                    split=split,
                    pneumothorax=positive,
                    tube=tube,
                    female=bool(rng.random() < 0.5),
                    patient_id=str(uuid.UUID(bytes=rng.bytes(16), version=4)),
                    uid_tail=tails[len(cases)],
                )
            )
    return cases


def render_case(config: ChestPhantom, case: Case) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the (size, size) uint8 film of a case and its (size, size) bool mask.

    Anatomy, findings and film have generators of their own, so a case that differs only in its
    findings or their contrast is the same patient on the same film.
    """
    seed, number = config.seed, case.number
    anatomy = draw_anatomy(generator(seed, "chest anatomy", number), female=case.female)
    place = generator(seed, "chest findings", number)
    depths = (config.smallest_depth, config.largest_depth)
    air = draw_pneumothorax(place, anatomy, depths, config.p_second)
    findings = Findings(
        pneumothorax=air if case.pneumothorax else (),
        tube=draw_tube(place, anatomy.lungs[air[0].lung]) if case.tube else None,
        pneumothorax_contrast=config.pneumothorax_contrast,
        tube_contrast=config.tube_contrast,
    )
    return render_film(generator(seed, "chest film", number), anatomy, findings, config.size)


def _groups(config: ChestPhantom, split: str, size: int) -> list[tuple[bool, bool]]:
    """(pneumothorax, tube) of every film of a split, unshuffled."""
    shares = (config.eval_p_tube_given_positive, config.eval_p_tube_given_negative)
    if split == "train":
        shares = (config.p_tube_given_positive, config.p_tube_given_negative)
    positives = _round(size * config.prevalence)
    groups: list[tuple[bool, bool]] = []
    for positive, count, share in (
        (True, positives, shares[0]),
        (False, size - positives, shares[1]),
    ):
        tubes = _round(count * share)
        groups += [(positive, i < tubes) for i in range(count)]
    return groups


def _uid_tails(
    rng: np.random.Generator, train: int, val: int, test: int
) -> list[tuple[int, int, int]]:
    """UID tails, train first. The release tells `val` from `test` by one restart of UID order.

    So the lowest number of both goes to `test` and the highest to `val`.
    """
    total = train + val + test
    numbers = 1 + rng.permutation(3 * total)[:total]
    both = np.sort(numbers[train:])
    middle = rng.permutation(both[1:-1])
    ordered = [*numbers[:train], *middle[: val - 1], both[-1], both[0], *middle[val - 1 :]]
    seconds = 1_600_000_000  # later than any UID of the release, so that none can coincide
    return [
        (int(number), seconds + int(number) // 8, int(micro))
        for number, micro in zip(ordered, rng.integers(100_001, 999_998, total), strict=True)
    ]


def _round(number: float) -> int:
    return int(number + 0.5)
