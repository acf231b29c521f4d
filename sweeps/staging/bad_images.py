"""What becomes of images that cannot be staged: named all at once, or left out and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from cluster.common.wording import count_of
from cluster.datasets.shards import StagedShard
from spurious.data.splits import SPLITS
from spurious.errors import DataError

OnError = Literal["stop", "skip"]

SHOWN = 20
"""Bad images, and warnings, that are shown in full."""
_RECORDED = 50
_LONGEST = 200
_NAMED = 3


class BadImages(DataError):
    """Images cannot be staged.

    Attributes:
        bad: Why, by id; all of them.
    """

    def __init__(self, message: str, bad: Mapping[str, str]) -> None:
        super().__init__(message)
        self.bad = bad

    def __reduce__(self) -> tuple[type[BadImages], tuple[str, Mapping[str, str]]]:
        return type(self), (str(self), self.bad)


def list_bad(bad: Mapping[str, str]) -> str:
    """Return a line for each of the first bad images, sorted, and how many more there are."""
    more = f"\n  ... and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    return "\n  ".join(sorted(bad.values())[:SHOWN]) + more


def check_bad(
    bad: Mapping[str, str], total: int, shards: Sequence[StagedShard], on_error: OnError
) -> None:
    """Refuse bad images, or leaving them out where too little would stay.

    Args:
        bad: Why images cannot be staged, by id.
        total: Images of the source.
        shards: What was staged of the others.
        on_error: `stop` refuses any bad image, `skip` those that are too many.

    Raises:
        BadImages: any with `stop`; with `skip` more than half, or where a split, or a label of a
            split, would be left without an image.
    """
    if not bad:
        return
    counted = f"{len(bad)} of {count_of(total, 'image')} cannot be staged"
    if on_error == "stop":
        raise BadImages(
            f"{counted}; restore their files and run the command again, which keeps what is "
            "finished, or leave these images out with --on-error skip:\n  " + list_bad(bad),
            bad,
        )
    if 2 * len(bad) > total:
        why = "more than half of them are bad"
    elif empty := _find_empty(shards):
        why = f"{' and '.join(empty)} would have no image"
    else:
        return
    raise BadImages(f"{counted}, too many to leave out: {why}:\n  {list_bad(bad)}", bad)


def _find_empty(shards: Sequence[StagedShard]) -> list[str]:
    counts = Counter((row.split, row.label) for shard in shards for row in shard.records)
    return [
        f"split {split}, label {label}" if counts[split, 1 - label] else f"split {split}"
        for split in SPLITS
        for label in (0, 1)
        if not counts[split, label] and (label or counts[split, 1 - label])
    ]


def record_bad(bad: Mapping[str, str]) -> dict[str, str]:
    """Return what the manifest's provenance keeps of images that were left out."""
    if not bad:
        return {}
    reasons = [f"{i}: {' '.join(bad[i].split())[:_LONGEST]}" for i in sorted(bad)[:_RECORDED]]
    more = [f"... and {len(bad) - _RECORDED} more"] if len(bad) > _RECORDED else []
    return {"images_skipped": str(len(bad)), "skipped": "\n".join([*reasons, *more])}


def describe_staging(provenance: Mapping[str, str]) -> list[str]:
    """Return a report's notes on a dataset: images that were left out, and near copies."""
    notes = []
    if count := provenance.get("images_skipped"):
        ids = [line.partition(":")[0] for line in provenance.get("skipped", "").splitlines()]
        named = ", ".join(ids[:_NAMED]) + (", ..." if int(count) > _NAMED else "")
        notes.append(
            f"{count_of(int(count), 'image')} of the dataset could not be read and "
            f"{'was' if int(count) == 1 else 'were'} left out of all splits ({named})"
        )
    if pairs := provenance.get("near_copies"):
        notes.append(f"the dataset may have copies of images in several splits: {pairs}")
    return notes


def write_list(name: str, bad: Mapping[str, str]) -> Path | None:
    """Write all bad images, id and reason a line, into a file of the working folder.

    Returns:
        The file; None where a message shows all of them, or the folder cannot be written.
    """
    if len(bad) <= SHOWN:
        return None
    path = Path(f"bad-images-{name}.tsv").absolute()
    lines = [
        f"{sample_id}\t{' '.join(reason.split())}\n" for sample_id, reason in sorted(bad.items())
    ]
    try:
        path.write_text("".join(lines))
    except OSError:
        return None
    return path
