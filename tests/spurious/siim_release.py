"""A phantom release in the format of SIIM-ACR, which tests may damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from spurious.config.datasets import SiimAcrOptions
from spurious.generators.chest.chest_phantom import Case, ChestPhantom, draw_cases
from spurious.generators.chest.siim_writer import write_siim_acr
from spurious.readers.siim_acr.siim_acr import SiimAcr

_PACKAGE = find_spec("torchxrayvision")
RELEASED_TABLE = Path(*((_PACKAGE and _PACKAGE.submodule_search_locations) or ["absent"])[:1])
RELEASED_TABLE /= "data/siim-pneumothorax-train-rle.csv.gz"
RELEASED_TUBES = Path(__file__).parents[3] / "shared/data/siim-acr/cxr_tube_dict.pkl"
needs_table = pytest.mark.skipif(
    not RELEASED_TABLE.is_file(), reason="torchxrayvision is not installed"
)
needs_tubes = pytest.mark.skipif(
    not RELEASED_TUBES.is_file(), reason="the released tube labels are not beside us"
)

SIZE = 256
PHANTOM = ChestPhantom(
    n_train=4, n_val=4, n_test=4, size=SIZE, prevalence=0.5, p_second=0.5, seed=5
)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole phantom release, read only."""
    folder = tmp_path_factory.mktemp("siim") / "release"
    write_siim_acr(folder, PHANTOM)
    return folder


@pytest.fixture
def folder(released: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(released, tmp_path / "release"))


def source(folder: Path, size: int = SIZE) -> SiimAcr:
    """The reader under test."""
    return SiimAcr(folder, SiimAcrOptions(image_size=size))


def film(folder: Path, image: str) -> Path:
    """Where an image of the release lies."""
    return next((folder / "dicom-images-train").glob(f"*/*/{image}.dcm"))


def rows(folder: Path, edit: Callable[[list[str]], list[str]]) -> None:
    """Rewrite the lines of the mask table under its header."""
    path = folder / "train-rle.csv"
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *edit(lines)]) + "\n")


def cases(split: str | None = None, pneumothorax: bool | None = None) -> list[Case]:
    """The phantom's truth."""
    return [
        case
        for case in draw_cases(PHANTOM)
        if split in (None, case.split) and pneumothorax in (None, case.pneumothorax)
    ]
