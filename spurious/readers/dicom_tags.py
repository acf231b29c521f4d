"""Reads what a DICOM header says of the patient and the film, beside the pixels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pydicom
import pydicom.config

from spurious.data.records import Covariate

_AGE = re.compile(r"0*([0-9]{1,3})Y?", re.ASCII)
_YEAR = 365.25
_PARTS = {"M": 12.0, "W": _YEAR / 7, "D": _YEAR}


def read_tags(path: Path, *names: str) -> Mapping[str, str]:
    """Return tags by keyword as text, "" where the header has none or cannot be read.

    Reading the film itself reports a header that cannot be read.
    """
    try:
        with pydicom.config.disable_value_validation():  # RSNA's ages have no unit
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(names))
            return {name: str(header.get(name) or "").strip() for name in names}
    except Exception:  # noqa: BLE001 (a header can be wrong in any way)
        return dict.fromkeys(names, "")


def describe_patient(path: Path) -> dict[str, Covariate]:
    """Return the covariates sex, age (in years) and view of a film's header."""
    tags = read_tags(path, "PatientSex", "PatientAge", "ViewPosition")
    return {
        "sex": tags["PatientSex"] or None,
        "age": parse_age(tags["PatientAge"]),
        "view": tags["ViewPosition"] or None,
    }


def parse_age(text: str) -> float | None:
    """Return an age in years: `058Y`, `58`, `006M`, `10D`; None where it is none or above 120."""
    text = text.strip()
    if text[-1:] in _PARTS and text[:-1].isascii() and text[:-1].isdigit():
        return round(int(text[:-1]) / _PARTS[text[-1]], 2)
    match = _AGE.fullmatch(text.removesuffix(".0"))
    age = float(match[1]) if match else None
    return age if age is not None and age <= 120 else None
