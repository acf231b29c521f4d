"""How much damage the readers notice: `make bench-damage`, about two minutes.

    .venv/bin/python tests/benchmarks/damaged_pictures.py [--tries 30] [--seed 0]

Whole pictures of every format that the readers take are damaged at random places and read again.
Each file ends in one of four ways: refused; read with a warning; read to the same pixels and
identity; or read to OTHER ones without a word, which is the number that matters. Compressed DICOM
is damaged inside the frame and wrapped again with right lengths, which is harder to notice than
damage of the file; the last three rows damage files of a release and load records.
"""

from __future__ import annotations

import argparse
import io
import itertools
import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from spurious.config.datasets import IsicOptions, SiimAcrOptions
from spurious.generators.chest import chest_phantom, siim_writer
from spurious.generators.skin import isic_writer, skin_phantom
from spurious.readers.dicom import read_film
from spurious.readers.isic.isic import Isic
from spurious.readers.isic.isic_files import IMAGE_FOLDER, MASK_FOLDER
from spurious.readers.pictures import read_picture
from spurious.readers.siim_acr.siim_acr import SiimAcr

SIDE = 160
CHEST = chest_phantom.ChestPhantom(n_train=4, n_val=4, n_test=4, size=SIDE, seed=5)
SKIN = skin_phantom.SkinPhantom(n_train=4, n_val=4, n_test=4, width=SIDE, seed=5)
JPEG_END, PNG_END = b"\xff\xd9", b"\0\0\0\0IEND\xaeB`\x82"
OUTCOMES = ("refused", "warned", "same", "other")

Pixels = NDArray[Any]
Content = tuple[bytes, ...]
Damage = Callable[[np.random.Generator, bytes, bytes], bytes]


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Attributes:
        intact: Whole bodies, which are damaged.
        read: What a body is read to, by a path to write it to.
        end: What closes a body that was cut; None pads it with zeros to its length.
    """

    intact: Sequence[bytes]
    read: Callable[[Path, bytes], Content]
    end: bytes | None


class Warned(logging.Handler):
    """Counts what the readers log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count one warning."""
        self.count += 1


def films() -> list[Pixels]:
    """Return (SIDE, SIDE) uint8 films."""
    return [chest_phantom.render_case(CHEST, case)[0] for case in chest_phantom.draw_cases(CHEST)]


def moles() -> list[Pixels]:
    """Return (H, SIDE, 3) uint8 pictures of skin."""
    return [skin_phantom.render_case(SKIN, case)[0] for case in skin_phantom.draw_cases(SKIN)]


def save(pixels: Pixels, kind: str, **options: Any) -> bytes:
    """Return a file by Pillow."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def picture_formats() -> Iterator[tuple[str, Format]]:
    """Yield JPEG in eight kinds and PNG in three."""

    def reader(kind: str) -> Callable[[Path, bytes], Content]:
        def read(path: Path, body: bytes) -> Content:
            path.write_bytes(body)
            return (read_picture(path, kind, "RGB", "L", "I;16").tobytes(),)

        return read

    for progressive, colour, restart in itertools.product((False, True), repeat=3):
        options = {"progressive": progressive, "restart_marker_blocks": 4 * restart, "quality": 90}
        bodies = [save(pixels, "JPEG", **options) for pixels in (moles() if colour else films())]
        name = f"{'progressive' if progressive else 'baseline'} {'colour' if colour else 'grey'}"
        yield f"JPEG {name}{', restarts' * restart}", Format(bodies, reader("JPEG"), JPEG_END)
    deep = [film.astype(np.uint16) * 257 for film in films()]
    for name, pixels in {"8 bit": films(), "16 bit": deep, "colour": moles()}.items():
        bodies = [save(one, "PNG") for one in pixels]
        yield f"PNG {name}", Format(bodies, reader("PNG"), PNG_END)


def dicom(body: bytes, syntax: UID, bits: int) -> bytes:
    """Return a film of one frame."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = SecondaryCaptureImageStorage, syntax
    meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    header = Dataset()
    header.file_meta = meta
    fields = {
        "SOPInstanceUID": "1.2.3", "StudyInstanceUID": "1.2.4", "PatientID": "p1",
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "Rows": SIDE,
        "Columns": SIDE, "BitsAllocated": 16 if bits > 8 else 8, "BitsStored": bits,
        "HighBit": bits - 1, "PixelRepresentation": 0,
        "PixelData": encapsulate([body]) if syntax.is_encapsulated else body,
    }  # fmt: skip
    for name, value in fields.items():
        setattr(header, name, value)
    header["PixelData"].VR = "OW" if bits > 8 else "OB"
    file = io.BytesIO()
    header.save_as(file, enforce_file_format=True)
    return file.getvalue()


def encode_rle(pixels: Pixels) -> bytes:
    """Return the RLE frame of a film."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.Rows, header.Columns = pixels.shape
    header.SamplesPerPixel, header.PixelRepresentation = 1, 0
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 8 * pixels.itemsize
    header.HighBit = header.BitsStored - 1
    header.compress(RLELossless, pixels, generate_instance_uid=False)
    return next(generate_frames(header.PixelData, number_of_frames=1))


def dicom_formats() -> Iterator[tuple[str, Format]]:
    """Yield native, RLE, JPEG and JPEG 2000 films."""

    def reader(syntax: UID, bits: int, *, whole: bool) -> Callable[[Path, bytes], Content]:
        def read(path: Path, body: bytes) -> Content:
            path.write_bytes(body if whole else dicom(body, syntax, bits))
            film = read_film(path)
            names = (film.patient_id, film.study_uid, film.sop_uid)
            return (film.pixels.tobytes(), *(name.encode() for name in names))

        return read

    deep = [film.astype(np.uint16) * 16 + 7 for film in films()]
    native = ExplicitVRLittleEndian
    for bits, pixels in ((8, films()), (12, deep)):
        bodies = [dicom(film.tobytes(), native, bits) for film in pixels]
        yield f"DICOM native {bits} bit", Format(bodies, reader(native, bits, whole=True), None)
        bodies = [encode_rle(film) for film in pixels]
        read = reader(RLELossless, bits, whole=False)
        yield f"DICOM RLE {bits} bit", Format(bodies, read, None)
    coded: dict[str, tuple[UID, str, dict[str, Any]]] = {
        "JPEG baseline": (JPEGBaseline8Bit, "JPEG", {"quality": 90}),
        "JPEG 2000": (JPEG2000Lossless, "JPEG2000", {"no_jp2": True}),
        "JPEG 2000 lossy": (
            *(JPEG2000, "JPEG2000"),
            {"no_jp2": True, "irreversible": True, "quality_layers": [8]},
        ),
    }
    for name, (syntax, kind, options) in coded.items():
        bodies = [save(film, kind, **options) for film in films()]
        yield f"DICOM {name}", Format(bodies, reader(syntax, 8, whole=False), JPEG_END)


def release_formats(folder: Path) -> Iterator[tuple[str, Format]]:
    """Yield the files of both releases, read as records."""
    siim_writer.write_siim_acr(folder / "siim", CHEST)
    isic_writer.write_isic(folder / "isic", SKIN)
    siim = SiimAcr(folder / "siim", SiimAcrOptions(image_size=SIDE))
    isic = Isic(folder / "isic", IsicOptions(image_size=64))
    for name, source, paths, end in (
        ("SIIM-ACR film", siim, sorted((folder / "siim").glob("*/*/*/*.dcm")), None),
        ("ISIC image", isic, sorted((folder / "isic" / IMAGE_FOLDER).iterdir()), JPEG_END),
        ("ISIC mask", isic, sorted((folder / "isic" / MASK_FOLDER).iterdir()), PNG_END),
    ):
        place, original = paths[0], paths[0].read_bytes()
        image = place.stem.removesuffix("_segmentation")

        def read(
            path: Path,
            body: bytes,
            source: Any = source,
            place: Path = place,
            image: str = image,
            original: bytes = original,
        ) -> Content:
            place.write_bytes(body)
            try:
                record = source.load(image)
            finally:
                place.write_bytes(original)
            return (record.image.tobytes(), record.mask.tobytes(), record.patient_id.encode())

        other = paths[1].read_bytes()
        yield name, Format([original, other] if name == "ISIC image" else [original], read, end)


def _place(rng: np.random.Generator, body: bytes, length: int = 1) -> int:
    return int(rng.integers(0, max(1, len(body) - length)))


def _overwrite(length: int, *, zeros: bool) -> Damage:
    def damage(rng: np.random.Generator, body: bytes, other: bytes) -> bytes:
        size = min(length, len(body) // 2)
        place = _place(rng, body, size)
        return body[:place] + (bytes(size) if zeros else rng.bytes(size)) + body[place + size :]

    return damage


def _flip(rng: np.random.Generator, body: bytes, other: bytes) -> bytes:
    place = _place(rng, body)
    return body[:place] + bytes([body[place] ^ (1 << int(rng.integers(8)))]) + body[place + 1 :]


def _cut(rng: np.random.Generator, body: bytes, other: bytes) -> bytes:
    return body[: _place(rng, body)]


def _remove(rng: np.random.Generator, body: bytes, other: bytes) -> bytes:
    size = int(rng.integers(1, min(4096, len(body) // 2)))
    place = _place(rng, body, size)
    return body[:place] + body[place + size :]


def _repeat(rng: np.random.Generator, body: bytes, other: bytes) -> bytes:
    size = int(rng.integers(1, min(4096, len(body) // 2)))
    place = _place(rng, body, size)
    return body[: place + size] + body[place:]


def _join(rng: np.random.Generator, body: bytes, other: bytes) -> bytes:
    return body[: len(body) // 2] + other[len(other) // 2 :]


DAMAGES: Mapping[str, Damage] = {
    "cut": _cut,
    "cut, closed": _cut,
    **{f"{size} zeroed": _overwrite(size, zeros=True) for size in (1, 16, 256, 4096)},
    **{f"{size} random": _overwrite(size, zeros=False) for size in (1, 16, 256)},
    "bit flipped": _flip,
    "removed": _remove,
    "repeated": _repeat,
    "halves joined": _join,
}


def try_damage(
    form: Format, name: str, tries: int, rng: np.random.Generator, path: Path
) -> Counter[str]:
    """Damage a format's bodies in one way; return how often each outcome was seen."""
    outcomes: Counter[str] = Counter()
    whole = [form.read(path, body) for body in form.intact]
    warned = Warned()
    logger = logging.getLogger("spurious.readers")
    logger.addHandler(warned)
    for number in range(tries):
        body = form.intact[number % len(form.intact)]
        other = form.intact[(number + 1) % len(form.intact)]
        damaged = DAMAGES[name](rng, body, other)
        if name == "cut, closed":
            padding = bytes(len(body) - len(damaged))
            damaged += padding if form.end is None else form.end
        if damaged == body:
            continue
        before = warned.count
        try:
            content = form.read(path, damaged)
        except Exception:  # noqa: BLE001 (how it is refused is what tests look at)
            outcomes["refused"] += 1
            continue
        same = content == whole[number % len(form.intact)]
        outcomes["same" if same else "warned" if warned.count > before else "other"] += 1
    logger.removeHandler(warned)
    return outcomes


def main() -> None:
    """Print the share of files read to other pixels, by format and damage, in percent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="formats whose names contain this")
    parser.add_argument("--full", action="store_true", help="all four outcomes in each cell")
    chosen = parser.parse_args()
    logging.getLogger("spurious.readers").propagate = False
    rng = np.random.default_rng(chosen.seed)
    print(f"| format | {' | '.join(DAMAGES)} | {' / '.join(OUTCOMES)} |")
    print(f"|{' --- |' * (len(DAMAGES) + 2)}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        formats = itertools.chain(picture_formats(), dicom_formats(), release_formats(folder))
        for title, form in formats:
            if chosen.only not in title:
                continue
            path, total = folder / "picture", Counter[str]()
            cells = []
            for name in DAMAGES:
                outcomes = try_damage(form, name, chosen.tries, rng, path)
                total += outcomes
                cells.append(_show(outcomes, OUTCOMES if chosen.full else OUTCOMES[-1:]))
            print(f"| {title} | {' | '.join(cells)} | {_show(total, OUTCOMES)} |", flush=True)


def _show(outcomes: Counter[str], names: Sequence[str]) -> str:
    """Return outcomes in percent of the damaged files; a dash where nothing was damaged."""
    whole = outcomes.total()
    return " / ".join(f"{100 * outcomes[name] / whole:.0f}" for name in names) if whole else "-"


if __name__ == "__main__":
    main()
