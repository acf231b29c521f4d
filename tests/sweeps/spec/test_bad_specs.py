"""Sweep YAMLs that are refused: each with its line, its dotted key, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_specs import DATA_CASES, GOOD, add, change

from sweeps.errors import SpecError
from sweeps.spec.model import load_spec, parse_spec
from sweeps.spec.yaml import MAX_BYTES, read

CASES: dict[str, tuple[str, int, str, list[str]]] = {
    **DATA_CASES,
    # models
    "unknown classifier": (
        add("model:\n  classifier: resnet5"),
        9,
        "model.classifier",
        ["did you mean 'resnet50'?"],
    ),
    "segmenter as classifier": (
        add("model: {classifier: unet}"),
        8,
        "model.classifier",
        ["one of resnet50, small-cnn"],
    ),
    "model option out of range": (
        add("model: {segmenter: {name: small-unet, channels: 1}}"),
        8,
        "model.segmenter.channels",
        ["from 2 to 512", "(default 16)"],
    ),
    "weights": (
        add(f"model: {{segmenter: {{name: unet, weights: {'A' * 64}}}}}"),
        8,
        "model.segmenter.weights",
        ["64 lower-case hexadecimal digits", "or null"],
    ),
    "unknown read-out": (
        add("model: {readout: mean}"),
        8,
        "model.readout",
        ["mean_prob", "(default mean_prob)"],
    ),
    "read-out option without effect": (
        add("model: {readout: {name: max_prob, threshold: 0.3}}"),
        8,
        "model.readout.threshold",
        ["not read by max_prob", "area_fraction"],
    ),
    # training
    "list on the lines after its key": (
        add("train:\n  epochs:\n    - 1"),
        9,
        "train.epochs",
        ["a list given"],
    ),
    "unknown specificity override": (
        add("train:\n  per_specificity:\n    msk: {epochs: 1}"),
        10,
        "train.per_specificity.msk",
        ["label, box, mask, r", "mean 'mask'?"],
    ),
    "bad value in an override": (
        add("train: {per_method: {erm: {batch_size: 0}}}"),
        8,
        "train.per_method.erm.batch_size",
        ["from 1 to 65536", "(default 16)"],
    ),
    "override that is no mapping": (
        add("train: {per_method: [erm]}"),
        8,
        "train.per_method",
        ["a list given", "keys erm"],
    ),
    "unknown keep rule": (
        add("train: {keep: best val.auc}"),
        8,
        "train.keep",
        ["best val.METRIC", "val.auroc'?"],
    ),
    "keep rule on test": (
        add("train: {keep: best test.auroc}"),
        8,
        "train.keep",
        ["a method never sees test data"],
    ),
    "keep rule on test for one specificity": (
        add("train: {per_specificity: {mask: {keep: best test.dice}}}"),
        8,
        "train.per_specificity.mask.keep",
        ["never sees test data"],
    ),
    "keep rule that labels cannot have": (
        add("train: {keep: best val.dice}"),
        8,
        "train.keep",
        ["label has no dice", "mean 'auto'"],
    ),
    "labels' keep rule that labels cannot have": (
        add("train:\n  keep: best val.auroc\n  per_specificity: {label: {keep: best val.dice}}"),
        10,
        "train.per_specificity.label.keep",
        ["label has no dice"],
    ),
    "method's keep rule that labels cannot have": (
        add(
            "train:\n  per_specificity: {label: {keep: last}}\n"
            "  per_method: {erm: {keep: best val.dice}}"
        ),
        10,
        "train.per_method.erm.keep",
        ["label has no dice"],
    ),
    "keep rule that masks cannot have": (
        add("train: {keep: best val.worst_group_accuracy}"),
        8,
        "train.keep",
        ["mask has no worst_group_accuracy"],
    ),
    "keep rule of a method that guesses no groups": (
        add("train: {per_specificity: {label: {keep: best val.worst_cluster_accuracy}}}"),
        8,
        "train.per_specificity.label.keep",
        ["erm has no clusters"],
    ),
    # reporting and running
    "selection rule that masks cannot have": (
        add("select: {epoch: best val.accuracy}"),
        8,
        "select.epoch",
        ["mask has no accuracy", "val.auroc"],
    ),
    "unknown selection rule": (
        add("select: {epoch: best}"),
        8,
        "select.epoch",
        ["kept, last or best SPLIT.METRIC"],
    ),
    "kept by a metric of reports": (
        add("train: {keep: best val.brier}"),
        8,
        "train.keep",
        ["brier"],
    ),
    "unknown operating point": (
        add("select: {operating_point: best}"),
        8,
        "select.operating_point",
        ["youden", "{sensitivity: 0.95}"],
    ),
    "selection rule that labels cannot have": (
        add("select: {epoch: best val.dice}"),
        8,
        "select.epoch",
        ["label has no dice", "val.auroc"],
    ),
    "empty selection rule": (
        add("select: {epoch: }"),
        8,
        "select.epoch",
        ["nothing", "kept, last"],
    ),
    "empty keep rule": (add("train: {keep: }"), 8, "train.keep", ["nothing given", "auto, last"]),
    "selection that is no mapping": (add("select: last"), 8, "select", ["a mapping with", "epoch"]),
    "unknown price": (
        add("cost: {clicks: {masks: 45}}"),
        8,
        "cost.clicks.masks",
        ["did you mean 'mask'?"],
    ),
    "negative price": (add("cost: {clicks: {mask: -1}}"), 8, "cost.clicks.mask", ["at least 0"]),
    "price of clicks outside clicks": (add("cost: {mask: 45}"), 8, "cost.mask", ["clicks"]),
    "more threads than cpus": (
        add("resources:\n  cpus: 2\n  threads: 3"),
        10,
        "resources.threads",
        ["cpus, which is 2"],
    ),
    "one and a half GPUs": (add("resources: {gpus: 1.5}"), 8, "resources.gpus", ["share of one"]),
    "empty section": (add("checkpoint:"), 8, "checkpoint", ["nothing given", "every_epochs, keep"]),
    "store of another kind": (add("store: gs://b/x"), 8, "store", ["s3://BUCKET/PREFIX"]),
    "bucket with credentials": (add("store: s3://k:s@bucket"), 8, "store", ["s3://BUCKET/PREFIX"]),
    "prefix that climbs": (add("store: s3://bucket/../x"), 8, "store", ["s3://BUCKET/PREFIX"]),
    "search": (add("search: {trials: 8}"), 8, "search", ["not available yet", "remove"]),
    "empty search": (add("search:"), 8, "search", ["not available yet"]),
    "prune": (add("prune: asha"), 8, "prune", ["not available yet"]),
    "limits": (add("limits: {}"), 8, "limits", ["not available yet"]),
    # YAML
    "key twice": (add("name: other"), 8, "name", ["given twice", "first on line 1"]),
    "nested key twice": (
        add("train:\n  epochs: 1\n  epochs: 2"),
        10,
        "train.epochs",
        ["first on line 9"],
    ),
    "number as key": (add("1: x"), 8, "", ["the key 1 is no text"]),
    "null as key": (add("train: {~: x}"), 8, "train", ["the key ~ is no text"]),
    "list as key": (add("? [a]\n: x"), 8, "", ["a collection is no text"]),
    "Python tag": (
        change(7, "  seed: !!python/object/apply:os.system [ls]"),
        7,
        "axes.seed",
        ["!!python/object/apply:os.system is refused"],
    ),
    "own tag": (change(1, "name: !name tiny"), 1, "name", ["the tag !name is refused"]),
    "string tag": (change(1, "name: !!str tiny"), 1, "name", ["the tag !!str is refused"]),
    "anchor": (change(7, "  seed: &s [0]"), 7, "axes.seed", ["the anchor &s is refused"]),
    "alias without an anchor": (
        change(7, "  seed: [*s]"),
        7,
        "axes.seed[0]",
        ["the alias *s is refused"],
    ),
    "merge key": (add("train:\n  <<: {epochs: 1}"), 9, "train", ["the merge key << is refused"]),
    "deep nesting": (add("train: " + "[" * 100), 8, "train" + "[0]" * 16, ["16 levels deep"]),
    "tab": (change(5, "\tbudget: [2]"), 5, "", ["not YAML", "spaces, not tabs"]),
    "indentation": (
        change(5, "   budget: [600]"),
        5,
        "",
        ["not YAML", "indent the keys of one mapping"],
    ),
    "two values in one line": (
        change(1, "name: tiny: b"),
        1,
        "",
        ["not YAML", "put text that holds ': ' in quotes"],
    ),
    "open bracket": (change(7, "  seed: [0, 1"), 8, "", ["not YAML", "flow sequence"]),
    "several documents": (add("---\nname: b"), 8, "", ["a second document"]),
    "control character": (change(3, "axes: \x07"), 3, "", ["U+0007"]),
    "empty": ("", 1, "", ["empty", "name, dataset and axes"]),
    "only comments": ("# nothing\n", 1, "", ["empty"]),
    "a list at the top": ("- name: a\n", 1, "", ["a list given", "a mapping with"]),
    "a word at the top": ("hello\n", 1, "", ["'hello' given", "a mapping with"]),
    "null at the top": ("---\n", 2, "", ["nothing given", "name, dataset, axes"]),
}


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
        "search: {}\n"
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
        ["sweep.yaml:12", "search"],
        ["override cost.clicks.mask", "'many' given; expected a number at least 0 (default 45)"],
    ]


@pytest.mark.parametrize(
    ("key", "value", "start"),
    [
        ("train.epochs", "abc", "override train.epochs: 'abc' given; expected an integer"),
        ("train.epoch", 3, "override train.epoch: unknown key; expected one of epochs"),
        ("trian.epochs", 3, "override trian.epochs: trian: unknown key; expected one of name"),
        ("train", {"epochs": 0}, "override train: train.epochs: 0 given; expected an integer"),
        ("axes.seed", [], "override axes.seed: an empty list given; expected a list"),
        ("dataset.shape", "ring", "override dataset.shape: 'dataset' is no mapping here"),
        ("train..epochs", 1, "override train..epochs: not a dotted key"),
        ("", 1, "override '': not a dotted key"),
        ("store", Path("x"), "override store: a value of type PosixPath given"),
        ("train.momentum", np.float64(0.5), "override train.momentum: a value of type float64"),
        ("train", {1: 2}, "override train: a value of type dict given"),
        ("limits.dollars", 9, "override limits.dollars: limits: not available yet"),
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
