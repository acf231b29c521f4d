"""Manifests: what a staged dataset is, committed last, so that half a dataset is never seen.

Light on purpose (no pyarrow, no numpy): planning reads manifests and must answer at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from cluster.common.wording import count_of
from cluster.datasets.keys import (
    DATASETS,
    DTYPES,
    check_name,
    check_sha256,
    manifest_key,
    parse_manifest_key,
)
from cluster.errors import ClusterError, Corrupt, NotFound
from cluster.stores.base import Store
from spurious.data.attributes import GroupCounts
from spurious.data.classes import ImageClass, find_class_problem
from spurious.data.mask_of import MaskOf, read_mask_of
from spurious.data.splits import SPLITS

SCHEMA_VERSION: Final = 1
PARTIAL_VERSION: Final = 2
"""Of manifests of datasets in which masks are missing or boxes are drawn: a program that knows
version 1 alone would take a mask that nobody drew for an empty one."""
CLASSED_VERSION: Final = 3
"""Of manifests of datasets with classes, partial or not: a program that knows lower versions alone
would train on labels where classes are to be told apart."""
_KNOWN: Final = (SCHEMA_VERSION, PARTIAL_VERSION, CLASSED_VERSION)
_PARSE_ERRORS = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""What text that is not a manifest raises, whatever is wrong with it."""


@dataclass(frozen=True)
class DrawnCounts:
    """Images of one split on which something is drawn, per label.

    Attributes:
        masks_y0: Negative images whose mask is drawn, empty ones included.
        masks_y1: Positive images whose mask is drawn.
        boxes_y0: Negative images that boxes can be had of: drawn as such, or from a mask.
        boxes_y1: Positive images that boxes can be had of.
        own_boxes: Images on which boxes are drawn as such.
        regions_y1: Abnormalities of positive images with a mask.
    """

    masks_y0: int
    masks_y1: int
    boxes_y0: int
    boxes_y1: int
    own_boxes: int
    regions_y1: int


@dataclass(frozen=True)
class SplitCounts:
    """What one split holds: images, positive images, abnormalities, and cells per attribute.

    `negative_abnormalities` are those of `abnormalities` that are drawn on negative images, such as
    benign lesions; manifests from before they could be have none. `drawn` is None where every mask
    of the dataset is drawn and nothing else. `classes` counts images by class; None where there are
    only labels.
    """

    n: int
    positives: int
    abnormalities: int
    cells: Mapping[str, GroupCounts]
    negative_abnormalities: int = 0
    drawn: DrawnCounts | None = None
    classes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Attribute:
    """A spurious attribute and whether it goes with (+1) or against (-1) the label in training."""

    name: str
    direction: int
    source: Literal["measured", "declared"]


@dataclass(frozen=True)
class ShardEntry:
    """One shard: SHA-256 and size of its file, and how many rows it has."""

    sha256: str
    size_bytes: int
    rows: int


@dataclass(frozen=True)
class Manifest:
    """One version of a dataset.

    Attributes:
        name: Dataset name.
        digest: Identity of this version: the content digest, or a generator's own digest.
        content_digest: SHA-256 over the records, see `cluster.datasets.records.content_digest`.
        image_shape: (H, W, C).
        dtype: `uint8`, `uint16` or `float32`.
        attributes: Spurious attributes, ascending by name.
        splits: Counts of `train`, `val` and `test`.
        shards: Shards, by their smallest sample id.
        provenance: Where the data came from; in no digest.
        generator: Options of the generator that made it, or None.
        schema_version: Version of this layout.
        classes: What images are told apart into, at least three; empty where there are only labels.
    """

    name: str
    digest: str
    content_digest: str
    image_shape: tuple[int, int, int]
    dtype: str
    attributes: tuple[Attribute, ...]
    splits: Mapping[str, SplitCounts]
    shards: tuple[ShardEntry, ...]
    provenance: Mapping[str, str]
    generator: Mapping[str, Any] | None = None
    schema_version: int = SCHEMA_VERSION
    classes: tuple[ImageClass, ...] = ()

    @property
    def key(self) -> str:
        """Where it lies in the store."""
        return manifest_key(self.name, self.digest)

    @property
    def is_partial(self) -> bool:
        """Whether some masks were never drawn, or boxes are drawn as such."""
        return self.splits["train"].drawn is not None

    @property
    def synthetic(self) -> str | None:
        """What drew the images, where they are not of patients; None for a release."""
        if self.generator is not None:
            return f"generator {self.provenance.get('generator', self.name)}"
        return self.provenance.get("synthetic")

    @property
    def mask_of(self) -> MaskOf:
        """What the masks are of, see `spurious.data.mask_of`."""
        return read_mask_of(self.provenance)

    @property
    def rows(self) -> int:
        """Images in all splits."""
        return sum(entry.rows for entry in self.shards)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """Names of the spurious attributes, ascending."""
        return tuple(attribute.name for attribute in self.attributes)

    @property
    def directions(self) -> tuple[int, ...]:
        """+1 or -1 per attribute, in the order of `attribute_names`."""
        return tuple(attribute.direction for attribute in self.attributes)

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces, ASCII, one final newline.

        Its key `checksum` is the SHA-256 of the canonical JSON without it.
        """
        fields = dataclasses.asdict(self)
        for counts in fields["splits"].values():
            for optional in ("drawn", "classes"):
                if counts[optional] is None:
                    del counts[optional]
        if not self.classes:
            del fields["classes"]
        return _canonical(fields | {"checksum": _checksum(fields)}) + "\n"

    @staticmethod
    def from_json(text: str | bytes) -> Manifest:
        """Parse and check a manifest.

        Raises:
            Corrupt: the text is not a manifest, or not the one whose checksum it carries.
            ClusterError: it has a schema version that this code does not know.
        """
        try:
            fields = json.loads(text)
            version = fields["schema_version"]
            if version in _KNOWN:
                _check_checksum(fields)
                return _parse(fields)
            if type(version) is not int or version < SCHEMA_VERSION:
                raise ValueError(f"schema version {version!r}")  # there never was one
        except (*_PARSE_ERRORS, ClusterError) as error:
            raise Corrupt(f"manifest cannot be read: {type(error).__name__}: {error}") from error
        raise ClusterError(
            f"manifest has schema version {version!r}; this program reads {_KNOWN[-1]} at "
            "most: use a program at least as new as the one that staged it, or, where it is "
            "damaged, delete it and stage the dataset again"
        )


def list_datasets(store: Store) -> dict[str, tuple[str, ...]]:
    """Return names of staged datasets with the digests of their versions, both ascending."""
    digests: dict[str, list[str]] = {}
    for key in store.list(DATASETS):
        if parsed := parse_manifest_key(key):
            digests.setdefault(parsed[0], []).append(parsed[1])
    return {name: tuple(sorted(digests[name])) for name in sorted(digests)}


def find_manifest(store: Store, name: str, digest_prefix: str | None = None) -> Manifest:
    """Read the manifest of a dataset, by name and, where it has several versions, digest.

    Raises:
        NotFound: no such dataset or version; names the nearest and lists what there is.
        ClusterError: several versions match; lists their digests.
        Corrupt: the manifest cannot be read.
        Denied, Unavailable: from the store.
    """
    prefix = f"{DATASETS}{check_name(name, 'dataset')}/"
    parsed = filter(None, map(parse_manifest_key, store.list(prefix)))
    digests = [digest for _, digest in parsed]
    if not digests:
        raise NotFound(_not_staged(store, name))
    matching = [d for d in digests if d.startswith(digest_prefix or "")]
    listing = ", ".join(digests)
    if not matching:
        raise NotFound(
            f"dataset '{name}' has no version whose digest starts with '{digest_prefix}' in "
            f"{store.url}; staged are: {listing}"
        )
    if len(matching) > 1:
        raise ClusterError(
            f"dataset '{name}' has {len(matching)} versions in {store.url} that match: "
            f"{', '.join(matching)}; write '{name}@DIGEST' with enough digits to name one"
        )
    return load_manifest(store, manifest_key(name, matching[0]))


def _not_staged(store: Store, name: str) -> str:
    names = list(list_datasets(store))
    nearest = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(repr(n) for n in nearest)}?" if nearest else ""
    there = ", ".join(names) if names else "no dataset at all"
    return f"dataset '{name}' is not staged in {store.url}{hint} (staged: {there})"


def load_manifest(store: Store, key: str) -> Manifest:
    """Read the manifest at a key.

    Raises:
        NotFound: there is none.
        Corrupt: it cannot be read, or belongs to another key.
        ClusterError: it has a schema version that this code does not know.
    """
    try:
        manifest = Manifest.from_json(store.get(key))
    except Corrupt as error:
        raise Corrupt(f"{key} in {store.url}: {error}; stage the dataset again") from error
    if manifest.key != key:
        raise Corrupt(
            f"{key} in {store.url} holds the manifest of {manifest.key}; stage the dataset again"
        )
    return manifest


def _canonical(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _checksum(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(fields).encode()).hexdigest()


def _check_checksum(fields: Mapping[str, Any]) -> None:
    """Refuse other content than was written; manifests from before checksums are taken as read."""
    rest = {key: value for key, value in fields.items() if key != "checksum"}
    if "checksum" in fields:
        if fields["checksum"] != (actual := _checksum(rest)):
            raise ValueError(f"its checksum is {fields['checksum']}, its content has {actual}")
    elif unknown := sorted(set(rest) - {field.name for field in dataclasses.fields(Manifest)}):
        raise ValueError(f"unknown key {unknown[0]!r}")  # "checksum", with a bit flipped


def _parse(fields: dict[str, Any]) -> Manifest:
    """Build a manifest from parsed JSON; whatever does not fit raises."""
    height, width, channels = (int(size) for size in fields["image_shape"])
    generator = fields["generator"]
    manifest = Manifest(
        name=check_name(fields["name"], "dataset"),
        digest=check_sha256(fields["digest"], "dataset digest"),
        content_digest=check_sha256(fields["content_digest"], "content digest"),
        image_shape=(height, width, channels),
        dtype=fields["dtype"],
        attributes=tuple(Attribute(**attribute) for attribute in fields["attributes"]),
        splits={split: _parse_split(fields["splits"][split]) for split in SPLITS},
        shards=tuple(ShardEntry(**shard) for shard in fields["shards"]),
        provenance=dict(fields["provenance"]),
        generator=None if generator is None else dict(generator),
        schema_version=fields["schema_version"],
        classes=tuple(ImageClass(**each) for each in fields.get("classes", ())),
    )
    _check_version(manifest)
    for attribute in manifest.attributes:
        check_name(attribute.name, "attribute")
        if attribute.direction not in (1, -1):
            raise ValueError(f"direction of {attribute.name} is {attribute.direction!r}")
    for shard in manifest.shards:
        check_sha256(shard.sha256, "shard")
        _check_counts(shard.rows, shard.size_bytes)
    if manifest.dtype not in DTYPES or min(manifest.image_shape) < 1 or not manifest.shards:
        raise ValueError(
            f"{manifest.image_shape} {manifest.dtype}, {count_of(len(manifest.shards), 'shard')}"
        )
    if manifest.rows != sum(counts.n for counts in manifest.splits.values()):
        raise ValueError(f"{count_of(manifest.rows, 'row')} in shards, another number in splits")
    if any(tuple(c.cells) != manifest.attribute_names for c in manifest.splits.values()):
        raise ValueError(f"cells of other attributes than {manifest.attribute_names}")
    return manifest


def choose_version(*, partial: bool, classed: bool) -> int:
    """Return the schema version of a manifest, by what only programs that know it can read."""
    if classed:
        return CLASSED_VERSION
    return PARTIAL_VERSION if partial else SCHEMA_VERSION


def _check_version(manifest: Manifest) -> None:
    """Raise ValueError where version, counts and classes do not belong together."""
    classes, version = manifest.classes, manifest.schema_version
    if version != choose_version(partial=manifest.is_partial, classed=bool(classes)):
        raise ValueError(f"schema version {version} and counts of masks or classes")
    if problem := find_class_problem(classes):
        raise ValueError(problem)
    for split, counts in manifest.splits.items():
        held = counts.classes or ()
        positives = sum(n for n, of in zip(held, classes, strict=False) if of.positive)
        if len(held) != len(classes) or (
            classes and (sum(held), positives) != (counts.n, counts.positives)
        ):
            raise ValueError(f"counts of classes of {split} contradict its images")


def _parse_split(fields: dict[str, Any]) -> SplitCounts:
    cells = {name: GroupCounts(**cell) for name, cell in fields["cells"].items()}
    _check_counts(*(fields[name] for name in ("n", "positives", "abnormalities")))
    return SplitCounts(
        n=fields["n"],
        positives=fields["positives"],
        abnormalities=fields["abnormalities"],
        cells=cells,
        negative_abnormalities=fields.get("negative_abnormalities", 0),
        drawn=_parse_drawn(fields.get("drawn")),
        classes=_parse_class_counts(fields.get("classes")),
    )


def _parse_drawn(fields: dict[str, Any] | None) -> DrawnCounts | None:
    if fields is None:
        return None
    _check_counts(*fields.values())
    return DrawnCounts(**fields)


def _parse_class_counts(counts: list[int] | None) -> tuple[int, ...] | None:
    if counts is None:
        return None
    _check_counts(*counts)
    return tuple(counts)


def _check_counts(*counts: object) -> None:
    for count in counts:
        if type(count) is not int or count < 0:
            raise ValueError(f"{count!r} is not a count")
