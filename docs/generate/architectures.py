"""Writes `spurious/config/architectures.tsv`: `python -m docs.generate.architectures`, an hour.

Image sides are found by forward passes on torch's meta device, which compute shapes alone. Run it
where the locked version of timm or segmentation-models-pytorch changes.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from spurious.config.encoders import ENCODERS, TIMM_PREFIX
from spurious.errors import ConfigError
from spurious.training.architectures import build_on_meta, has_maps, smp_encoder, timm_body
from spurious.training.released import sketch

TABLE = Path(__file__).resolve().parents[2] / "spurious" / "config" / "architectures.tsv"
_HEADER = (
    "# library\tname\tsides of a classifier\tof an encoder\tmaps\tnumbers of a classifier\t"
    "of a U-Net\tsketch of tensors"
)
_OBLONG = {1: (97, 129), 2: (98, 130), 4: (100, 132), 8: (104, 136), 14: (98, 126)} | {
    16: (112, 144),
    32: (96, 160),
    64: (192, 320),
}
"""Multiple to sides that are multiples of it and of no larger one here."""
_SHORTEST = range(32, 400)


def main() -> None:
    """Write a line for each architecture."""
    import timm

    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    lines = [_HEADER]
    lines += [
        "\t".join(("smp", name, "-", "32", "-", "-", unet_numbers(name), encoder_sketch(name)))
        for name in sorted(ENCODERS)
    ]
    lines += [
        "\t".join(("timm", name, *row)) for name in sorted(timm.list_models()) for row in rows(name)
    ]
    TABLE.write_text("\n".join(lines) + "\n", encoding="ascii")


def encoder_sketch(name: str) -> str:
    """Return the sketch of an encoder of segmentation-models-pytorch."""
    return _sketch(build_on_meta(lambda: smp_encoder(name)))


def unet_numbers(encoder: str) -> str:
    """Return how many numbers the tensors of a U-Net of segmentation-models-pytorch hold."""
    from segmentation_models_pytorch import Unet

    return _count(
        build_on_meta(lambda: Unet(encoder_name=encoder, encoder_weights=None, classes=2))
    )


def rows(name: str) -> Iterator[tuple[str, str, str, str, str, str]]:
    """Yield a timm architecture's columns, or nothing: sides of both uses, maps, numbers, sketch.

    Maps are `maps` where a classifier pools maps, and `-` elsewhere. An architecture that can be
    neither, as it gives no vector an image, has no line.
    """
    body = build_on_meta(lambda: timm_body(name)).eval()
    native = body.default_cfg["input_size"][1]
    fixed = bool(body.default_cfg.get("fixed_input_size"))
    features = getattr(body, "head_hidden_size", None) or body.num_features

    def is_classifier(height: int, width: int) -> bool:
        return _shape(body, height, width) == (2, features)

    classifier = _sides(is_classifier, native, fixed)
    encoder = _encoder_sides(name, native, fixed)
    if classifier != "-" or encoder != "-":
        of_classifier = "-" if classifier == "-" else _count(body)
        of_unet = "-" if encoder == "-" else unet_numbers(TIMM_PREFIX + name)
        maps = _maps(body, native, classifier)
        yield classifier, encoder, maps, of_classifier, of_unet, _sketch(body)


def _maps(body: Any, native: int, classifier: str) -> str:
    features = None if classifier == "-" else _forward(body.forward_features, native, native)
    return "maps" if has_maps(features) else "-"


def _sides(works: Any, native: int, fixed: bool) -> str:
    for multiple, oblong in {} if fixed else _OBLONG.items():
        if works(*oblong):
            squares = (s for s in _SHORTEST if s % multiple == 0 and (multiple > 8 or s % 8 == 0))
            shortest = next((s for s in squares if works(s, s)), native)
            return f"{multiple}" if shortest <= max(32, multiple) else f"{multiple}>={shortest}"
    return f"={native}" if works(native, native) else "-"


def _encoder_sides(name: str, native: int, fixed: bool) -> str:
    try:
        encoder = build_on_meta(lambda: smp_encoder(TIMM_PREFIX + name)).eval()
    except ConfigError:
        return "-"

    def works(height: int, width: int) -> bool:
        maps = _forward(encoder, height, width)
        halved = [(height >> level, width >> level) for level in range(6)]
        return maps is not None and [tuple(each.shape[-2:]) for each in maps] == halved

    if not fixed and works(96, 160):
        shortest = next((s for s in (32, 64, 96, 128) if works(s, s)), native)
        return "32" if shortest == 32 else f"32>={shortest}"
    return f"={native}" if works(native, native) else "-"


def _shape(module: Any, height: int, width: int) -> tuple[int, ...] | None:
    output = _forward(module, height, width)
    return tuple(output.shape) if isinstance(output, torch.Tensor) else None


def _forward(module: Any, height: int, width: int) -> Any:
    try:
        with torch.no_grad():
            return module(torch.empty(2, 3, height, width, device="meta"))
    except Exception:  # noqa: BLE001 (architectures raise many types for sides they cannot take)
        return None


def _count(module: torch.nn.Module) -> str:
    return str(sum(tensor.numel() for tensor in module.state_dict().values()))


def _sketch(module: torch.nn.Module) -> str:
    return "".join(sketch(module.state_dict()))


if __name__ == "__main__":
    main()
