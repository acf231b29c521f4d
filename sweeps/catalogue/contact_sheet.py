"""A picture of some training images with what is drawn on them, to look at before a sweep.

Shape legend: H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cluster.datasets.manifest import Manifest
from cluster.stores.base import Store
from spurious.data.drawn import BOXES, MASK
from sweeps.catalogue.image_facts import ImageColumns
from sweeps.catalogue.targets import iterate_shards

TILE: Final = 192
"""Side of a tile in pixels, without its caption."""
_CAPTION, _COLUMNS, _MARGIN = 44, 6, 8
_MASK_COLOUR, _BOX_COLOUR = (255, 60, 60), (255, 210, 0)


@dataclass(frozen=True)
class _Tile:
    """One image and what is drawn on it, `drawn` in bits of `spurious.data.drawn`."""

    sample_id: str
    image: NDArray[Any]
    mask: NDArray[np.bool_]
    boxes: NDArray[np.bool_] | None
    drawn: int
    caption: str


def draw_contact_sheet(
    store: Store, manifest: Manifest, columns: ImageColumns, tiles: int = 24
) -> Image.Image:
    """Draw training images of both labels, spread over the combinations of attributes.

    Outlines of masks are red, boxes that were drawn as such yellow. Captions say id, label,
    attributes, and what nobody drew.

    Args:
        store: Where the shards are.
        manifest: The dataset.
        columns: Its images, see `load_image_columns`.
        tiles: Images at most.
    """
    chosen = choose_images(columns, tiles)
    captions = {str(columns.sample_ids[at]): _caption(manifest, columns, int(at)) for at in chosen}
    tiles_by_id: dict[str, _Tile] = {}
    for rows in iterate_shards(store, manifest):
        drawn = rows.drawn_on(np.arange(len(rows.labels)))
        for at, sample_id in enumerate(rows.sample_ids.tolist()):
            if sample_id in captions:
                tiles_by_id[sample_id] = _Tile(
                    sample_id,
                    np.array(rows.images[at]),
                    rows.masks[at],
                    None if rows.boxes is None else rows.boxes[at],
                    int(drawn[at]),
                    captions[sample_id],
                )
        if len(tiles_by_id) == len(captions):
            break
    return _compose([tiles_by_id[sample_id] for sample_id in captions if sample_id in tiles_by_id])


def choose_images(columns: ImageColumns, tiles: int) -> NDArray[np.int64]:
    """Choose training images evenly from those sorted by label, attributes and id."""
    train = np.flatnonzero(columns.splits == "train")
    keys = [columns.sample_ids[train], *columns.attributes[train].T[::-1], columns.labels[train]]
    ordered = train[np.lexsort(keys)]
    step = max(1.0, len(ordered) / tiles)
    return ordered[(np.arange(min(tiles, len(ordered))) * step).astype(np.int64)]


def _caption(manifest: Manifest, columns: ImageColumns, at: int) -> str:
    words = {1: "{}", 0: "", -1: "{}?"}
    names = [
        words[int(value)].format(name)
        for name, value in zip(manifest.attribute_names, columns.attributes[at], strict=True)
    ]
    shown = ", ".join(name for name in names if name) or "no attribute"
    drawn = "" if columns.mask_drawn[at] else "; mask not drawn"
    if columns.mask_drawn[at] and not columns.numbers["components"][at]:
        drawn = "; mask empty"
    return f"{columns.sample_ids[at]}\nlabel {columns.labels[at]}{drawn}\n{shown}"


def _compose(tiles: Sequence[_Tile]) -> Image.Image:
    rows = max(1, -(-len(tiles) // _COLUMNS))
    wide, high = TILE + _MARGIN, TILE + _CAPTION + _MARGIN
    sheet = Image.new("RGB", (_COLUMNS * wide + _MARGIN, rows * high + _MARGIN), "white")
    text = ImageDraw.Draw(sheet)
    text.font = ImageFont.load_default(12)
    for number, tile in enumerate(tiles):
        left = _MARGIN + number % _COLUMNS * wide
        top = _MARGIN + number // _COLUMNS * high
        sheet.paste(_picture(tile), (left, top))
        for line, words in enumerate(tile.caption.splitlines()):
            while text.textlength(words) > TILE:
                words = words[:-2] + "…"
            text.text((left, top + TILE + 1 + 14 * line), words, fill="black")
    return sheet


def _picture(tile: _Tile) -> Image.Image:
    """Scale an image to a tile and draw outlines over it, two pixels wide at any size."""
    pixels = _to_bytes(tile.image)
    grey = pixels.shape[2] == 1
    picture = Image.fromarray(pixels[:, :, 0] if grey else pixels[:, :, :3]).convert("RGB")
    canvas = np.array(picture.resize((TILE, TILE), Image.Resampling.BILINEAR))
    if tile.drawn & MASK:
        canvas[_outline(tile.mask)] = _MASK_COLOUR
    if tile.boxes is not None and tile.drawn & BOXES:
        canvas[_outline(tile.boxes)] = _BOX_COLOUR
    return Image.fromarray(canvas)


def _outline(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the inner border of a region, (H, W) bool to (TILE, TILE) bool."""
    from scipy.ndimage import binary_erosion

    scaled = Image.fromarray(region).resize((TILE, TILE), Image.Resampling.NEAREST)
    large = np.asarray(scaled, bool)
    return np.asarray(large & ~binary_erosion(large, iterations=2, border_value=1), bool)


def _to_bytes(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an image as uint8: integers by their range, floats from their least to their most."""
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        return (image >> 8).astype(np.uint8)
    low, high = float(image.min()), float(image.max())
    return np.asarray((image - low) / max(high - low, 1e-12) * 255.0, np.uint8)
