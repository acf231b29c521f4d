"""Types, ranges and marks that options share; importable without torch.

Ranges are `annotated_types` marks, which the specification reader enforces and a search space may
not leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Annotated, Final, Literal

from annotated_types import Ge, Le, Lt


@dataclass(frozen=True)
class Pattern:
    """A mark for text: all of it matches the regular expression; `meaning` says so in words."""

    regex: str
    meaning: str


Probability = Annotated[float, Ge(0.0), Le(1.0)]
Seed = Annotated[int, Ge(0), Lt(2**31)]
Sha256 = Annotated[str, Pattern("[0-9a-f]{64}", "a SHA-256 of 64 lower-case hexadecimal digits")]
Resolution = Annotated[int, Ge(1), Le(4096)]
Images = Annotated[int, Ge(2), Le(10_000_000)]
SupervisionKind = Literal["label", "box", "mask", "r"]
Balance = Literal["equal", "natural"]
Classes = Literal["binary", "all"]
"""Whether a reader tells label 1 from label 0 alone, or every class from the others."""
FEWEST_CLASSES: Final = 3
"""Classes from which on they say more than labels do."""
Negatives = Literal["background", "lesion"]
"""What masks of negative images count as, where a dataset has them: nothing, or a third class.

Under `lesion` pixels are background, region of a negative image, or region of a positive one; the
last is what an image is scored by. Saab et al. 2022 segment and diagnose ISIC like this.
"""

MaskOf = Literal["abnormality", "lungs", "heart", "region", "circle"]
"""What a dataset's masks are of: the abnormality, an organ or any other region that is drawn once
on an image whatever its label, or a circle that nobody draws."""


@singledispatch
def problems(options: object) -> list[str]:
    """Return what is wrong with options that are each in range but do not go together.

    Returns:
        One sentence set per problem, which begins with the name of the option at fault.
    """
    return []
