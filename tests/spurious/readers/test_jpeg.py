"""The walk through JPEG files: whole ones of every kind pass, damaged ones do not."""

from __future__ import annotations

import io
import itertools
import re
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from spurious.errors import DataError
from spurious.generators.skin.skin_phantom import SkinPhantom, draw_cases, render_case
from spurious.readers.jpeg import check_jpeg

_RANDOM = np.random.default_rng(5)
NOISY = np.clip(
    np.kron(_RANDOM.integers(0, 255, (5, 7, 3)), np.ones((16, 16, 1)))
    + _RANDOM.normal(0, 9, (80, 112, 3)),
    0,
    255,
).astype(np.uint8)[:75, :109]
"""Sides that are no multiples of a unit's."""
FLAT = np.full((40, 56, 3), 255, np.uint8)


def encode(pixels: np.ndarray, mode: str = "RGB", **options: Any) -> bytes:
    """Return a JPEG by Pillow."""
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("pixels", [NOISY, FLAT, FLAT[:1, :1]], ids=["noisy", "flat", "one"])
def test_whole_files_pass(pixels: np.ndarray, mode: str) -> None:
    """Baseline and progressive, optimised, with restart marks, every sampling; trailing bytes."""
    for progressive, optimize, subsampling, restart, quality in itertools.product(
        (False, True), (False, True), (0, 2), (0, 3), (30, 97)
    ):
        data = encode(
            pixels, mode, progressive=progressive, optimize=optimize, quality=quality,
            restart_marker_blocks=restart, **({} if mode == "L" else {"subsampling": subsampling}),
        )  # fmt: skip
        assert check_jpeg(data + b"behind \xff\xd8") == len(data)


def test_files_of_another_encoder_pass() -> None:
    """OpenCV's, with the samplings that Pillow does not write."""
    for sampling, progressive, restart in itertools.product(
        (0x411111, 0x221111, 0x211111, 0x121111, 0x111111), (0, 1), (0, 4)
    ):
        options = [
            *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling),
            *(cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_RST_INTERVAL, restart),
        ]
        data = cv2.imencode(".jpg", NOISY, options)[1].tobytes()
        assert check_jpeg(data) == len(data)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 4}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_damage_is_refused(options: dict[str, Any], mode: str) -> None:
    """Cut anywhere with and without an end mark, zeroed or dropped inside."""
    data = encode(NOISY, mode, quality=90, **options)
    begin = data.index(b"\xff\xda") + 14
    for share in (0.02, 0.3, 0.5, 0.8, 0.99):
        place = begin + int((len(data) - begin) * share)
        for damaged in (data[:place], data[:place] + b"\xff\xd9"):
            with pytest.raises(DataError):
                check_jpeg(damaged)
    for place, length in itertools.product(
        (begin + 90, len(data) // 2, len(data) - 400), (40, 300)
    ):
        for damaged in (
            data[:place] + bytes(length) + data[place + length :],
            data[:place] + data[place + length :],
        ):
            with pytest.raises(DataError):
                check_jpeg(damaged)


WITH_ZEROS = 253
"""A picture of the dermoscopy phantom whose compressed texture has eight zero bytes on end."""


def test_zeroed_bytes_are_refused_and_a_texture_that_has_some_is_not() -> None:
    """Zeros spell coefficients of -1, which the walk alone takes; an intact film has 8 bytes."""
    config = SkinPhantom(n_train=200, n_val=60, n_test=120, prevalence=0.5)
    intact = encode(render_case(config, draw_cases(config)[WITH_ZEROS])[0], quality=92)
    assert re.search(rb"\0{8}", intact[intact.index(b"\xff\xda") + 14 :])
    check_jpeg(intact)
    data = encode(NOISY, "L", quality=90)
    begin = data.index(b"\xff\xda") + 90
    for place in range(begin, len(data) - 100, 97):
        with pytest.raises(DataError):
            check_jpeg(data[:place] + bytes(20) + data[place + 20 :])


def test_a_scan_that_is_left_out_is_refused() -> None:
    """A progressive file that ends between two scans decodes without a warning, but blurred."""
    data = encode(NOISY, progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(DataError, match="its end mark comes before all of its scans"):
        check_jpeg(data[:last] + b"\xff\xd9")


def test_a_run_of_empty_blocks_beyond_the_scan_is_refused() -> None:
    """A header that was changed to 12 blocks, and one code that ends all of 14."""
    data = encode(FLAT[:16], "L", progressive=True)
    width = data.index(b"\xff\xc2") + 7
    with pytest.raises(DataError, match="skip 2 blocks more than the scan has"):
        check_jpeg(data[:width] + (48).to_bytes(2) + data[width + 2 :])


def find_segment(data: bytes, marker: int) -> tuple[int, int]:
    """Return where a segment begins, at its mark, and ends."""
    begin = data.index(bytes([0xFF, marker]))
    return begin, begin + 2 + int.from_bytes(data[begin + 2 : begin + 4])


def test_structure_that_decoders_pass_over_is_refused() -> None:
    """Restart marks out of order, tables that are none, a second frame, a scan that came before."""
    plain = encode(NOISY, "L", restart_marker_blocks=4)
    quantiser, code, frame = (find_segment(plain, marker)[0] for marker in (0xDB, 0xC4, 0xC0))
    first, behind = find_segment(plain, 0xC0)
    progressive = encode(NOISY, "L", progressive=True)
    last = progressive.rindex(b"\xff\xda")
    scans = progressive[last:-2]
    for damaged, words in (
        (plain.replace(b"\xff\xd0", b"\xff\xd1", 1), "restart mark 1 of a scan is missing"),
        (plain[: quantiser + 9] + b"\0" + plain[quantiser + 10 :], "quantisation table is damaged"),
        (plain[: code + 5] + b"\xff" + plain[code + 6 :], "Huffman table is damaged"),
        (plain[:behind] + plain[first:behind] + plain[behind:], "frame header is damaged"),
        (plain[: frame + 5] + bytes(2) + plain[frame + 7 :], "frame header is damaged"),
        (progressive[:-2] + scans + b"\xff\xd9", "scans do not follow on each other"),
    ):
        with pytest.raises(DataError, match=words):
            check_jpeg(damaged)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"GIF89a", b"\xff\xd8\xff\xd9"])
def test_other_files_are_refused(data: bytes) -> None:
    """Nothing but a whole JPEG passes."""
    with pytest.raises(DataError):
        check_jpeg(data)
