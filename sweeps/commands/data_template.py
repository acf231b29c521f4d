"""`sweeps data template`: write a small complete folder of the layout that `stage folder` takes."""

from __future__ import annotations

import shlex
from pathlib import Path

from spurious.readers.folder.template import write_template
from sweeps.commands.output import print_json
from sweeps.errors import SweepError


def write_data_template(folder: Path, *, as_json: bool = False) -> int:
    """Write the template into a new or empty folder, and print what to do next.

    Raises:
        SweepError: The folder holds something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SweepError(f"{folder} is not empty; expected a new or empty folder")
    write_template(folder)
    if as_json:
        paths = [str(path) for path in sorted(folder.iterdir())]
        print_json({"folder": str(folder), "paths": paths})
        return 0
    command = ["sweeps", "stage", "folder", str(folder), "--name", "my-images"]
    print(
        f"wrote {folder}; read {folder}/README.txt; next: "
        f"{shlex.join([*command, '--set', 'image_size=64'])}"
    )
    return 0
