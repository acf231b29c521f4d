"""Options of every dataset that can be staged: generators, and readers of released folders.

A registry maps the name that a sweep YAML uses to its options; the module of that name in
`spurious.generators` or `spurious.readers` has the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

from spurious.config import releases
from spurious.config.fields import Probability, Seed, problems
from spurious.config.folder import FolderOptions


@dataclass(frozen=True, kw_only=True)
class GaussianSquares:
    """Synthetic images with an abnormal and a spurious region (Saab et al. 2022, section 3.2.2).

    Defaults are the paper's. Sizes are in pixels; intensities in units of an arbitrary scale.

    Attributes:
        prevalence: Share of positive images in train and validation.
        spurious_given_positive: Share of them that have the spurious block; likewise of negatives.
        test_prevalence: Share of positive test images; None is as `prevalence`.
        test_spurious: Share of test images with the block, whatever their label.
        overlap: `avoid` draws the block beside the abnormality, `independent` anywhere.
    """

    image_size: Annotated[int, Ge(8), Le(1024)] = 40
    abnormality_size: Annotated[int, Ge(1), Le(1024)] = 8
    spurious_size: Annotated[int, Ge(1), Le(1024)] = 12
    shape: Literal["square", "disc", "ring"] = "square"
    ring_width: Annotated[int, Ge(1), Le(512)] = 1
    prevalence: Probability = 0.9
    spurious_given_positive: Probability = 1.0
    spurious_given_negative: Probability = 0.0
    test_prevalence: Probability | None = None
    test_spurious: Probability = 0.5
    abnormality_mean: float = 2.0
    spurious_mean: float = -10.0
    noise_sd: Annotated[float, Gt(0.0)] = 1.0
    overlap: Literal["avoid", "independent"] = "avoid"
    n_train: Annotated[int, Ge(2), Le(1_000_000)] = 150
    n_val: Annotated[int, Ge(2), Le(1_000_000)] = 150
    n_test: Annotated[int, Ge(2), Le(1_000_000)] = 1000
    seed: Seed = 0

    VERSION: ClassVar[int] = 1
    """Raised when the same options give other pixels; part of the dataset's digest."""
    DTYPE: ClassVar[str] = "float32"
    """Of its images."""
    MASKS_NEGATIVES: ClassVar[bool] = False
    """Whether something is drawn on negative images, too."""


@problems.register(GaussianSquares)
def _(options: GaussianSquares) -> list[str]:
    messages = []
    side, abnormal = options.image_size, options.abnormality_size
    spurious = options.spurious_size
    for name, size in (("abnormality_size", abnormal), ("spurious_size", spurious)):
        if size > side:
            messages.append(f"{name} {size} is larger than the image; expected at most {side}")
    # the worst place of the abnormality is the centre: the block must fit beside it there
    widest = (side - abnormal + 1) // 2
    if not messages and options.overlap == "avoid" and spurious > widest:
        messages.append(
            f"spurious_size {spurious} does not always fit beside an abnormality of {abnormal} in "
            f"an image of {side}; expected at most {widest}, or overlap: independent"
        )
    if options.shape == "ring" and 2 * options.ring_width >= abnormal:
        messages.append(
            f"ring_width {options.ring_width} leaves no hole in an abnormality of {abnormal}; "
            f"expected less than {abnormal / 2:g}, or shape: disc"
        )
    return messages


@dataclass(frozen=True, kw_only=True)
class Crosses:
    """One cross or two, and a marker whose side tells which in training (Viviano et al. 2019).

    In training the marker is on the left of images with one cross (label 0) and on the right of
    those with two; in validation and test it is the other way round. Images are 28 pixels wide.

    Attributes:
        difficulty: `hard` draws crosses with arms of 1 or 2 pixels, as in the paper of 2019; `easy`
            with 3 or 4.
        n_train: The first half of each split has one cross.
        seed: 0 gives the published images, pixel by pixel.
    """

    difficulty: Literal["hard", "easy"] = "hard"
    n_train: Annotated[int, Ge(2), Le(100_000)] = 512
    n_val: Annotated[int, Ge(2), Le(100_000)] = 512
    n_test: Annotated[int, Ge(2), Le(100_000)] = 512
    seed: Annotated[int, Ge(0), Lt(2**30)] = 0

    VERSION: ClassVar[int] = 1
    """Raised when the same options give other pixels; part of the dataset's digest."""
    DTYPE: ClassVar[str] = "float32"
    """Of its images."""
    MASKS_NEGATIVES: ClassVar[bool] = True
    """Whether something is drawn on negative images, too."""


GENERATORS: Mapping[str, type[Any]] = {"crosses": Crosses, "gaussian-squares": GaussianSquares}


@dataclass(frozen=True, kw_only=True)
class SiimAcrOptions:
    """How a SIIM-ACR release is read and down-sampled.

    Attributes:
        image_size: Side of the staged images in pixels; masks are max-pooled to it.
        tubes: Path of the chest-tube labels, where they lie outside the release's folder.
        rle: Path of the run-length encoded masks, likewise.
    """

    image_size: Annotated[int, Ge(8), Le(4096)] = 512
    tubes: str | None = None
    rle: str | None = None


@dataclass(frozen=True, kw_only=True)
class IsicOptions:
    """How ISIC 2018 task 1 is read and down-sampled.

    Attributes:
        image_size: Side of the staged images in pixels; masks are max-pooled to it.
        split: Which of the five trap splits of Bissoto et al. 2020.
        traps: Folder of their tables, where it is not the release's.
    """

    image_size: Annotated[int, Ge(8), Le(4096)] = 512
    split: Annotated[int, Ge(1), Le(5)] = 1
    traps: str | None = None


READERS: Mapping[str, type[Any]] = {
    "candid-ptx": releases.CandidPtxOptions,
    "chexlocalize": releases.ChexlocalizeOptions,
    "covid-radiography": releases.CovidRadiographyOptions,
    "folder": FolderOptions,
    "isic": IsicOptions,
    "msd": releases.MsdOptions,
    "nih-chexmask": releases.NihChexmaskOptions,
    "nih-padchest": releases.NihPadchestOptions,
    "rsna-pneumonia": releases.RsnaPneumoniaOptions,
    "siim-acr": SiimAcrOptions,
    "vindr-cxr": releases.VindrCxrOptions,
}
