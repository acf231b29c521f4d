"""The text of `sweeps data show`: tables that fit a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cluster.common.wording import count_of
from spurious.data.mask_of import is_region
from spurious.scoring.expected_width import ASSUMED_AUROC


def render_overview(overview: Mapping[str, Any]) -> str:
    """Render the document of `build_overview` as text."""
    height, width, channels = overview["image_shape"]
    lines = [
        f"{overview['name']}@{overview['digest']}",
        f"{height} x {width} x {channels} {overview['dtype']}, "
        f"{overview['size_bytes'] / 1e6:,.1f} MB in {overview['store']}",
    ]
    if overview["synthetic"]:
        lines.append(f"SYNTHETIC: drawn by {overview['synthetic']}")
    if is_region(overview["mask_of"]):
        lines.append(f"masks are of the {overview['mask_of']}, not of the abnormality")
    parts = (_splits, _classes, _attributes, _shortcut, _targets, _overlaps, _covariates)
    for part in (*parts, _provenance):
        if rendered := list(part(overview)):
            lines += ["", *rendered]
    return "\n".join(lines)


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns: the first to the left, all others to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if not at else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _splits(overview: Mapping[str, Any]) -> Iterator[str]:
    head = ["split", "images", "positive", "patients", "regions", "masks y=1", "masks y=0"]
    head += ["boxes y=1", "boxes y=0"]
    names = ["n", "positives", "patients", "abnormalities", "masks_y1", "masks_y0"]
    names += ["own_boxes_y1", "own_boxes_y0"]
    rows = [
        [split, *(f"{of[name]:,}" for name in names)] for split, of in overview["splits"].items()
    ]
    yield from align([head, *rows])


def _classes(overview: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        [of["name"], str(int(of["positive"])), *(f"{n:,}" for n in of["images"].values())]
        for of in overview["classes"]
    ]
    if rows:
        yield from align([["class", "label", *overview["splits"]], *rows])


def _attributes(overview: Mapping[str, Any]) -> Iterator[str]:
    head = ["attribute", "split", "y0 s0", "y0 s1", "y1 s0", "y1 s1", "unknown", "phi"]
    rows = [[*head, "robust on", "half-width"]]
    for attribute in overview["attributes"]:
        for split, of in attribute["splits"].items():
            name = f"{attribute['name']} ({attribute['direction']:+d})" if split == "train" else ""
            counts = [f"{of[key]:,}" for key in ("y0_s0", "y0_s1", "y1_s0", "y1_s1")]
            unknown = f"{of['y0_unknown'] + of['y1_unknown']:,}"
            robust = ["", ""]
            if "robust_positives" in of:
                sizes = f"{of['robust_positives']:,}+{of['robust_negatives']:,}"
                robust = [sizes, _number(of["robust_half_width"], 3)]
            rows.append([name, split, *counts, unknown, _number(of["correlation"], 2), *robust])
    if len(rows) > 1:
        yield from align(rows)
        yield (
            "phi: correlation with the label; robust on: positive + negative images that robust "
            "AUROC compares;"
        )
        yield f"half-width: of its 95 % interval, expected at an AUROC of {ASSUMED_AUROC}"


def _shortcut(overview: Mapping[str, Any]) -> Iterator[str]:
    measured = overview["attribute_only_auroc"]
    if measured is not None:
        values = ", ".join(
            f"{split} {_number(value, 3)} ({count_of(measured['images'][split], 'image')})"
            for split, value in measured["auroc"].items()
        )
        yield f"AUROC of a logistic model on the attributes alone, without images: {values}"


def _targets(overview: Mapping[str, Any]) -> Iterator[str]:
    head = ["target", "positive images", "variance", "area %", "times mask"]
    rows = [
        [
            of["specificity"],
            f"{of['images']:,}",
            _number(of["variance"], 3),
            _number(None if of["area"] is None else 100 * of["area"], 2),
            _number(of["times_mask"], 2),
        ]
        for of in overview["targets"]
    ]
    if rows:
        yield from align([head, *rows])
        yield (
            "variance: of the pixels that the target calls abnormal (Saab et al. 2022, definition "
            "1), 1 is that of all;"
        )
        yield "times mask: median of the target's area in areas of the mask"
    outlines = overview["outlines"]
    if outlines["images"]:
        yield (
            f"an annotator clicks a median of {outlines['vertices_2px']:g} vertices a mask at a "
            f"tolerance of 2 pixels, {outlines['vertices_5px']:g} at 5 "
            f"({count_of(outlines['images'], 'mask')})"
        )


def _overlaps(overview: Mapping[str, Any]) -> Iterator[str]:
    for name, of in overview["overlaps"].items():
        yield (
            f"{name}: of its pixels {_number(of['in_mask'], 3)} lie in the mask and "
            f"{_number(of['in_boxes'], 3)} in boxes (of {count_of(of['images'], 'positive image')})"
        )


def _covariates(overview: Mapping[str, Any]) -> Iterator[str]:
    for name, of in overview["covariates"].items():
        values = (
            f"{of['lowest']:g} to {of['highest']:g}"
            if "lowest" in of
            else ", ".join(f"{word} {count:,}" for word, count in of["commonest"].items())
        )
        yield f"covariate {name}: {of['known']:,} known: {values}"


def _provenance(overview: Mapping[str, Any]) -> Iterator[str]:
    for key, value in overview["provenance"].items():
        yield f"{key}: {value}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
