"""`sweeps phantom`: write a synthetic release in the format of a real one."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cluster.datasets.keys import check_name
from cluster.errors import ClusterError
from spurious.config.datasets import GENERATORS, READERS
from spurious.generators.chest.chest_phantom import ChestPhantom
from spurious.generators.chest.half_real import HalfRealChest
from spurious.generators.chest.half_real_writer import write_half_real
from spurious.generators.chest.siim_writer import write_siim_acr
from spurious.generators.skin.isic_writer import write_isic
from spurious.generators.skin.skin_phantom import SkinPhantom
from sweeps.commands.output import print_json
from sweeps.driver.progress import count_progress, make_console
from sweeps.errors import SweepError
from sweeps.staging.sources import options_from_command

_Phantom = tuple[type[Any], Callable[[Path, Any, Callable[[int, int], None]], None]]
PHANTOMS: Mapping[str, _Phantom] = {
    "isic": (SkinPhantom, write_isic),
    "siim-acr": (ChestPhantom, write_siim_acr),
}
"""Format to the phantom's options and what writes it."""

HALF_REAL: Mapping[str, _Phantom] = {"siim-acr": (HalfRealChest, write_half_real)}
"""The same where `annotations` are given: those of a release, on films that are drawn."""


def write_phantom(
    name: str, folder: Path, options: Mapping[str, Any], *, as_json: bool = False
) -> int:
    """Write a phantom release into a new or empty folder.

    Raises:
        SweepError: the folder is not empty, or bad options.
    """
    half_real = "annotations" in options and name in HALF_REAL
    cls, write = (HALF_REAL if half_real else PHANTOMS)[name]
    config = options_from_command(cls, options)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SweepError(f"{folder} is not empty; expected a new or empty folder")
    text = f"staging {name} phantom"
    with count_progress(text, "images", make_console(), shows_end=True) as progress:
        write(folder, config, progress)
    if as_json:
        paths = [str(path) for path in sorted(folder.iterdir())]
        print_json({"name": name, "folder": str(folder), "paths": paths})
    else:
        command = ["sweeps", "stage", name, str(folder), "--name", _choose_name(name, folder)]
        print(f"wrote {folder}; next: {shlex.join(command)}")
    return 0


def _choose_name(name: str, folder: Path) -> str:
    """Choose the name to stage a phantom under: the folder's, never that of a release."""
    try:
        chosen = check_name(folder.absolute().name, "dataset")
    except ClusterError:
        return f"{name}-phantom"
    return f"{name}-phantom" if chosen in {*READERS, *GENERATORS} else chosen
