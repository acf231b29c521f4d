"""Judges a table of run-length codes by what its codes have in common.

A code of another convention is still a list of numbers, and most of them decode to something. What
single codes cannot show, many can: gaps of a mask are about a line long and do not ascend, absolute
starts always do, and the runs of a mask are mostly a line apart.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from spurious.readers.issues import ReaderIssues
from spurious.readers.joins import NAMED
from spurious.readers.marks.rle import RleConvention, find_runs, read_pairs

_log = logging.getLogger(__name__)
_PITCH_TOLERANCE = 0.02
_AS_ABSOLUTE = "ascend, as absolute starts do"
_AS_RELATIVE = "do not ascend, as gaps from the end of the run before do not"
_EXPECTED = {
    "relative": "expected gaps from the end of the run before",
    "absolute": "expected absolute starts that ascend",
}


def find_other_starts(codes: Sequence[str], convention: RleConvention) -> tuple[list[int], int]:
    """Find codes that hold absolute starts where relative ones are declared, or the reverse.

    Returns:
        Positions of such codes, and how many codes could be judged (3 runs or more).

    Raises:
        DataError: A code is not pairs of whole numbers.
    """
    other, judged = [], 0
    for position, code in enumerate(codes):
        pairs = read_pairs(code, convention)
        if len(pairs) > 2:
            judged += 1
            ascends = bool((pairs[1:, 0] >= pairs[:-1].sum(1)).all())
            if ascends == (convention.starts == "relative"):
                other.append(position)
    return other, judged


def check_starts(
    rows: Sequence[tuple[int, str]],
    convention: RleConvention,
    table: str,
    remedy: str,
    issues: ReaderIssues,
) -> None:
    """Refuse a table most of whose codes have the starts that are not declared, else warn of them.

    Args:
        rows: Line and code of every mask; codes that `read_pairs` takes.
        convention: The declared one.
        table: Name of the file.
        remedy: What the user should do, such as the option that declares the other starts.
        issues: Receives the refusal, with the lines.
    """
    other, judged = find_other_starts([code for _, code in rows], convention)
    if not other:
        return
    lines = ", ".join(str(rows[position][0]) for position in other[:NAMED])
    shape = _AS_ABSOLUTE if convention.starts == "relative" else _AS_RELATIVE
    wrong = (
        f"{table}: {len(other)} of {judged} codes with 3 runs or more {shape} "
        f"(lines {lines}{' ...' * (len(other) > NAMED)}); {_EXPECTED[convention.starts]}: {remedy}"
    )
    if 2 * len(other) > judged:
        issues.add(wrong)
    else:
        _log.warning("%s", wrong)


def find_odd_pitch(
    codes: Sequence[str], sizes: Sequence[tuple[int, int]], convention: RleConvention
) -> str | None:
    """Return a warning where the runs of masks are not mostly one line apart, else None.

    Codes of images of another size, or of the other order where images are not squares, draw
    stripes.

    Args:
        codes: Codes that `find_runs` takes.
        sizes: Height and width of the image of each code.
        convention: The declared one.
    """
    columns = convention.order == "columns"
    distances = [
        np.diff(find_runs(code, convention)[:, 0]) / (height if columns else width)
        for code, (height, width) in zip(codes, sizes, strict=True)
    ]
    lines = np.concatenate([*distances, np.zeros(0)])
    pitch = float(np.median(lines)) if lines.size else 1.0
    if abs(pitch - 1) <= _PITCH_TOLERANCE:
        return None
    line = "column" if columns else "row"
    return (
        f"runs are mostly {pitch:.3g} of an image's {line} apart instead of 1, so the masks look "
        f"like stripes: the codes may be of images of another size, or not go {line} by {line}"
    )
