"""Writes phantom films in the format of NIH ChestX-ray14 with a table of CheXmask."""

from __future__ import annotations

from pathlib import Path

from spurious.generators.releases.films import (
    FilmOptions,
    Progress,
    draw_films,
    find_boxes,
    prepare_folder,
    save_png,
    write_lines,
)
from spurious.generators.releases.padchest_writer import NIH_HEADER, describe_nih
from spurious.readers.marks.rle import encode
from spurious.readers.nih_chexmask.chexmask_table import CONVENTION

_MASKS = (
    ",Image Index,Dice RCA (Max),Dice RCA (Mean),Landmarks,Left Lung,Right Lung,Heart,Height,Width"
)
_GOOD, _POOR = "0.95,0.9", "0.6,0.5"
_EVERY = 8
"""Of so many films one has poor masks, and a reader uses none of them."""


def write_nih_chexmask(
    folder: Path, options: FilmOptions, progress: Progress | None = None
) -> None:
    """Write films, `Data_Entry_2017_v2020.csv`, both lists, boxes and `ChestX-Ray8.csv`.

    The finding is called Pneumothorax; every other film with it is boxed. Films with a tube are AP.
    The patient's left lung is on the right of the film. The table of findings is written last.

    Raises:
        DataError: The folder holds something already.
    """
    prepare_folder(folder)
    rows, masks = [NIH_HEADER], [_MASKS]
    boxes = ["Image Index,Finding Label,Bbox [x,y,w,h],,,"]
    lists: dict[bool, list[str]] = {True: [], False: []}
    for film in draw_films(options, progress):
        number, size = film.case.number, options.size
        name = f"{number + 1:08d}_000.png"
        save_png(folder / "images" / name, film.pixels)
        row = describe_nih(film, name, "Pneumothorax", size)
        rows.append(row.replace(",PA,", ",AP,") if film.case.tube else row)
        right, left = film.lungs()
        codes = ",".join(encode(mask, CONVENTION) for mask in (left, right, film.heart()))
        dice = _POOR if number % _EVERY == _EVERY - 1 else _GOOD
        masks.append(f'{number},{name},{dice},"[{size // 2} {size // 2}]",{codes},{size},{size}')
        lists[film.case.split == "test"].append(name)
        if number % 2:
            drawn = find_boxes(film.finding)
            boxes += [f"{name},Pneumothorax,{x}.0,{y}.0,{w}.0,{h}.0" for x, y, w, h in drawn]
    write_lines(folder / "train_val_list.txt", lists[False])
    write_lines(folder / "test_list.txt", lists[True])
    write_lines(folder / "BBox_List_2017.csv", boxes)
    write_lines(folder / "ChestX-Ray8.csv", masks)
    write_lines(folder / "Data_Entry_2017_v2020.csv", rows)
