"""Sweep YAMLs that are refused: each with its line, its dotted key, and what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_searches import SEARCH_CASES
from bad_sections import SECTION_CASES
from bad_specs import DATA_CASES, GOOD, add, change
from tiny_sweeps import FILMS

from spurious.config.methods import METHODS
from spurious.config.options import Train
from sweeps.errors import SpecError
from sweeps.plan.plan import make_plan
from sweeps.spec.fields import options_of
from sweeps.spec.model import load_spec, parse_spec
from sweeps.spec.yaml import MAX_BYTES, read

CASES = {**DATA_CASES, **SECTION_CASES, **SEARCH_CASES}


def refusal(text: str | bytes, overrides: dict[str, Any] | None = None) -> list[str]:
    """The lines of the error that a text is refused with."""
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "sweep.yaml", overrides or {})
    message = str(caught.value)
    assert "Traceback" not in message
    assert "pydantic" not in message
    return message.split("\n")


@pytest.mark.parametrize(("text", "line", "key", "words"), CASES.values(), ids=CASES.keys())
def test_a_bad_spec_is_refused_in_one_line(
    text: str, line: int, key: str, words: list[str]
) -> None:
    """One problem gives one line: file, line, dotted key, what was given, what is allowed."""
    found = refusal(text)
    assert len(found) == 1, found
    assert found[0].startswith(f"sweep.yaml:{line}: {key + ': ' if key else ''}")
    for word in words:
        assert word in found[0]


def test_long_lists_of_keys_are_shortened() -> None:
    """Of a dozen or fewer all, of more their number and the nearest five, the nearest first."""
    (found,) = refusal(add("train: {lerning_rat: 1}"))
    keys = list(options_of(Train))
    assert len(keys) > 12
    listed = re.search(r"expected one of (\d+) keys, of which (.*) are the nearest; ", found)
    assert listed is not None, found
    names = listed[2].split(", ")
    assert names[0] == "learning_rate"
    assert len(names) == 5
    assert set(names) <= {*keys, "per_specificity", "per_method"}
    (found,) = refusal(change(6, "  method: [5]"))
    assert f"one of {len(METHODS)} names such as erm, " in found
    assert found.endswith(" (`sweeps schema` has all)")
    for text, *_ in CASES.values():
        for message in refusal(text):
            for names in re.findall(r"(?<!METRIC )one of ((?:[\w.:/-]+, )+[\w.:/-]+)", message):
                assert names.count(",") < 12, message


def test_the_good_spec_is_good() -> None:
    """The text that the cases change is taken as it stands, so each case is about its change."""
    assert parse_spec(GOOD).name == "tiny"


def test_all_problems_come_at_once_in_line_order() -> None:
    """Problems of every section and kind are listed together, sorted by line, overrides last."""
    text = (
        "nmae: a\n"
        "dataset: {name: gaussian-squares, shape: rign, noise_sd: 0}\n"
        "axes:\n"
        "  specificity: [label, {r: 0}, boks]\n"
        "  budget: [601, 1, all, all]\n"
        "  method: [jttt]\n"
        "  seed: [true, 1, 1]\n"
        "train: {epochs: 0, keep: best test.dice, per_method: {erm: {augment: paper2}}}\n"
        "select: {epoch: best val.dice}\n"
        "resources: {cpus: 1, threads: 2}\n"
        "resources: {}\n"
        "limit: {}\n"
    )
    found = refusal(text, {"cost.clicks.mask": "many"})
    places = [line.split(": ")[:2] for line in found]
    assert places == [
        ["sweep.yaml:1", "nmae"],
        ["sweep.yaml:1", "name"],
        ["sweep.yaml:2", "dataset.shape"],
        ["sweep.yaml:2", "dataset.noise_sd"],
        ["sweep.yaml:4", "axes.specificity[1].r"],
        ["sweep.yaml:4", "axes.specificity[2]"],
        ["sweep.yaml:5", "axes.budget[1]"],
        ["sweep.yaml:5", "axes.budget[3]"],
        ["sweep.yaml:5", "axes.budget[0]"],
        ["sweep.yaml:6", "axes.method[0]"],
        ["sweep.yaml:7", "axes.seed[0]"],
        ["sweep.yaml:7", "axes.seed[2]"],
        ["sweep.yaml:8", "train.epochs"],
        ["sweep.yaml:8", "train.keep"],
        ["sweep.yaml:8", "train.per_method.erm.augment"],
        ["sweep.yaml:9", "select.epoch"],
        ["sweep.yaml:10", "resources.threads"],
        ["sweep.yaml:11", "resources"],
        ["sweep.yaml:12", "limit"],
        [
            "override cost.clicks.mask",
            "'many' given; expected a number from 0 to 10000 (default 45)",
        ],
    ]


@pytest.mark.parametrize(
    ("key", "value", "start"),
    [
        ("train.epochs", "abc", "override train.epochs: 'abc' given; expected an integer"),
        ("train.epoch", 3, "override train.epoch: unknown key; expected one of "),
        ("trian.epochs", 3, "override trian.epochs: trian: unknown key; expected one of "),
        ("train", {"epochs": 0}, "override train: train.epochs: 0 given; expected an integer"),
        ("axes.seed", [], "override axes.seed: an empty list given; expected a list"),
        ("dataset.shape", "ring", "override dataset.shape: 'dataset' is not a mapping here"),
        ("train..epochs", 1, "override train..epochs: not a dotted key"),
        ("", 1, "override '': not a dotted key"),
        ("store", Path("x"), "override store: a value of type PosixPath given"),
        ("train.momentum", np.float64(0.5), "override train.momentum: a value of type float64"),
        ("train", {1: 2}, "override train: a value of type dict given"),
        ("limits.trials", 0, "override limits.trials: 0 given; expected an integer from 1"),
    ],
)
def test_a_bad_override_names_itself(key: str, value: Any, start: str) -> None:
    """A problem that comes from an override names the override and no line."""
    found = refusal(GOOD, {key: value})
    assert len(found) == 1, found
    assert found[0].startswith(start)


def test_bytes_that_are_no_utf8_are_refused_with_their_offset() -> None:
    """The message gives line, byte offset and the encoding to use."""
    (found,) = refusal(b"name: tiny\ndataset: \xff\n")
    assert found == "sweep.yaml:2: byte 20 (0xff) is not UTF-8; save the file as UTF-8"


def test_a_lone_surrogate_is_refused() -> None:
    """Text that no UTF-8 file can hold is refused like any other character."""
    (found,) = refusal(change(1, "name: \ud800"))
    assert found.startswith("sweep.yaml:1: the character U+D800")


@pytest.mark.parametrize("data", ["x" * (MAX_BYTES + 1), b"x" * (MAX_BYTES + 1), "é" * MAX_BYTES])
def test_a_long_text_is_refused_unread(data: str | bytes) -> None:
    """The bound counts bytes, for text and bytes alike."""
    (found,) = refusal(data)
    assert found.startswith("sweep.yaml:1: more than 256 KiB")


def test_an_alias_bomb_is_refused_without_expansion() -> None:
    """2^60 values would never be built in a lifetime: coming back at all is the proof."""
    levels = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60))]
    text = GOOD + "\n".join(levels) + "\n"
    assert read(text)[0] is None
    found = refusal(text)
    assert found[0].startswith("sweep.yaml:8: a0: the anchor &a0 is refused")
    assert any("the alias *a0 is refused" in line for line in found)
    assert len(found) == 101
    assert found[-1] == "sweep.yaml: and 78 more problems"


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """A missing file, a folder and a name that no file can have are each one clear line."""
    for path in (tmp_path / "none.yaml", tmp_path, Path("a\0b")):
        with pytest.raises(SpecError, match="cannot be read") as caught:
            load_spec(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_a_file_is_named_in_its_errors(tmp_path: Path) -> None:
    """`load_spec` puts the path before the line, so that a terminal can open it."""
    path = tmp_path / "sweep.yaml"
    path.write_text(change(7, "  seed: [-1]"))
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert str(caught.value).startswith(f"{path}:7: axes.seed[0]: -1 given")


def test_a_message_stays_one_short_printable_line() -> None:
    """Long values and control characters of a file cannot flood or steer a terminal."""
    for bad in (f"'{'k' * 10_000}': 1", r'"\e[31m\n": 1', r'balance: "\e[31mred\n"'):
        (found,) = refusal(add(bad))
        assert found.isprintable()
        assert len(found) < 300


def test_many_unknown_keys_are_counted() -> None:
    """The first hundred problems are printed, the others counted."""
    found = refusal(GOOD + "".join(f"key{i}: 1\n" for i in range(150)))
    assert len(found) == 101
    assert found[-1] == "sweep.yaml: and 50 more problems"


def test_a_rule_of_classifiers_leaves_segmented_cells_out() -> None:
    """Of labels and masks under ERM, and masks that steer a classifier; the remedy is taken."""
    several = {"axes.specificity": ["label", "mask"], "axes.method": ["erm", "rrr"]}
    rule = {**several, "select.epoch": "best val.accuracy"}
    [line] = refusal(FILMS, rule)
    assert "a rule for every cell of axes, and mask has no accuracy" in line
    assert line.endswith("'model.segmenter: null' leaves out the cells that train a segmenter")
    spec = parse_spec(FILMS, overrides={**rule, "model.segmenter": None})
    cells = [str(cell) for cell in make_plan(spec, None).cells]
    assert {cell.split(" / ")[0] + " " + cell.split(" / ")[2] for cell in cells} == {
        "label erm", "mask rrr",
    }  # fmt: skip
    [line] = refusal(FILMS, {**rule, "axes.specificity": ["mask"], "axes.method": ["erm"]})
    assert "segmenter" not in line  # nothing would be left
