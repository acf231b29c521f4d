"""A real chest radiograph of pydicom-data: 15 bits, MONOCHROME1, plain and JPEG 2000."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pydicom
import pytest

from spurious.readers.dicom import read_film


def real_film(name: str) -> Path:
    """A file of pydicom-data; the test is skipped where it is absent."""
    spec = importlib.util.find_spec("data_store")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("pydicom-data is not installed")
    return Path(spec.submodule_search_locations[0]) / "data" / name


@pytest.mark.parametrize("kind", ["R", "I"])
def test_a_real_film_is_inverted_and_scaled(kind: str) -> None:
    """Compressed and not it is the same film, without loss (R) and with it (I).

    It was looked at: an upright frontal film, lungs darker than bones, with round nodules in both
    lungs, the heart on the right of the picture, and a gas-filled stomach under it.
    """
    plain, packed = (read_film(real_film(f"RG1_{way}{kind}.dcm")) for way in ("UNC", "J2K"))
    film = plain.pixels
    assert film.shape == (1955, 1841)
    assert film.dtype == np.uint8
    assert (film == packed.pixels).all()
    lung, spine, heart = film[500:600, 500:560], film[500:700, 870:940], film[1250:1350, 1150:1250]
    assert lung.mean() + 40 < spine.mean()
    assert lung.mean() + 40 < heart.mean()
    stored = pydicom.dcmread(real_film(f"RG1_UNC{kind}.dcm")).pixel_array
    assert stored.max() > 2**14  # more than 14 bits are used, so the low byte would be stripes
    assert np.abs((255 - stored.astype(float) * 255 / (2**15 - 1)) - film).max() <= 0.5 + 1e-9
