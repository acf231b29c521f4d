"""What tables and folders say of each image: label, attributes, patient, split, covariates."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from spurious.config.folder import FolderOptions, parse_directions, parse_shares
from spurious.data.attributes import GroupCounts, measure_direction
from spurious.data.classes import ImageClass
from spurious.data.records import Covariate
from spurious.data.splits import SPLITS
from spurious.readers.folder.image_classes import check_trained, read_classes
from spurious.readers.folder.layout import class_of_place, split_of_place
from spurious.readers.folder.roles import Roles
from spurious.readers.folder.samples import Sample
from spurious.readers.folder.values import (
    parse_covariates,
    parse_flag,
    parse_split,
    read_labels,
)
from spurious.readers.issues import ReaderIssues
from spurious.readers.joins import name_some
from spurious.readers.split_draw import Case, split_by_patient

_CHECKSUM = re.compile(r"[0-9a-f]{64}|[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One image without its pixels.

    Attributes:
        where: Table and line, or file, for messages.
        patient: As the team calls them; None where nobody knows.
        split: One of `SPLITS`.
        label: 0 or 1.
        attributes: True, False or None by name.
        covariates: Further columns.
        checksum: SHA-256 or MD5 of the file in lower case, or None.
        class_number: Place among the classes; None where labels are all that is told apart.
    """

    where: str
    patient: str | None
    split: str
    label: int
    attributes: Mapping[str, bool | None]
    covariates: Mapping[str, Covariate] = field(default_factory=dict)
    checksum: str | None = None
    class_number: int | None = None


@dataclass(frozen=True)
class Labels:
    """What tables or folders say of labels.

    Attributes:
        values: 0 or 1 by image; without images that have none, which are reported.
        note: Which class is which, or None.
        classes: What images are told apart into; empty for labels alone.
        numbers: Class number by image, where there are classes.
    """

    values: Mapping[str, int] = field(default_factory=dict)
    note: str | None = None
    classes: Sequence[ImageClass] = ()
    numbers: Mapping[str, int] = field(default_factory=dict)


def read_entries(
    samples: Mapping[str, Sample],
    roles: Roles,
    drawn: Mapping[str, bool] | None,
    header_patients: Mapping[str, str],
    options: FolderOptions,
    issues: ReaderIssues,
) -> tuple[Mapping[str, Entry], Sequence[str], Sequence[ImageClass]]:
    """Return entries by image id, notes of what was chosen, and the classes where asked for.

    Args:
        samples: Images with their rows.
        roles: Columns.
        drawn: Whether an annotation is drawn, by image id, where it is the label; else None.
        header_patients: PatientID of DICOM files, by image id.
        options: The reader's options.
        issues: Receives whatever is wrong.
    """
    before = issues.count
    labels = _read_labels(samples, roles, drawn, options, issues)
    notes = [] if labels.note is None else [labels.note]
    attributes = {i: _read_attributes(sample, roles, issues) for i, sample in samples.items()}
    patients = {i: sample.cell(roles.patient) or None for i, sample in samples.items()}
    if roles.patient is None:
        patients = {image: header_patients.get(image) or None for image in samples}
    entries = {
        image: Entry(
            where=sample.where,
            patient=patients[image],
            split="",
            label=labels.values.get(image, 0),
            class_number=labels.numbers.get(image),
            attributes=attributes[image],
            checksum=_read_checksum(sample, roles, issues),
        )
        for image, sample in samples.items()
    }
    entries = _with_covariates(entries, samples, roles)
    if issues.count == before or options.split_shares is None:  # shares depend on labels
        entries, split_note = _with_splits(entries, samples, roles, options, issues)
        notes += [split_note, _describe_patients(entries, roles)]
    if issues.count == before:
        check_entries(entries, parse_directions(options.directions) or {}, issues)
        splits = {image: entry.split for image, entry in entries.items()}
        check_trained(labels.numbers, splits, labels.classes, issues)
    return entries, notes, labels.classes


def _read_labels(
    samples: Mapping[str, Sample],
    roles: Roles,
    drawn: Mapping[str, bool] | None,
    options: FolderOptions,
    issues: ReaderIssues,
) -> Labels:
    if drawn is not None:
        values = {image: int(drawn[image]) for image in samples}
        return Labels(values, "an annotation in COCO is label 1")
    if roles.label is not None:
        texts = {image: (s.where, s.cell(roles.label)) for image, s in samples.items()}
        return _parse_labels(texts, options, issues)
    places = {image: class_of_place(sample.name) for image, sample in samples.items()}
    without = sorted(image for image, place in places.items() if place is None)
    if without or len(set(places.values())) < 2:
        what = name_some(without) if without else "all images are in one folder"
        first = next(iter(samples.values()))
        columns = ", ".join(c for row in first.rows[:1] for c in row.cells if c)
        issues.add(
            f"no label: without a column 'label', images need a folder for each class "
            f"({what}); name the column: --set label=COLUMN"
            + (f" ({columns})" if columns else ", after the table: --table FILE")
        )
        return Labels()
    return _parse_labels(
        {i: (samples[i].name, str(place)) for i, place in places.items()}, options, issues
    )


def _parse_labels(
    texts: Mapping[str, tuple[str, str]], options: FolderOptions, issues: ReaderIssues
) -> Labels:
    values, note = read_labels(texts, options, issues)
    if options.classes == "binary" or not values:
        return Labels(values, note)
    numbers, classes = read_classes(texts, values, issues)
    return Labels(values, f"{note}; {len(classes)} classes are told apart", classes, numbers)


def _read_attributes(
    sample: Sample, roles: Roles, issues: ReaderIssues
) -> Mapping[str, bool | None]:
    values: dict[str, bool | None] = {}
    for name, column in roles.attributes.items():
        text = sample.cell(column)
        values[name] = parse_flag(text)
        if text and values[name] is None:
            issues.add(
                f"{sample.where}: {column} is '{text[:80]}'; expected 0, 1, true, false, "
                "yes, no, or blank where it is not known"
            )
    return values


def _read_checksum(sample: Sample, roles: Roles, issues: ReaderIssues) -> str | None:
    text = sample.cell(roles.checksum).lower()
    if text and not _CHECKSUM.fullmatch(text):
        issues.add(
            f"{sample.where}: {roles.checksum} is '{text[:80]}'; expected a SHA-256 or MD5 of 64 "
            "or 32 hexadecimal digits"
        )
    return text or None


def _with_covariates(
    entries: Mapping[str, Entry], samples: Mapping[str, Sample], roles: Roles
) -> dict[str, Entry]:
    columns = {
        column: dict(
            zip(entries, parse_covariates([samples[i].cell(column) for i in entries]), strict=True)
        )
        for column in roles.covariates
    }
    return {
        image: replace(entry, covariates={c: values[image] for c, values in columns.items()})
        for image, entry in entries.items()
    }


def _with_splits(
    entries: Mapping[str, Entry],
    samples: Mapping[str, Sample],
    roles: Roles,
    options: FolderOptions,
    issues: ReaderIssues,
) -> tuple[dict[str, Entry], str]:
    """Return entries with their splits, and where these are from."""
    shares = parse_shares(options.split_shares or "") or ()
    split_note = f"split by patient into {options.split_shares}, seed {options.split_seed}"
    if len(shares) == 3:
        return _share_out(entries, shares, options.split_seed), split_note
    column = roles.split
    placed: dict[str, Entry] = {}
    for image, entry in entries.items():
        text = samples[image].cell(column)
        split = parse_split(text) if column else _split_without_column(samples[image])
        if split is not None:
            placed[image] = replace(entry, split=split)
        elif column:
            issues.add(
                f"{entry.where}: {column} is '{text[:80]}'; expected train, val or test "
                "(or valid, validation, dev)"
            )
    if not column and len(placed) < len(entries):
        without = name_some(entries.keys() - placed.keys())
        issues.add(
            f"{len(entries) - len(placed)} of {len(entries)} images have no split ({without}): "
            "they need a column 'split', or a folder train, val or test above them; split them by "
            "patient: --split 0.7/0.1/0.2, or name the column: --set split=COLUMN"
        )
    note = f"splits from column {column}" if column else "splits from folders"
    if not shares:
        return placed, note
    if any(entry.split == "val" for entry in placed.values()):
        issues.add(
            f"split_shares {options.split_shares} takes val out of train, and there is a val "
            "already; leave it out, or name three shares"
        )
    train = {image: entry for image, entry in placed.items() if entry.split == "train"}
    placed |= _share_out(train, (*shares, 0.0), options.split_seed)
    return placed, f"{note}; train {split_note}"


def _share_out(
    entries: Mapping[str, Entry], shares: Sequence[float], seed: int
) -> dict[str, Entry]:
    cases = {
        image: Case(entry.patient or f"/{image}", _stratum(entry), entry.attributes)
        for image, entry in entries.items()
    }
    splits = split_by_patient(cases, shares, seed)
    return {image: replace(entry, split=splits[image]) for image, entry in entries.items()}


def _stratum(entry: Entry) -> int:
    return entry.label if entry.class_number is None else entry.class_number


def _split_without_column(sample: Sample) -> str | None:
    """Return the split of a sample's folder, or of its table's name (`train.csv`)."""
    return split_of_place(sample.name) or (
        parse_split(sample.rows[0].stem) if sample.rows else None
    )


def _describe_patients(entries: Mapping[str, Entry], roles: Roles) -> str:
    unknown = sum(entry.patient is None for entry in entries.values())
    source = f"column {roles.patient}" if roles.patient else "PatientID of DICOM files"
    if unknown == len(entries):
        return (
            "patients are not known, so every image counts as one, and nothing shows whether "
            "splits share any (--set patient=COLUMN)"
        )
    some = f"; {unknown} images without one count as a patient each" if unknown else ""
    return f"patients from {source}{some}"


def check_entries(
    entries: Mapping[str, Entry], directions: Mapping[str, int], issues: ReaderIssues
) -> None:
    """Report splits that lack an image or a label, shared patients, and unknown directions."""
    labels: dict[str, Counter[int]] = defaultdict(Counter)
    for entry in entries.values():
        labels[entry.split][entry.label] += 1
    for split in SPLITS:
        held = labels[split]
        lacking = [str(label) for label in (0, 1) if not held[label]]
        if not held:
            remedy = "split by patient with --split 0.7/0.1/0.2"
            if split == "val" and labels["train"] and labels["test"]:
                remedy = "take val out of train, by patient: --split 0.85/0.15"
            issues.add(
                f"no image in split {split}; a sweep trains on train, selects on val and reports "
                f"test: {remedy}"
            )
        elif lacking:
            issues.add(
                f"split {split} has {held.total()} images and none of label {lacking[0]}; it needs "
                "both labels: split by patient with --split 0.7/0.1/0.2, or check the labels"
            )
    _check_patients(entries, issues)
    _check_directions(entries, directions, issues)


def _check_patients(entries: Mapping[str, Entry], issues: ReaderIssues) -> None:
    splits: dict[str, set[str]] = defaultdict(set)
    for entry in entries.values():
        if entry.patient is not None:
            splits[entry.patient].add(entry.split)
    shared = sorted(patient for patient, of in splits.items() if len(of) > 1)
    if shared:
        pairs = [f"{p} in {' and '.join(s for s in SPLITS if s in splits[p])}" for p in shared]
        issues.add(
            f"{len(shared)} patients have images in more than one split ({name_some(pairs)}), so "
            "test would measure what training has seen; move them, or split by patient: "
            "--split 0.7/0.1/0.2"
        )


def _check_directions(
    entries: Mapping[str, Entry], directions: Mapping[str, int], issues: ReaderIssues
) -> None:
    names = next(iter(entries.values())).attributes.keys() if entries else ()
    for name in sorted(directions.keys() - set(names)):
        issues.add(
            f"directions: '{name}' is not an attribute; there are {', '.join(names) or 'none'}"
        )
    for name in names:
        if name not in directions and measure_direction(count_train(entries, name)) is None:
            issues.add(
                f"{name}: no training image of one of the labels has a value, so nothing shows "
                f"which label it goes with; declare it: --set directions={name}:+1 (goes with "
                "label 1) or :-1"
            )


def count_train(entries: Mapping[str, Entry], attribute: str) -> GroupCounts:
    """Count training images per label and value of an attribute."""
    held = Counter(
        (entry.label, entry.attributes[attribute])
        for entry in entries.values()
        if entry.split == "train"
    )
    return GroupCounts(
        y0_s0=held[0, False],
        y0_s1=held[0, True],
        y1_s0=held[1, False],
        y1_s1=held[1, True],
        y0_unknown=held[0, None],
        y1_unknown=held[1, None],
    )
