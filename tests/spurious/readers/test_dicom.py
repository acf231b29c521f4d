"""Decoding of radiographs from DICOM files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from spurious.errors import DataError
from spurious.readers.dicom import read_film
from spurious.readers.jpeg2000 import check_jpeg2000

RAMP = np.arange(48, dtype=np.uint16).reshape(6, 8)


def write(
    path: Path, pixels: NDArray[Any], bits: int = 8, *, compressed: bool = False, **tags: object
) -> Path:
    """Write a film; `tags` replace or, when None, remove header fields."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    header = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    wide = bits > 8
    data = tags.pop("PixelData", pixels.astype(np.uint16 if wide else np.uint8).tobytes())
    fields: dict[str, object] = {
        "SOPInstanceUID": "1.2.3", "StudyInstanceUID": "1.2.4", "PatientID": "p1",
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[-2], "Columns": pixels.shape[-1],
        "BitsAllocated": 16 if wide else 8, "BitsStored": bits, "HighBit": bits - 1,
        "PixelRepresentation": 0, "PixelData": data,
    }  # fmt: skip
    for name, value in {**fields, **tags}.items():
        if value is not None:
            setattr(header, name, value)
    if compressed:
        meta.TransferSyntaxUID = JPEGBaseline8Bit
        header["PixelData"].VR = "OB"
    header.save_as(path, enforce_file_format=True)
    return path


def write_jpeg(path: Path, pixels: NDArray[np.uint8], **tags: object) -> Path:
    """Write a film with JPEG-baseline compression, as the release has it."""
    jpeg = io.BytesIO()
    Image.fromarray(pixels).save(jpeg, "JPEG", quality=95)
    data = encapsulate([jpeg.getvalue()])
    return write(path, pixels, compressed=True, PixelData=data, **tags)


def test_eight_bit_pixels_and_identity_come_back(tmp_path: Path) -> None:
    """Stored bytes are the film, unchanged."""
    film = read_film(write(tmp_path / "a.dcm", RAMP))
    assert (film.pixels == RAMP).all()
    assert film.pixels.dtype == np.uint8
    assert (film.patient_id, film.study_uid, film.sop_uid) == ("p1", "1.2.4", "1.2.3")


def test_jpeg_baseline_is_decoded(tmp_path: Path) -> None:
    """The release's compression; JPEG is lossy, so within a few levels."""
    pixels = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))
    film = read_film(write_jpeg(tmp_path / "a.dcm", pixels))
    assert np.abs(film.pixels.astype(int) - pixels).max() <= 4


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    """There 0 is white; a reader that ignores it hands over negatives."""
    film = read_film(write(tmp_path / "a.dcm", RAMP, PhotometricInterpretation="MONOCHROME1"))
    assert (film.pixels == 255 - RAMP).all()


@pytest.mark.parametrize(("bits", "largest"), [(12, 4095), (16, 65535), (10, 1023)])
def test_deeper_pixels_are_scaled_by_bits_stored(tmp_path: Path, bits: int, largest: int) -> None:
    """The full scale of the header becomes 0 to 255, not the range of this film or 16 bits."""
    pixels = np.array([[0, largest // 2, largest, largest // 255]], np.uint16)
    film = read_film(write(tmp_path / "a.dcm", pixels, bits))
    assert film.pixels.tolist() == [[0, 127, 255, 1]]


def test_missing_identity_is_empty(tmp_path: Path) -> None:
    """Absent and empty tags read alike; the dataset decides what stands in."""
    path = write(tmp_path / "a.dcm", RAMP, PatientID="", StudyInstanceUID=None)
    assert (read_film(path).patient_id, read_film(path).study_uid) == ("", "")


@pytest.mark.parametrize(
    ("tags", "what"),
    [
        ({"PixelData": None}, "no pixel data"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "SamplesPerPixel is 3"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PhotometricInterpretation is PALETTE"),
        ({"NumberOfFrames": 2}, "NumberOfFrames is 2"),
        ({"PixelRepresentation": 1}, "PixelRepresentation is 1"),
        ({"Rows": 60_000, "Columns": 60_000}, "Rows is 60000, expected 1 to 8192"),
        ({"Rows": 0}, "Rows is 0"),
        ({"BitsStored": None}, "BitsStored is None"),
        ({"Rows": 7}, "48 bytes of pixel data, expected 56"),
        ({"PixelData": bytes(96)}, r"96 bytes of pixel data \(2 frames\), expected 48"),
        ({"PixelData": bytes(50)}, "50 bytes of pixel data, expected 48"),
        ({"HighBit": 6}, "HighBit is 6, expected 7 for 8 stored of 8 bits"),
        ({"HighBit": None}, "HighBit is None"),
        ({"RescaleSlope": "-1"}, "RescaleSlope is -1, expected above 0"),
        ({"PresentationLUTShape": "INVERSE"}, "PresentationLUTShape is INVERSE"),
    ],
)
def test_what_is_not_one_grey_frame_is_refused(
    tmp_path: Path, tags: dict[str, object], what: str
) -> None:
    """The file and the field are named."""
    path = write(tmp_path / "film.dcm", RAMP, **tags)
    with pytest.raises(DataError, match=rf"film\.dcm: .*{what}"):
        read_film(path)


def test_pixels_that_were_overwritten_or_moved_are_refused(tmp_path: Path) -> None:
    """Zeros across rows of a native film, and bytes that were put into it; padding is nothing."""
    pixels = np.random.default_rng(0).integers(1, 256, (40, 40)).astype(np.uint8)
    path = write(tmp_path / "film.dcm", pixels)
    data = path.read_bytes()
    begin = data.index(pixels.tobytes())
    path.write_bytes(data[: begin + 610] + bytes(100) + data[begin + 710 :])
    with pytest.raises(DataError, match=r"film\.dcm: all pixels from row 15, column 10 .* are 0"):
        read_film(path)
    for behind in (
        *(b"\xe0\x7f\x20\x00LO\x04\x00abcd", b"\x08\x00\x20\x00LO\x04\x00abcd"),
        *(b"\xe1\x7f\x20\x00LO\x06\x00abcd", b"\xe1\x7f\x20\x00L!\x04\x00abcd"),
        bytes(64) + b"\xe1\x7f\x20\x00LO\x04\x00abcd",
    ):
        path.write_bytes(data + behind)
        with pytest.raises(DataError, match=r"film\.dcm: element \(....,0020\) .* moved or added"):
            read_film(path)
    private = b"\xe1\x7f\x20\x00LO\x04\x00abcd"
    for behind in (bytes(64), private, b"\xfc\xff\xfc\xffOB\0\0\x08\0\0\0" + bytes(8)):
        path.write_bytes(data + behind)
        assert (read_film(path).pixels == pixels).all()


def test_jpeg_of_another_size_than_its_header_is_refused(tmp_path: Path) -> None:
    """A mask by the header's size would not fit the film."""
    for rows in (32, 128):
        path = write_jpeg(tmp_path / "film.dcm", np.zeros((64, 64), np.uint8), Rows=rows)
        with pytest.raises(DataError, match=r"film\.dcm: cannot be decoded"):
            read_film(path)


def test_compression_without_a_decoder_is_refused(tmp_path: Path) -> None:
    """The compression and the remedy are named, not "cut off"; a decompressed film is read."""
    path = write_jpeg(tmp_path / "film.dcm", np.zeros((64, 64), np.uint8))
    data = path.read_bytes()
    old, new = str(JPEGBaseline8Bit).encode(), str(JPEGLosslessSV1).encode()
    assert old in data
    path.write_bytes(data.replace(old, new))
    with pytest.raises(DataError, match=r"film\.dcm: compressed as JPEG Lossless.*decompress"):
        read_film(path)
    path.write_bytes(data)
    compressed = read_film(path).pixels
    header = pydicom.dcmread(path)
    header.decompress()
    header.save_as(path)
    assert (read_film(path).pixels == compressed).all()


def test_jpeg_of_12_bits_is_refused(tmp_path: Path) -> None:
    """By the name of its compression; of 8 bits the same one is read."""
    _, frame = encode("JPEG", noise())
    path = write_frames(tmp_path / "film.dcm", JPEGExtended12Bit, frame)
    assert read_film(path).pixels.shape == (64, 64)
    header = pydicom.dcmread(path)
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
    header.save_as(path)
    with pytest.raises(DataError, match=r"film\.dcm: compressed as JPEG Extended.*decompress"):
        read_film(path)


@pytest.mark.filterwarnings("ignore:End of file reached")
@pytest.mark.parametrize("compressed", [True, False])
def test_a_film_cut_off_anywhere_is_refused(tmp_path: Path, compressed: bool) -> None:
    """No length of a truncated file gives a film, or anything but a clear error."""
    pixels = np.tile(np.arange(64, dtype=np.uint8), (64, 1))
    path = tmp_path / "film.dcm"
    if compressed:
        write_jpeg(path, pixels)
    else:
        write(path, pixels)
    data = path.read_bytes()
    for length in (0, 100, 131, 140, 300, len(data) // 2, int(len(data) * 0.9)):
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"film\.dcm: "):
            read_film(path)


@pytest.mark.parametrize("data", [b"not a film", b"\xff\xd8\xff\xe0" * 64])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    """Text or a bare JPEG under a .dcm name."""
    path = tmp_path / "film.dcm"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"film\.dcm: not a DICOM file"):
        read_film(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """Removed between indexing and loading."""
    with pytest.raises(DataError, match=r"gone\.dcm: cannot be decoded \(FileNotFoundError"):
        read_film(tmp_path / "gone.dcm")


@pytest.mark.parametrize(("bits", "high"), [(12, 15), (12, 13), (10, 15), (4, 7)])
def test_values_that_end_above_bits_stored_are_shifted(
    tmp_path: Path, bits: int, high: int
) -> None:
    """A value ends at HighBit (PS3.5 8.1.1); what is below it, as an overlay, is dropped."""
    largest = 2**bits - 1
    values = np.array([[0, largest // 3, largest]], np.uint16)
    below = high + 1 - bits
    stored = (values << below) | (1 if below else 0)
    wide = {"BitsAllocated": 16, "PixelData": stored.astype(np.uint16).tobytes()}
    path = write(tmp_path / "a.dcm", stored, bits, HighBit=high, **wide)
    assert read_film(path).pixels.tolist() == [[0, 85, 255]]


def test_values_above_bits_stored_are_refused(tmp_path: Path) -> None:
    """They would wrap round; where the header names an overlay in these bits, they are no value."""
    pixels = np.array([[0, 4095, 4096]], np.uint16)
    path = write(tmp_path / "film.dcm", pixels, 12)
    with pytest.raises(DataError, match=r"film\.dcm: values up to 4096, but 12 stored bits .*4095"):
        read_film(path)
    header = pydicom.dcmread(path)
    header.add_new((0x6000, 0x0102), "US", 12)
    header.save_as(path)
    assert read_film(path).pixels.tolist() == [[0, 255, 0]]


def test_a_film_that_uses_little_of_its_range_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """12 bits in a header of 16: the header counts, with a warning; 15 of 16 are common."""
    film = read_film(write(tmp_path / "film.dcm", np.array([[0, 4095]], np.uint16), 16))
    assert film.pixels.max() == 16
    assert "film.dcm: 16 stored bits hold values to 4095 only" in caplog.text
    caplog.clear()
    read_film(write(tmp_path / "film.dcm", np.array([[0, 32767]], np.uint16), 16))
    assert caplog.text == ""


def noise() -> NDArray[np.uint8]:
    """A picture whose compressed data are long."""
    return np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)


def encode(kind: str, pixels: NDArray[np.uint8]) -> tuple[UID, bytes]:
    """Return a transfer syntax and one compressed frame."""
    if kind == "RLE":  # one segment of runs of two
        runs = b"".join(b"\xff" + bytes([value]) for value in pixels.ravel()[::2])
        return RLELossless, b"\1\0\0\0\x40\0\0\0" + bytes(56) + runs
    file = io.BytesIO()
    options = {"JPEG": {"quality": 95}, "progressive": {"progressive": True}}.get(kind, {})
    name = "JPEG2000" if kind == "JPEG2000" else "JPEG"
    Image.fromarray(pixels).save(file, name, **options)
    return JPEG2000Lossless if name == "JPEG2000" else JPEGBaseline8Bit, file.getvalue()


def write_frames(path: Path, syntax: UID, *frames: bytes) -> Path:
    """Write a film of `noise()`'s size with compressed frames."""
    write(path, noise(), compressed=True, PixelData=encapsulate(frames))
    header = pydicom.dcmread(path)
    header.file_meta.TransferSyntaxUID = syntax
    header.save_as(path)
    return path


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000", "RLE"])
def test_more_than_one_frame_is_refused(tmp_path: Path, kind: str) -> None:
    """A second frame, bytes behind the only one, and runs that go on, of which pydicom warns."""
    syntax, frame = encode(kind, noise())
    longer = frame + b"\xff\x07" * 2 if kind == "RLE" else frame + b"more and more"
    words = "non-conformant padding" if kind == "RLE" else r"1\d bytes behind the end"
    path = tmp_path / "film.dcm"
    with pytest.raises(DataError, match=r"film\.dcm: 2 frames in the pixel data, expected 1"):
        read_film(write_frames(path, syntax, frame, frame))
    with pytest.raises(DataError, match=words):
        read_film(write_frames(path, syntax, longer))


def test_jpeg_2000_without_a_tile_is_refused() -> None:
    """Decoders fill it with grey; a part that is cut says so, too."""
    file = io.BytesIO()
    Image.fromarray(noise()).save(file, "JPEG2000", tile_size=(32, 32), no_jp2=True)
    data = file.getvalue()
    assert check_jpeg2000(data) == len(data)
    last = data.rindex(b"\xff\x90\x00\x0a")
    for damaged, words in (
        (data[:last] + b"\xff\xd9", "its end mark comes after 3 of 4 tiles"),
        (data[:-40], "its compressed data end early"),
    ):
        with pytest.raises(DataError, match=words):
            check_jpeg2000(damaged)


def test_a_marker_inside_jpeg_2000_is_refused(tmp_path: Path) -> None:
    """Its codes never make one; overwritten bytes do."""
    syntax, frame = encode("JPEG2000", noise())
    middle = len(frame) // 2
    frame = frame[:middle] + b"\xff\xa5" + frame[middle + 2 :]
    path = write(tmp_path / "film.dcm", noise(), compressed=True, PixelData=encapsulate([frame]))
    header = pydicom.dcmread(path)
    header.file_meta.TransferSyntaxUID = syntax
    header.save_as(path)
    with pytest.raises(DataError, match=r"film\.dcm: .* hold a marker"):
        read_film(path)


@pytest.mark.parametrize("kind", ["JPEG", "progressive", "JPEG2000", "RLE"])
def test_a_damaged_frame_is_refused(tmp_path: Path, kind: str) -> None:
    """Half closed by an end mark, cut, zeroed inside, or two frames: named; the whole is read."""
    syntax, frame = encode(kind, noise())
    end = b"" if kind == "RLE" else b"\xff\xd9"
    middle = len(frame) // 2

    def write_frames(*frames: bytes) -> Path:
        path = write(tmp_path / "film.dcm", noise(), compressed=True, PixelData=encapsulate(frames))
        header = pydicom.dcmread(path)
        header.file_meta.TransferSyntaxUID = syntax
        header.save_as(path)
        return path

    assert read_film(write_frames(frame)).pixels.shape == (64, 64)
    for damaged in (
        (frame[:middle] + end,),
        (frame[:middle],),
        (frame[: middle - 50] + bytes(101) + frame[middle + 51 :],),
        (frame, frame),
    ):
        with pytest.raises(DataError, match=r"film\.dcm: "):
            read_film(write_frames(*damaged))
