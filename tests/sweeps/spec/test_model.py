"""Sweep YAMLs that are taken: every section, defaults, overrides, resolution, equality."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from good_specs import FULL, SMALL

from spurious.config.datasets import GENERATORS, GaussianSquares
from spurious.config.fields import problems
from spurious.config.methods import METHODS, Erm
from spurious.config.models import (
    CLASSIFIERS,
    SEGMENTERS,
    Aggregation,
    FcnResNet50,
    ResNet50,
    SmallCnn,
    SmallUnet,
    Unet,
)
from spurious.config.options import Budget, Prices, Specificity, Train
from spurious.scoring.cost import PARTS
from spurious.scoring.operating_point import OperatingPoint
from spurious.scoring.selection import SelectionRule
from sweeps.errors import SpecError
from sweeps.spec.fields import Field, SpecIssues, describe, options_of
from sweeps.spec.model import (
    Axes,
    Checkpoint,
    GeneratorDataset,
    Limits,
    MethodChoice,
    Models,
    Resources,
    StagedDataset,
    load_spec,
    parse_override,
    parse_spec,
)
from sweeps.spec.values import AXIS, ComputePrices, NodeType
from sweeps.spec.yaml import ScalarNode

ERM = MethodChoice("erm", Erm())


def test_every_section_is_read() -> None:
    """A spec with every key becomes exactly the values that it states."""
    spec = parse_spec(FULL)
    assert spec.name == "cxr-frontier"
    assert spec.dataset == StagedDataset("siim-acr", "0123abcd")
    assert spec.axes == Axes(
        specificity=(
            Specificity("label"),
            Specificity("box"),
            Specificity("mask"),
            Specificity("r", r=4),
            Specificity("box", box_per="image"),
        ),
        budget=(600, 1100, None),
        method=(MethodChoice("erm", Erm()),),
        seed=(0, 1, 2147483647),
    )
    assert spec.balance == "natural"
    assert spec.model == Models(
        classifier=("small-cnn", SmallCnn()),
        segmenter=("small-unet", SmallUnet(channels=8)),
        readout=Aggregation(name="area_fraction", threshold=0.3),
    )
    assert spec.select_rule == SelectionRule("test", "robust_auroc")
    assert spec.select.operating_point == OperatingPoint(0.95)
    assert spec.select.margin == 0.05
    assert spec.prices == Prices(
        wage_per_hour=50.0, seconds_per_click=2.5, label=2, box=3, mask=40, r=4, spurious_label=0
    )
    assert spec.cost.axis == AXIS
    assert spec.published == ("saab2022/table1", "saab2022/table4")
    assert spec.resources == Resources(cpus=4, gpus=0.5, threads=2)
    assert spec.cost.compute == ComputePrices(
        node="g5.xlarge",
        count=8,
        node_types=(
            ("c7i.4xlarge", NodeType(dollars_per_hour=0.714, cpus=16)),
            ("g5.xlarge", NodeType(dollars_per_hour=1.006, cpus=4, gpus=1)),
        ),
    )
    assert spec.cost.compute.chosen == NodeType(dollars_per_hour=1.006, cpus=4, gpus=1)
    assert spec.limits == Limits(
        trial_minutes=300.0, gpu_hours=500.0, cpu_hours=2000.0, dollars=900.5, trials=40
    )
    assert spec.checkpoint == Checkpoint(every_epochs=3, keep=True)
    assert spec.embeddings is True
    assert (spec.explanations, spec.examples, spec.keep) == (True, 4, "model")
    assert spec.store == "s3://bucket/some/prefix"
    assert spec.text == FULL


def test_defaults_are_the_documented_ones() -> None:
    """A spec of only the required keys has the default models, prices, resources and rules."""
    spec = parse_spec(SMALL)
    assert spec.dataset == StagedDataset("siim-acr", None)
    assert spec.balance == "equal"
    assert spec.model.classifier == ("resnet50", ResNet50())
    assert spec.model.segmenter == ("unet", Unet())
    assert spec.model.readout == Aggregation(name="mean_prob")
    assert spec.train_for(Specificity("label"), ERM) == Train(keep="best val.auroc")
    assert spec.select_rule is None
    assert spec.select.operating_point == OperatingPoint()
    assert spec.select.margin == 0.02
    assert spec.prices == Prices()
    assert (spec.cost.axis, spec.cost.compute) == (PARTS, None)
    assert spec.limits == Limits()
    assert spec.published == ()
    assert spec.resources == Resources(cpus=1, gpus=0.0, threads=1)
    assert spec.checkpoint == Checkpoint(every_epochs=10, keep=False)
    assert spec.embeddings is False
    assert (spec.explanations, spec.examples, spec.keep) == (False, 0, None)
    assert spec.store is None


def test_method_overrides_win_over_specificity_overrides() -> None:
    """`train_for` lays the method over the specificity over the base, option by option."""
    spec = parse_spec(FULL)
    label = spec.train_for(Specificity("label"), ERM)
    assert label.epochs == 70
    assert label.learning_rate == 1e-5
    assert label.weight_decay == 0.01
    assert label.batch_size == 32
    mask = spec.train_for(Specificity("mask"), ERM)
    assert mask.epochs == 70
    assert mask.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("specificity", "keep"),
    [
        (Specificity("label"), "best val.auroc"),
        (Specificity("box"), "best val.dice"),
        (Specificity("box", box_per="image"), "best val.dice"),
        (Specificity("mask"), "best val.dice"),
        (Specificity("r", r=4), "last"),
    ],
)
def test_keep_auto_is_resolved(specificity: Specificity, keep: str) -> None:
    """`keep: auto` becomes AUROC for labels and Dice for what is segmented, unless overridden."""
    assert parse_spec(FULL).train_for(specificity, ERM).keep == keep


def test_budgets_carry_their_balance() -> None:
    """Counted budgets have the spec's balance; all images always have the natural one."""
    spec = parse_spec(SMALL.replace("[2]", "[600, all]"))
    assert spec.budgets() == (Budget(600, "equal"), Budget(None, "natural"))
    natural = parse_spec(SMALL.replace("[2]", "[601]") + "balance: natural\n")
    assert natural.budgets() == (Budget(601, "natural"),)


def test_label_trains_the_classifier_and_all_else_the_segmenter() -> None:
    """A method that learns pixels has a segmenter for everything that is drawn."""
    spec = parse_spec(FULL)
    assert spec.model_for(Specificity("label"), ERM) == ("small-cnn", SmallCnn())
    assert spec.readout_for(Specificity("label"), ERM) is None
    for specificity in spec.axes.specificity[1:]:
        assert spec.model_for(specificity, ERM) == ("small-unet", SmallUnet(channels=8))
        assert spec.readout_for(specificity, ERM) == Aggregation(
            name="area_fraction", threshold=0.3
        )


def test_a_generator_dataset_has_validated_options() -> None:
    """A mapping names a generator with options; a generator's name alone means its defaults."""
    options = "{name: gaussian-squares, shape: ring, noise_sd: 2, test_prevalence: null, seed: 7}"
    spec = parse_spec(SMALL.replace("siim-acr", options))
    expected = GaussianSquares(shape="ring", noise_sd=2.0, test_prevalence=None, seed=7)
    assert spec.dataset == GeneratorDataset("gaussian-squares", expected)
    alone = parse_spec(SMALL.replace("siim-acr", "gaussian-squares"))
    assert alone.dataset == GeneratorDataset("gaussian-squares", GaussianSquares())
    staged = parse_spec(SMALL.replace("siim-acr", "gaussian-squares@abcd"))
    assert staged.dataset == StagedDataset("gaussian-squares", "abcd")


def test_names_with_options_and_names_alone_mean_the_same() -> None:
    """`erm` and `{name: erm}`, and `small-unet` and its spelled-out default, give equal specs."""
    short = parse_spec(SMALL + "model: {segmenter: small-unet, readout: max_prob}\n")
    long = parse_spec(
        SMALL.replace("[erm]", "[{name: erm}]")
        + "model: {segmenter: {name: small-unet, channels: 16}, readout: {name: max_prob}}\n"
        + "train: {per_method: {erm: {}}}\n"
    )
    assert short == long
    assert hash(short) == hash(long)
    assert str(short.axes.method[0]) == "erm"


def test_weights_are_a_sha256() -> None:
    """Pretrained weights are named by 64 hexadecimal digits, quoted or not, all digits or not."""
    for digest in ("ab" * 32, "12" * 32, "1e" + "0" * 62):
        spec = parse_spec(
            SMALL + f"model: {{segmenter: {{name: fcn-resnet50, weights: {digest}}}}}\n"
        )
        assert spec.model.segmenter == ("fcn-resnet50", FcnResNet50(weights=digest))


def test_equality_ignores_the_text_but_nothing_else() -> None:
    """Comments do not matter to equality and hash; any value does."""
    assert parse_spec(SMALL) == parse_spec("# why\n" + SMALL)
    assert hash(parse_spec(SMALL)) == hash(parse_spec("# why\n" + SMALL))
    for change in (
        "train: {epochs: 99}",
        "store: here",
        "select: {epoch: last}",
        "resources: {cpus: 2}",
    ):
        assert parse_spec(SMALL) != parse_spec(SMALL + change)


def test_gpus_are_left_to_a_measurement() -> None:
    """A whole one until then; it is no plain 1, and goes with the other keys."""
    found = parse_spec(SMALL + "resources: {gpus: auto, cpus: 3}").resources
    assert (found.gpus, found.cpus, found.is_measured) == (1.0, 3, True)
    plain = parse_spec(SMALL + "resources: {gpus: 1, cpus: 3}").resources
    assert plain != found
    assert not plain.is_measured


def test_a_number_is_the_same_however_it_is_written() -> None:
    """Integers for numbers, exponents without a dot and -0 give the same floats, of type float."""
    values = ("1e-2", "1.0e-2", "0.01", "+0.01", "1E-2", ".01")
    rates = {parse_spec(SMALL + f"train: {{learning_rate: {v}}}").train.base for v in values}
    assert rates == {Train(learning_rate=0.01)}
    whole = parse_spec(SMALL + "train: {learning_rate: 1, weight_decay: -0.0}").train.base
    assert type(whole.learning_rate) is float
    assert str(whole.weight_decay) == "0.0"


def test_yaml_1_1_words_are_plain_text_here() -> None:
    """`on` and `0600` are text where text is expected, as in YAML 1.2."""
    assert parse_spec(SMALL.replace("tiny", "on")).name == "on"
    assert parse_spec(SMALL.replace("tiny", "0600")).name == "0600"


@pytest.mark.parametrize(
    "data",
    [SMALL.encode(), b"\xef\xbb\xbf" + SMALL.encode(), SMALL.replace("\n", "\r\n").encode()],
    ids=["plain", "byte order mark", "CRLF"],
)
def test_encodings_of_the_same_text(data: bytes, tmp_path: Path) -> None:
    """A byte order mark and Windows line ends do not matter, from memory or a file."""
    (tmp_path / "sweep.yaml").write_bytes(data)
    assert parse_spec(data) == load_spec(tmp_path / "sweep.yaml") == parse_spec(SMALL)
    assert parse_spec(data).text.startswith("name: tiny")


def test_overrides_come_before_validation() -> None:
    """An override replaces or adds a value at its dotted key, in mappings that need not exist."""
    spec = parse_spec(
        SMALL.replace("name: tiny", "name: NOT VALID"),
        overrides={
            "name": "tiny",
            "train.epochs": 2,
            "axes.seed": [3, 4],
            "train.per_method.erm": {"batch_size": 4},
            "store": "x",
        },
    )
    assert spec.name == "tiny"
    assert spec.axes.seed == (3, 4)
    assert spec.train_for(Specificity("label"), ERM).epochs == 2
    assert spec.train_for(Specificity("label"), ERM).batch_size == 4
    assert spec.store == "x"
    assert spec == parse_spec(
        SMALL.replace("[0]", "[3, 4]")
        + "train: {epochs: 2, per_method: {erm: {batch_size: 4}}}\nstore: x\n"
    )


def test_an_override_on_the_command_line_is_yaml() -> None:
    """`KEY=VALUE` gives typed values by the same rules as the file."""
    assert parse_override("train.epochs=2") == ("train.epochs", 2)
    assert parse_override("train.learning_rate=1e-5") == ("train.learning_rate", 1e-5)
    assert parse_override("axes.seed=[0, 1]") == ("axes.seed", [0, 1])
    assert parse_override("dataset={name: gaussian-squares}") == (
        "dataset",
        {"name": "gaussian-squares"},
    )
    assert parse_override("store=a=b") == ("store", "a=b")
    assert parse_override("store=") == ("store", None)
    for bad in ("train.epochs", "=2", "seed=[0", "seed=*x"):
        with pytest.raises(SpecError, match="override"):
            parse_override(bad)


@pytest.mark.parametrize("store", ["results", "./a b", "/tmp/x", "s3://bucket", "s3://bucket/a/b/"])
def test_a_store_is_a_folder_or_a_bucket(store: str) -> None:
    """Folders and S3 URLs are taken as they are written."""
    assert parse_spec(SMALL + f"store: {store}\n").store == store


@pytest.mark.parametrize(
    "cls",
    [
        *(
            cls
            for names in (GENERATORS, METHODS, CLASSIFIERS, SEGMENTERS)
            for cls in names.values()
        ),
        *(Train, Prices, Aggregation, Resources, Checkpoint),
    ],
)
def test_every_option_can_be_read_and_its_default_is_allowed(cls: type) -> None:
    """No option has a type or mark that the reader does not know, or a default out of range."""
    for name, (hint, default) in options_of(cls).items():
        assert describe(hint)
        node = ScalarNode(1, default, str(default))
        assert Field(node, name, SpecIssues("defaults")).value(hint) == default
    assert problems(cls()) == []


def test_sizes_of_squares_are_refused_exactly_where_they_cannot_fit() -> None:
    """Against every position of the abnormality, by brute force: is there room for the block?"""
    for n, a, b in itertools.product((8, 9), range(1, 11), range(1, 11)):
        fits = (
            a <= n
            and b <= n
            and all(
                max(top, n - a - top, left, n - a - left) >= b
                for top, left in itertools.product(range(n - a + 1), repeat=2)
            )
        )
        options = GaussianSquares(image_size=n, abnormality_size=a, spurious_size=b)
        assert (problems(options) == []) == fits, (n, a, b)
        apart = GaussianSquares(
            image_size=n, abnormality_size=a, spurious_size=b, overlap="independent"
        )
        assert (problems(apart) == []) == (a <= n and b <= n)


def test_importing_the_spec_loads_no_heavy_module() -> None:
    """`import sweeps.spec.model` starts at once: no torch, Ray, boto3, pandas or pyarrow."""
    code = (
        "import sys, sweeps.spec.model; "
        "print(sorted({'torch', 'ray', 'boto3', 'pandas', 'pyarrow', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
