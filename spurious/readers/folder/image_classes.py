"""Classes of a folder's images, where they are to be told apart beyond label 0 and 1."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from spurious.config.fields import FEWEST_CLASSES
from spurious.data.classes import ImageClass, find_class_problem
from spurious.readers.issues import ReaderIssues

_BINARY = "or leave --set classes=all out"


def read_classes(
    texts: Mapping[str, tuple[str, str]], labels: Mapping[str, int], issues: ReaderIssues
) -> tuple[Mapping[str, int], Sequence[ImageClass]]:
    """Return the class number of every image, and the classes, ascending by name.

    Case is folded; a class is called by its most frequent spelling.

    Args:
        texts: By image: where it stands, and its class as written.
        labels: By image, of those whose text is of a class.
        issues: Receives images of several classes, and classes that a dataset cannot have.
    """
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    positive: dict[str, bool] = {}
    several = [where for where, text in texts.values() if "|" in text]
    if several:
        issues.add(
            f"labels: {len(several)} images are of several classes (first {several[0]}), and "
            f"classes: all takes one each; name one, {_BINARY}"
        )
    for image, label in labels.items():
        text = texts[image][1].strip()
        spellings[text.casefold()][text] += 1
        positive[text.casefold()] = bool(label)
    names = {key: max(sorted(of), key=of.__getitem__) for key, of in spellings.items()}
    order = sorted(names)
    classes = [ImageClass(names[key], positive[key]) for key in order]
    if len(classes) < FEWEST_CLASSES:
        listed = ", ".join(each.name for each in classes)
        issues.add(
            f"labels: classes: all needs {FEWEST_CLASSES} classes, and there are {len(classes)} "
            f"({listed}); leave --set classes=all out"
        )
    elif problem := find_class_problem(classes):
        issues.add(f"labels: {problem}")
    numbers = {key: number for number, key in enumerate(order)}
    return {i: numbers[texts[i][1].strip().casefold()] for i in labels}, classes


def check_trained(
    numbers: Mapping[str, int],
    splits: Mapping[str, str],
    classes: Sequence[ImageClass],
    issues: ReaderIssues,
) -> None:
    """Report classes without a training image, which nothing could learn.

    Args:
        numbers: Class number by image.
        splits: Split by image.
        classes: The classes.
        issues: Receives one sentence.
    """
    trained = {number for image, number in numbers.items() if splits[image] == "train"}
    absent = [each.name for number, each in enumerate(classes) if number not in trained]
    if absent:
        issues.add(
            f"split train has no image of class {', '.join(absent)}, which classes: all would "
            f"have to tell apart: split by patient with --split 0.7/0.1/0.2, {_BINARY}"
        )
