"""Classes of images, where a dataset tells more than normal and abnormal apart.

Reading a manifest imports this file, so it needs neither numpy nor torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from spurious.config.fields import FEWEST_CLASSES

_MAX_CLASSES: Final = 1000
_MAX_NAME: Final = 60
_SHOWN: Final = 12


@dataclass(frozen=True)
class ImageClass:
    """One class of a dataset; its number is its place among the classes.

    Attributes:
        name: As people call it.
        positive: Whether images of it have label 1.
    """

    name: str
    positive: bool


def find_class_problem(classes: Sequence[ImageClass]) -> str | None:
    """Return why a dataset cannot have these classes, with what was expected; None where it can.

    No class at all is a dataset of labels alone.
    """
    if not classes:
        return None
    names = [each.name for each in classes]
    if not FEWEST_CLASSES <= len(classes) <= _MAX_CLASSES:
        return (
            f"{len(classes)} classes ({', '.join(names[:_SHOWN])}); expected {FEWEST_CLASSES} to "
            f"{_MAX_CLASSES}, since labels tell two apart"
        )
    for name in names:
        if not 0 < len(name) <= _MAX_NAME or not name.isprintable() or name != name.strip():
            return f"class name {name!r}; expected 1 to {_MAX_NAME} printable characters"
    if len(set(names)) < len(names):
        return f"class names repeat: {', '.join(names)}; expected different ones"
    if len({each.positive for each in classes}) < 2:
        word = "positive" if classes[0].positive else "negative"
        return f"all classes are {word}; expected some of label 1 and some of label 0"
    return None
