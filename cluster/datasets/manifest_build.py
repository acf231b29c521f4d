"""From staged shards to a manifest: the checks that need all records, counts and directions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cluster.common.wording import count_of
from cluster.datasets.keys import check_name
from cluster.datasets.manifest import (
    Attribute,
    DrawnCounts,
    Manifest,
    ShardEntry,
    SplitCounts,
    choose_version,
)
from cluster.datasets.records import RowSummary, content_digest, find_wrong_class
from cluster.datasets.shards import StagedShard
from cluster.errors import ClusterError
from spurious.data.attributes import GroupCounts, measure_direction
from spurious.data.classes import ImageClass, find_class_problem
from spurious.data.drawn import BOXES, MASK
from spurious.data.splits import SPLITS

_SHOWN = 5


def build_manifest(
    name: str,
    shards: Iterable[StagedShard],
    *,
    declared_directions: Mapping[str, int] | None = None,
    provenance: Mapping[str, str] | None = None,
    generator: Mapping[str, Any] | None = None,
    digest: str | None = None,
    partial: bool = False,
    classes: Sequence[ImageClass] = (),
) -> Manifest:
    """Check all records together and describe them; `commit_manifest` then makes them visible.

    Args:
        name: Dataset name.
        shards: What every staging task's `write_shards` returned, in any order.
        declared_directions: +1 or -1 of attributes that training images cannot show.
        provenance: Where the data came from (a staging time belongs here).
        generator: A generator's options (JSON values).
        digest: A generator's own digest; None for real data, whose digest is the content digest.
        partial, classes: As `write_shards` was told.

    Raises:
        ClusterError: no record came, shards do not belong together, an id is used twice, a
            patient is in two splits, an attribute has no direction, or a class does not fit its
            label; all problems at once.
    """
    staged = _order_shards(name, shards)
    first, rows = staged[0], [row for shard in staged for row in shard.records]
    names, count = first.attribute_names, len(classes)
    splits = {split: _count(rows, split, names, partial, count) for split in SPLITS}
    attributes, undirected = _directions(splits["train"].cells, declared_directions or {})
    problems = [*_repeated_ids(rows), *_patients_in_two_splits(rows), *undirected]
    if problems := [*problems, *_class_problems(rows, classes)]:
        raise ClusterError(f"dataset {name!r} cannot be staged: {'; '.join(problems)}")
    content = content_digest(rows, first.image_shape, first.dtype, names, classes)
    return Manifest(
        name=name,
        digest=digest or content,
        content_digest=content,
        image_shape=first.image_shape,
        dtype=first.dtype,
        attributes=attributes,
        splits=splits,
        shards=tuple(ShardEntry(s.sha256, s.size_bytes, len(s.records)) for s in staged),
        provenance=dict(provenance or {}),
        generator=None if generator is None else dict(generator),
        schema_version=choose_version(partial=partial, classed=bool(classes)),
        classes=tuple(classes),
    )


def _order_shards(name: str, shards: Iterable[StagedShard]) -> list[StagedShard]:
    """Return shards by their smallest id; refuses none at all, and those that differ."""
    check_name(name, "dataset")
    staged = sorted(shards, key=lambda s: min(row.sample_id for row in s.records))
    if not staged:
        raise ClusterError(f"dataset {name!r} has no record: nothing to stage")
    _check_alike(name, staged)
    return staged


def _directions(
    train: Mapping[str, GroupCounts], declared: Mapping[str, int]
) -> tuple[tuple[Attribute, ...], list[str]]:
    """The directed attributes, and a problem for each one that has no direction or a bad one."""
    attributes: list[Attribute] = []
    problems = [
        f"a direction is declared for {name!r}, which is not an attribute ({', '.join(train)})"
        for name in declared
        if name not in train
    ]
    for name, cells in train.items():
        measured = measure_direction(cells)
        direction = declared.get(name) if measured is None else measured
        if direction is None:
            problems.append(
                f"attribute {name!r} has no direction: training has no annotated image of each "
                "label, and none is declared; declare +1 (goes with the label) or -1"
            )
        elif direction not in (1, -1):
            problems.append(f"declared direction of {name!r} is {direction!r}; expected +1 or -1")
        else:
            attributes.append(
                Attribute(name, direction, "declared" if measured is None else "measured")
            )
    return tuple(attributes), problems


def _count(
    rows: Sequence[RowSummary], split: str, names: Sequence[str], partial: bool, n_classes: int
) -> SplitCounts:
    chosen = [row for row in rows if row.split == split]
    of_class = Counter(row.class_number for row in chosen)
    cells: dict[str, GroupCounts] = {}
    for column, name in enumerate(names):
        n = Counter((row.label, row.attributes[column]) for row in chosen)
        cells[name] = GroupCounts(
            y0_s0=n[0, False],
            y0_s1=n[0, True],
            y1_s0=n[1, False],
            y1_s1=n[1, True],
            y0_unknown=n[0, None],
            y1_unknown=n[1, None],
        )
    return SplitCounts(
        n=len(chosen),
        positives=sum(row.label for row in chosen),
        abnormalities=sum(row.abnormalities for row in chosen),
        cells=cells,
        negative_abnormalities=sum(row.abnormalities for row in chosen if not row.label),
        drawn=_count_drawn(chosen) if partial else None,
        classes=tuple(of_class[number] for number in range(n_classes)) if n_classes else None,
    )


def _count_drawn(rows: Sequence[RowSummary]) -> DrawnCounts:
    masked = [row for row in rows if row.drawn & MASK]
    boxed = [row for row in rows if row.drawn]
    return DrawnCounts(
        masks_y0=sum(not row.label for row in masked),
        masks_y1=sum(row.label for row in masked),
        boxes_y0=sum(not row.label for row in boxed),
        boxes_y1=sum(row.label for row in boxed),
        own_boxes=sum(bool(row.drawn & BOXES) for row in rows),
        regions_y1=sum(row.abnormalities for row in masked if row.label),
    )


def _check_alike(name: str, staged: Sequence[StagedShard]) -> None:
    first = staged[0]
    for shard in staged[1:]:
        for field in ("image_shape", "dtype", "attribute_names"):
            ours, theirs = getattr(shard, field), getattr(first, field)
            if ours != theirs:
                raise ClusterError(
                    f"dataset {name!r}: record {shard.records[0].sample_id!r} has {field} {ours}, "
                    f"but {first.records[0].sample_id!r} has {theirs}: all records of a dataset "
                    "have the same"
                )


def _class_problems(rows: Sequence[RowSummary], classes: Sequence[ImageClass]) -> list[str]:
    """Return what is wrong with classes, of some rows, or of the training split."""
    if problem := find_class_problem(classes):
        return [problem]
    wrong = [
        f"{row.sample_id!r}: {problem}"
        for row in rows
        if (problem := find_wrong_class(row.label, row.class_number, classes))
    ]
    trained = {row.class_number for row in rows if row.split == "train"}
    absent = [each.name for number, each in enumerate(classes) if number not in trained]
    if wrong:
        return [*wrong[:_SHOWN], *([f"{len(wrong)} such records"] if len(wrong) > _SHOWN else [])]
    return [f"training has no image of class {', '.join(absent)}"] if absent else []


def _repeated_ids(rows: Sequence[RowSummary]) -> list[str]:
    counts = Counter(row.sample_id for row in rows)
    repeated = sorted(sample_id for sample_id, n in counts.items() if n > 1)
    return [f"{_some(repeated)} used by more than one record"] if repeated else []


def _patients_in_two_splits(rows: Sequence[RowSummary]) -> list[str]:
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        splits[row.patient_id].add(row.split)
    shared = sorted(patient for patient, of in splits.items() if len(of) > 1)
    return [f"{_some(shared, 'patient')} in more than one split"] if shared else []


def _some(ids: Sequence[str], noun: str = "id") -> str:
    shown = ", ".join(repr(i) for i in ids[:_SHOWN]) + (", ..." if len(ids) > _SHOWN else "")
    return f"{count_of(len(ids), noun)} ({shown})"
