"""What cells mean: labels by class names, flags, splits, covariates."""

from __future__ import annotations

import difflib
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spurious.config.folder import FolderOptions, split_names
from spurious.data.records import Covariate
from spurious.readers.folder.layout import SPLIT_WORDS
from spurious.readers.issues import ReaderIssues

_FLAGS: Mapping[str, bool] = {
    **dict.fromkeys(("0", "0.0", "false", "no"), False),
    **dict.fromkeys(("1", "1.0", "true", "yes"), True),
}
_SHOWN_CLASSES = 12


def parse_flag(text: str) -> bool | None:
    """Return True or False for 1, 0, yes, no, true, false (as pandas has them), else None."""
    return _FLAGS.get(text.strip().lower())


def parse_split(text: str) -> str | None:
    """Return the split of a cell, or None."""
    return SPLIT_WORDS.get(text.strip().lower())


def parse_covariates(texts: Sequence[str]) -> list[Covariate]:
    """Return a column's values: numbers where all that are not blank are, else texts.

    Blank is None.
    """
    values = [text.strip() for text in texts]
    numbers = [_to_number(value) for value in values if value]
    if None in numbers:
        return [value or None for value in values]
    return [_to_number(value) if value else None for value in values]


def _to_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


@dataclass(frozen=True)
class LabelRule:
    """Which words are label 1.

    Attributes:
        positive: Class names of label 1, in folded case; empty where labels are 0 and 1.
        negative: Class names of label 0; empty where all others are.
    """

    positive: frozenset[str]
    negative: frozenset[str]

    def label(self, text: str) -> int | None:
        """Return 0 or 1, or None where the text is neither.

        A text of several classes with `|` between them is 1 where any of them is positive.
        """
        if not self.positive:
            flag = parse_flag(text)
            return None if flag is None else int(flag)
        words = {word.strip().casefold() for word in text.split("|")}
        if words & self.positive:
            return 1
        return 0 if words != {""} and (not self.negative or words <= self.negative) else None


def read_labels(
    texts: Mapping[str, tuple[str, str]], options: FolderOptions, issues: ReaderIssues
) -> tuple[Mapping[str, int], str | None]:
    """Return the label of every image, and a note that says which class is which.

    Args:
        texts: By image: where it stands, and its label as written.
        options: Names of the positive and negative classes.
        issues: Receives words that are neither, and names that no image has.
    """
    positive, negative = split_names(options.positive), split_names(options.negative)
    rule = LabelRule(
        frozenset(name.casefold() for name in positive),
        frozenset(name.casefold() for name in negative),
    )
    labels: dict[str, int] = {}
    unknown: Counter[str] = Counter()
    first: dict[str, str] = {}
    for image, (where, text) in texts.items():
        label = rule.label(text)
        if label is None:
            unknown[text] += 1
            first.setdefault(text, where)
        else:
            labels[image] = label
    classes = Counter(text for _, text in texts.values())
    if unknown:
        issues.add(_describe_unknown(unknown, first, classes, rule))
    _check_names((*positive, *negative), classes, issues)
    return labels, _describe_classes(classes, rule) if positive else None


def _describe_unknown(
    unknown: Counter[str],
    first: Mapping[str, str],
    classes: Counter[str],
    rule: LabelRule,
) -> str:
    shown = ", ".join(
        f"'{text[:80]}' ({count}, first {first[text]})"
        if text
        else f"blank ({count}, {first[text]})"
        for text, count in unknown.most_common(_SHOWN_CLASSES)
    )
    words = sorted((text for text in classes if text), key=lambda text: (classes[text], text))
    if rule.positive:
        names = ", ".join(sorted(rule.positive | rule.negative))
        remedy = f"expected one of {names}: correct them, or leave negative out"
        if set(unknown) == {""}:
            remedy = "fill them, or remove these images' rows"
    elif len(words) > 1:
        rarest = shlex.quote(words[0])
        remedy = f"expected 0 or 1: name the classes of label 1, such as --set positive={rarest}"
    else:
        remedy = "expected 0 or 1"
    return f"labels: {shown}; {remedy}"


def _check_names(names: Sequence[str], classes: Counter[str], issues: ReaderIssues) -> None:
    words = {word.strip() for text in classes for word in text.split("|")} - {""}
    folded = {word.casefold() for word in words}
    for name in names:
        if name.casefold() not in folded:
            near = difflib.get_close_matches(name, words, n=1)
            known = ", ".join(sorted(words)[:_SHOWN_CLASSES])
            hint = f"did you mean {near[0]}?" if near else f"there are {known}"
            issues.add(f"labels: no image is of class '{name}'; {hint}")


def _describe_classes(classes: Counter[str], rule: LabelRule) -> str:
    parts = []
    for label in (1, 0):
        texts = [(text, n) for text, n in classes.most_common() if rule.label(text) == label]
        shown = ", ".join(f"{text} ({n})" for text, n in texts[:_SHOWN_CLASSES])
        more = f" and {len(texts) - _SHOWN_CLASSES} more" if len(texts) > _SHOWN_CLASSES else ""
        parts.append(f"{shown or 'no class'}{more} is label {label}")
    return "; ".join(parts)
