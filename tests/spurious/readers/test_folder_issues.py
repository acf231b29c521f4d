"""What can be wrong with a folder: every problem is named at once, and its remedy is taken."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_folder import (
    COLUMNS,
    EXPECTED,
    NAMES,
    ROWS,
    facts,
    reader,
    refusal,
    write_csv,
    write_images,
    write_mask,
    write_team,
)

from spurious.config.fields import problems
from spurious.config.folder import FolderOptions
from spurious.errors import DataError


def edit(folder: Path, change: Callable[[str], str]) -> None:
    """Change the text of a team's table."""
    path = folder / "metadata.csv"
    text = path.read_text(encoding="utf-8")
    assert change(text) != text
    path.write_text(change(text), encoding="utf-8")


EDITS: dict[str, tuple[Callable[[str], str], tuple[str, ...]]] = {
    "out of the folder": (
        lambda t: t.replace("a.png,", "../a.png,").replace("b.png", "/etc/b.png"),
        ("line 2: '../a.png' leads out", "line 3: '/etc/b.png' leads out"),
    ),
    "two rows": (lambda t: t + "a.png,0,0,0,p1,train\n", ("'a' is there 2 times", "line 2 and 10")),
    "two spellings": (lambda t: t.replace("b.png", "A.png"), ("line 3: 'A' is a.png, as 'a' of",)),
    "no image": (
        lambda t: t.replace("c.png", "z.png"),
        ("1 rows have no image (z.png", "1 images have no row (c.png)"),
    ),
    "labels": (
        lambda t: t.replace("a.png,0", "a.png,2").replace("b.png,1", "b.png,"),
        ("'2' (1, first metadata.csv line 2)", "blank (1, metadata.csv line 3)"),
    ),
    "a split": (
        lambda t: t.replace("p1,train", "p1,fold 1"),
        ("line 2: split is 'fold 1'; expected train, val or test",),
    ),
    "a split without image": (
        lambda t: t.replace(",val", ",train"),
        ("no image in split val", "--split 0.85/0.15"),
    ),
    "a split of one label": (
        lambda t: t.replace("f.png,1", "f.png,0"),
        ("split val has 2 images and none of label 1",),
    ),
    "shared patients": (
        lambda t: t.replace("p3", "p1").replace("p5", "p2"),
        ("2 patients have images in more than one split (p1 in train and val, p2 in",),
    ),
    "cut by a spreadsheet": (
        lambda t: t.replace("a.png,0,0,0,p1", f"a.png,0,0,0,{'p' * 32767}"),
        ("Excel cuts a cell",),
    ),
    "another number of cells": (lambda t: t.replace("a.png,0,0,0,", "a.png,0,0,"), ("5 cells",)),
}


@pytest.mark.parametrize("name", EDITS)
def test_what_is_wrong_with_a_table_is_named(name: str, tmp_path: Path) -> None:
    """By table and line, with what was expected."""
    change, reasons = EDITS[name]
    edit(write_team(tmp_path), change)
    message = refusal(tmp_path)
    for reason in reasons:
        assert reason in message


def test_everything_is_reported_at_once(tmp_path: Path) -> None:
    """Problems of several kinds come in one error."""
    team = write_team(tmp_path)
    edit(team, lambda t: t.replace("a.png,0", "../a.png,0").replace("b.png,1,1", "b.png,x,1"))
    (tmp_path / "link.png").symlink_to("/etc/hostname")
    (tmp_path / "loop.png").symlink_to("loop.png")
    message = refusal(tmp_path)
    assert "link.png: a link that leaves the folder" in message
    assert "loop.png: a link that leads nowhere" in message
    (tmp_path / "link.png").unlink()
    (tmp_path / "loop.png").unlink()
    assert "leads out" in refusal(tmp_path)


def test_words_in_an_attribute_are_refused_where_it_is_named(tmp_path: Path) -> None:
    """Unnamed, such a column is none, and that is said."""
    edit(write_team(tmp_path), lambda t: t.replace("b.png,1,1", "b.png,1,maybe"))
    source = reader(tmp_path)
    assert "not taken: ruler" in " ".join(source.notes)
    assert source.attribute_names == ("ink",)
    message = refusal(tmp_path, attributes="ruler,ink")
    assert "metadata.csv line 3: ruler is 'maybe'; expected 0, 1, true, false" in message


def test_columns_like_attributes_are_pointed_out(tmp_path: Path) -> None:
    """With the option that takes them; not texts, and not what says the same as the label."""
    cells = {str(r[0])[0]: (r[1], f"text {r[0]}", rank) for rank, r in enumerate(ROWS)}
    write_team(tmp_path, ("malignant", "report", "rank"), cells)
    edit(tmp_path, lambda t: t.replace("b.png,1,1", "b.png,1,-1"))
    notes = " ".join(reader(tmp_path).notes)
    assert "not taken: ruler, malignant, report, rank (--set covariates=..." in notes
    assert (
        "ruler: mostly 0 and 1, so perhaps a spurious attribute: --set attributes=ink,ruler"
        in notes
    )
    assert "ruler is '-1'; expected 0, 1," in refusal(tmp_path, attributes="ink,ruler")
    edit(tmp_path, lambda t: t.replace("b.png,1,-1", "b.png,1,"))
    assert reader(tmp_path, attributes="ink,ruler").attribute_names == ("ink", "ruler")
    alone = " ".join(reader(tmp_path, attributes="ink").notes)
    assert (
        "ruler: mostly 0 and 1, so perhaps a spurious attribute: --set attributes=ink,ruler"
        in alone
    )
    assert "perhaps" not in " ".join(reader(tmp_path, attributes="ink,ruler").notes)


def test_yes_and_no_are_flags(tmp_path: Path) -> None:
    """As many tables have them; where no column is left, it is said what cannot be measured."""
    team = write_team(tmp_path)
    plain = [reader(tmp_path).load(i).attributes for i in reader(tmp_path).index()]
    edit(team, lambda t: t.replace("b.png,1,1", "b.png,1,Yes").replace("a.png,0,0", "a.png,0,no"))
    source = reader(tmp_path)
    assert source.attribute_names == ("ink", "ruler")
    assert [source.load(i).attributes for i in source.index()] == plain
    assert not any("robust AUROC" in note for note in source.notes)
    edit(team, lambda t: t.replace("ruler", "age").replace("ink", "sex"))
    assert any("robust AUROC is undefined" in note for note in reader(tmp_path).notes)


def test_a_column_that_repeats_the_label_is_not_an_attribute(tmp_path: Path) -> None:
    """Else a sweep would call the disease itself a shortcut; named, it is taken."""
    write_team(tmp_path, ("malignant",), {str(row[0])[0]: (row[1],) for row in ROWS})
    source = reader(tmp_path)
    assert source.attribute_names == ("ink", "ruler")
    assert "malignant: says the same as the label" in " ".join(source.notes)
    named = reader(tmp_path, attributes="malignant")
    assert named.attribute_names == ("malignant",)


def test_rows_without_image_and_images_without_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows are refused unless skipped; images without a row are left out; both are counted."""
    write_team(tmp_path)
    (tmp_path / "h.png").rename(tmp_path / "unlabelled.png")
    edit(tmp_path, lambda t: t + "i.png,1,0,1,p9,test\n")
    assert "--set rows_without_image=skip" in refusal(tmp_path)
    shutil.copy(tmp_path / "unlabelled.png", tmp_path / "i.png")
    source = reader(tmp_path, rows_without_image="skip")
    assert list(source.index()) == list("abcdefgi")
    counts = source.provenance()
    assert (counts["images_without_row"], counts["rows_without_image"]) == ("1", "1")
    assert "1 images without row left out" in caplog.text


def test_an_attribute_that_training_does_not_show_needs_a_direction(tmp_path: Path) -> None:
    """The declared one is taken."""
    edit(
        write_team(tmp_path),
        lambda t: t.replace("b.png,1,1,0", "b.png,1,1,").replace("c.png,1,0,1", "c.png,1,0,"),
    )
    assert "ink: no training image" in refusal(tmp_path)
    source = reader(tmp_path, directions="ink:+1")
    source.index()  # is not refused
    assert source.declared_directions == {"ink": 1}
    assert "'inks' is not an attribute" in refusal(tmp_path, directions="ink:+1,inks:-1")


def test_names_with_two_meanings_are_refused(tmp_path: Path) -> None:
    """Two endings, two folders; written in full, they are found."""
    write_team(tmp_path)
    write_images(tmp_path, ["a.bmp", "sub/b.png"])
    edit(tmp_path, lambda t: t.replace("a.png", "a"))
    message = refusal(tmp_path)
    assert "line 2: 'a' may be a.bmp, a.png" in message
    edit(tmp_path, lambda t: t.replace("a,0", "a.bmp,0").replace("b.png", "sub\\b.png"))
    assert set(facts(reader(tmp_path))) == {*EXPECTED, "sub/b"} - {"b"}


def test_files_are_found_in_any_case_and_with_another_ending(tmp_path: Path) -> None:
    """As with names that a table has in capitals, or of the files before they were converted."""
    write_team(tmp_path)
    edit(tmp_path, lambda t: t.replace("a.png", "A.PNG").replace("b.png", "b.jpg"))
    assert set(facts(reader(tmp_path))) == {*EXPECTED, "A"} - {"a"}


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_checksums_are_verified(kind: str, tmp_path: Path) -> None:
    """Of each file when it is read; a cell that is not one is refused before."""
    write_team(tmp_path)
    sums = {
        name[0]: (hashlib.new(kind, (tmp_path / name).read_bytes()).hexdigest().upper(),)
        for name in NAMES
    }
    write_team(tmp_path, (kind,), {**sums, "b": sums["a"]})
    source = reader(tmp_path)
    source.load("a")
    with pytest.raises(DataError, match=f"b.png: its {kind} is"):
        source.load("b")
    write_team(tmp_path, (kind,), {**sums, "b": ("1234",)})
    assert f"line 3: {kind} is '1234'" in refusal(tmp_path)


def test_small_images_are_refused_with_the_largest_size(tmp_path: Path) -> None:
    """Which is then taken; padding allows the longer side."""
    write_team(tmp_path)
    assert "the largest possible is 16: --set image_size=16" in refusal(tmp_path, image_size=17)
    assert reader(tmp_path, image_size=16).load("a").image.shape == (16, 16, 1)
    assert "possible is 20" in refusal(tmp_path, image_size=32, aspect="pad")


def test_a_damaged_file_is_named_when_it_is_read(tmp_path: Path) -> None:
    """And keeps no other from being read; so is one that may not be opened."""
    write_team(tmp_path)
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    source = reader(tmp_path)
    with pytest.raises(DataError, match=r"a\.png"):
        source.load("a")
    source.load("b")


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda p: (p / "t.xlsx").write_bytes(b"PK\3\4"), "save it as CSV"),
        (lambda p: (p / "t.csv").write_bytes(b"PK\3\4"), "save it as CSV"),
        (lambda p: (p / "t.csv").write_bytes("file_name,label\nä".encode("latin-1")), "not UTF-8"),
        (lambda p: (p / "t.csv").write_text("file_name,label\n"), "no rows"),
        (lambda p: (p / "t.csv").write_text("file_name,label,label\na.png,1,1\n"), "there twice"),
        (lambda p: (p / "t.csv").write_text("id,label\na.png,1\n"), "--set file_name=COLUMN"),
        (lambda p: (p / "t.csv").write_text("file_name,y\na.png,1\n"), "--set label=COLUMN"),
        (lambda p: (p / "t.jsonl").write_text("{\n"), "line 1: not JSON"),
        (lambda p: (p / "t.parquet").write_text("text"), "cannot be read as Parquet"),
    ],
)
def test_tables_that_cannot_be_read_say_what_to_do(
    write: Callable[[Path], Any], reason: str, tmp_path: Path
) -> None:
    """A spreadsheet, another encoding, nothing in it, columns that are missing or there twice."""
    write_images(tmp_path, NAMES)
    write(tmp_path)
    [table] = tmp_path.glob("t.*")
    assert reason in refusal(tmp_path, table=str(table))


def test_a_table_is_found_here_or_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of one name are refused; the whole path of one is taken."""
    folder, here = tmp_path / "team", tmp_path / "here"
    write_team(folder)
    (folder / "metadata.csv").rename(folder / "labels.csv")
    here.mkdir()
    monkeypatch.chdir(here)
    assert facts(reader(folder, table="labels.csv")) == EXPECTED
    shutil.copy(folder / "labels.csv", here / "labels.csv")
    assert "write the whole path" in refusal(folder, table="labels.csv")
    assert facts(reader(folder, table=str(here / "labels.csv"))) == EXPECTED
    assert "is neither" in refusal(folder, table="missing.csv")


def test_a_table_that_nobody_names_is_pointed_out(tmp_path: Path) -> None:
    """Named as the message says, it is read."""
    write_team(tmp_path)
    (tmp_path / "metadata.csv").rename(tmp_path / "labels.csv")
    assert "labels.csv: tables are read where they are named: --table labels.csv" in refusal(
        tmp_path
    )
    assert facts(reader(tmp_path, table="labels.csv")) == EXPECTED


def test_columns_that_do_not_exist_get_a_suggestion(tmp_path: Path) -> None:
    """For every role at once."""
    write_team(tmp_path)
    message = refusal(tmp_path, label="labl", patient="pid", covariates="age")
    assert "label: the table has no column 'labl'; did you mean label?" in message
    assert "patient: the table has no column 'pid'" in message
    assert "covariates: the table has no column 'age'" in message


def test_classes_that_no_image_has_are_refused(tmp_path: Path) -> None:
    """A typo would make every image negative; with negative classes named, so is any other word."""
    write_team(tmp_path)
    words = {"0": "nevus", "1": "melanoma"}
    rows = [(row[0], words[str(row[1])], *row[2:]) for row in ROWS]
    write_csv(tmp_path / "metadata.csv", COLUMNS, rows)
    assert "no image is of class 'melanom'; did you mean melanoma?" in refusal(
        tmp_path, positive="melanom"
    )
    assert "'nevus' (4, first" in refusal(tmp_path, positive="melanoma", negative="naevus")
    assert facts(reader(tmp_path, positive="melanoma", negative="nevus")) == EXPECTED
    rows[1] = (rows[1][0], "nevus|melanoma", *rows[1][2:])
    write_csv(tmp_path / "metadata.csv", COLUMNS, rows)
    assert facts(reader(tmp_path, positive="melanoma")) == EXPECTED


def test_patients_are_stored_as_salted_hashes(tmp_path: Path) -> None:
    """One hash a patient, in every staging with the salt; kept ids are as written."""
    write_team(tmp_path)

    def patients(**options: Any) -> list[str]:
        entries = reader(tmp_path, **options).contents.entries
        return [str(entries[name].patient) for name in "abce"]

    hashed = patients()
    assert hashed[0] == hashed[1] != hashed[2] != hashed[3]
    assert all(len(value) == 16 and "p1" not in value for value in hashed)
    assert patients() == hashed
    assert not set(patients(patient_salt="other")) & set(hashed)
    assert patients(keep_patient_ids=True, patient_salt=None) == ["p1", "p1", "p2", "p3"]
    assert "set patient_salt" in refusal(tmp_path, patient_salt=None)
    assert not any("salt" in value for value in reader(tmp_path).provenance().values())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"rle": "x"}, "rle needs rle_starts, rle_base, rle_order"),
        ({"rle_base": 1}, "rle_base needs rle"),
        ({"split_shares": "0.5/0.5/0.5"}, "does not sum to 1"),
        ({"split_shares": "0.5/0.25/0.25", "split": "s"}, "leave one out"),
        ({"window": "9/8"}, "window 9/8 is empty"),
        ({"directions": "ruler"}, "ruler:+1"),
        ({"negative": "n"}, "needs positive"),
        ({"category": "x"}, "needs coco"),
        ({"boxes": "x,y"}, "expected four, or one"),
        ({"mask": "m", "coco": "c"}, "leave one out"),
        ({"normal_images": "empty", "mask_of": "lungs"}, "drawn on images of either label"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], reason: str) -> None:
    """Each message begins with the option at fault."""
    [message] = problems(FolderOptions(**options))
    assert reason in message
    assert message.split()[0] in FolderOptions.__dataclass_fields__


@pytest.mark.parametrize("mask_of", [None, "heart", "region", "circle"])
def test_normal_images_have_no_empty_regions(mask_of: Any, tmp_path: Path) -> None:
    """Of the abnormality they do; the remedy leaves a region that nobody drew as not drawn."""
    write_team(tmp_path)
    write_mask(tmp_path / "masks" / "a.png", slice(4, 8), slice(5, 10))
    chosen = {} if mask_of is None else {"mask_of": mask_of}
    found = problems(FolderOptions(normal_images="empty", **chosen))
    assert len(found) == len(chosen)
    assert all(message.endswith("leave normal_images out") for message in found)
    assert problems(FolderOptions(**chosen)) == []
    source = reader(tmp_path, **chosen)
    source.index()
    assert sum(source.load(name).mask is not None for name in source.contents.entries) == 1


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    """It would block whoever reads it."""
    write_team(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    assert "pipe.png: not a file" in refusal(tmp_path)
