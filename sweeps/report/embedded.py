"""Figures inside the page: of few colours, which is a third of the bytes of those beside it."""

from __future__ import annotations

import base64
import io

from PIL import Image

COLOURS = 128


def embed(png: bytes) -> str:
    """Return a figure's PNG bytes as base64 of a PNG of at most `COLOURS` colours."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    buffer = io.BytesIO()
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
