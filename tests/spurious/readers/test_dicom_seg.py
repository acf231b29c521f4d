"""DICOM Segmentations: built element by element, one that pydicom-data holds, one by highdicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from marks_files import DOT, FILM, OTHER, TOP, write_segmentation
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from spurious.errors import DataError
from spurious.readers.marks.dicom_seg import read_segments
from spurious.readers.marks.dicom_seg_header import read_segment_file


def test_segments_of_an_image_are_found_by_label_and_number(tmp_path: Path) -> None:
    """Frames of 35 bits do not begin at bytes; an image without a frame is drawn and empty."""
    frames = [(FILM, 2, DOT), (OTHER, 1, DOT), (FILM, 1, TOP)]
    path = write_segmentation(tmp_path / "s.dcm", frames, ("Air", "Tube"))
    held = read_segment_file(path)
    assert held.images == {FILM, OTHER}
    assert held.segments == {1: "Air", 2: "Tube"}
    assert held.size == (5, 7)

    def read(image: str, *segments: int | str) -> Any:
        mask = read_segments(path, (5, 7), image=image, segments=segments)
        return None if mask is None else mask.astype(int).tolist()

    assert read(FILM, "Air") == read(FILM, 1) == read(FILM, "1") == TOP.tolist()
    assert read(FILM, "Tube") == DOT.tolist()
    assert read(FILM, "Air", 2) == (TOP + DOT).tolist()
    assert read(OTHER, 2) == (0 * DOT).tolist()
    assert read("1.2.99", 2) is None
    with pytest.raises(DataError, match=r"s\.dcm: it has 2 segments \(1 'Air', 2 'Tube'\); name"):
        read(FILM)
    with pytest.raises(DataError, match="no segment 'air', only 1 'Air', 2 'Tube'"):
        read(FILM, "air")
    with pytest.raises(DataError, match="frames are 5 x 7 pixels, and the image is 7 x 5"):
        read_segments(path, (7, 5), image=FILM, segments=(1,))
    with pytest.raises(DataError, match="refers to 2 images; expected one, or the SOPInst"):
        read_segments(path, (5, 7), segments=(1,))


def test_fractions_count_from_a_threshold(tmp_path: Path) -> None:
    """Half of MaximumFractionalValue (200) by default."""
    path = write_segmentation(tmp_path / "s.dcm", [(FILM, 1, TOP * 99 + DOT * 100)], bits=8)
    assert (read_segments(path, (5, 7), image=FILM) == (DOT > 0)).all()
    assert (read_segments(path, (5, 7), image=FILM, threshold=0.4) == (DOT + TOP > 0)).all()
    path = write_segmentation(tmp_path / "s.dcm", [(FILM, 1, TOP * 201)], bits=8)
    with pytest.raises(DataError, match=r"values above 1, or above MaximumFractionalValue \(200\)"):
        read_segments(path, (5, 7), image=FILM)


def test_frames_without_a_source_are_of_the_only_image(tmp_path: Path) -> None:
    """As some tools write them for a single film; with two films nobody knows."""
    path = write_segmentation(tmp_path / "s.dcm", [(None, 1, TOP)], images=(FILM,))
    assert (read_segments(path, (5, 7)) == (TOP > 0)).all()
    path = write_segmentation(tmp_path / "s.dcm", [(None, 1, TOP)])
    with pytest.raises(DataError, match="a frame names 2 images that it was drawn on"):
        read_segments(path, (5, 7), image=FILM)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"NumberOfFrames": 2}, "bytes of pixel data, expected 9 for 2 frames of 5 x 7"),
        ({"Rows": 6}, "frames are 6 x 7"),
        ({"PixelData": b"\0\0"}, "2 bytes of pixel data, expected 5"),
        ({"PerFrameFunctionalGroupsSequence": []}, "0 frames are described of 1"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1"}, "it is Computed Radiography Image Storage"),
        ({"SegmentSequence": []}, "no segment '1'"),
        ({"SegmentationType": "OTHER"}, "SegmentationType is OTHER, expected one of BINARY, FRAC"),
    ],
)
def test_what_contradicts_itself_is_refused(
    tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    """Naming the file and the element."""
    path = write_segmentation(tmp_path / "s.dcm", [(FILM, 1, TOP)], **changes)
    with pytest.raises(DataError, match=rf"s\.dcm: .*{what}"):
        read_segments(path, (5, 7), image=FILM, segments=(1,))


def test_cut_files_are_refused(tmp_path: Path) -> None:
    """At many lengths, by both functions; never another exception."""
    path = write_segmentation(tmp_path / "s.dcm", [(FILM, 1, TOP)])
    data = path.read_bytes()
    for length in range(0, len(data) - 1, 31):
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"s\.dcm: "):
            read_segments(path, (5, 7), image=FILM)
    path.write_bytes(data[:400])
    with pytest.raises(DataError, match=r"s\.dcm: "):
        read_segment_file(path)


def test_a_real_segmentation_of_a_liver() -> None:
    """Three slices of 512 x 512; frames as pydicom decodes them."""
    path = Path(str(get_testdata_file("liver.dcm")))
    held = read_segment_file(path)
    assert held.segments == {1: "Liver"}
    decoded = pydicom.dcmread(path).pixel_array
    sources = [
        group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        for group in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    ]
    assert held.images == set(sources)
    for uid, frame in zip(sources, decoded, strict=True):
        mask = read_segments(path, (512, 512), image=uid)
        assert (mask == (frame > 0)).all()
        assert frame.sum() > 30_000
    with pytest.raises(DataError, match="big endian"):
        read_segment_file(Path(str(get_testdata_file("liver_expb.dcm"))))


@pytest.mark.parametrize("film", ["CT_small.dcm", "RG1_UNCR.dcm"])
@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_what_highdicom_writes_is_read(tmp_path: Path, kind: str, film: str) -> None:
    """Two segments on a CT slice, or on a film without geometry; frames of nothing are left out."""
    import highdicom

    source = pydicom.dcmread(str(get_testdata_file(film)))
    size = (source.Rows, source.Columns)
    values = np.zeros((1, *size, 2), np.uint8)
    values[0, 10:20, 30:60, 0] = 1
    values[0, 90:100, 5:6, 1] = 1
    described = [
        highdicom.seg.SegmentDescription(
            number,
            label,
            highdicom.sr.CodedConcept("1", "99X", "x"),
            highdicom.sr.CodedConcept("1", "99X", "x"),
            highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, label in ((1, "Air"), (2, "Tube"))
    ]
    written = highdicom.seg.Segmentation(
        [source],
        values,
        kind,
        described,
        "1.2.7",
        1,
        "1.2.8",
        1,
        "x",
        "x",
        "x",
        "x",
        transfer_syntax_uid=RLELossless if kind == "FRACTIONAL" else ExplicitVRLittleEndian,
    )
    written.save_as(tmp_path / "s.dcm")
    for number, label in ((0, "Air"), (1, "Tube")):
        mask = read_segments(
            tmp_path / "s.dcm", size, image=source.SOPInstanceUID, segments=(label,)
        )
        assert (mask == (values[0, ..., number] > 0)).all()
