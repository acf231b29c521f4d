"""A good sweep YAML, ways to spoil it, and spoilt ones: names, scalars, datasets and axes."""

from __future__ import annotations

GOOD = """\
name: tiny
dataset: siim-acr
axes:
  specificity: [label, mask]
  budget: [600, all]
  method: [erm]
  seed: [0, 1]
"""


def change(line: int, text: str) -> str:
    """The good spec with one of its lines, from 1, replaced."""
    lines = GOOD.splitlines()
    lines[line - 1] = text
    return "\n".join(lines) + "\n"


def add(text: str) -> str:
    """The good spec with more lines, which begin at line 8."""
    return GOOD + text + "\n"


def squares(options: str) -> str:
    """The good spec on a generator."""
    return change(2, f"dataset: {{name: gaussian-squares, {options}}}")


DATA_CASES: dict[str, tuple[str, int, str, list[str]]] = {
    # names and types
    "upper-case name": (change(1, "name: CXR"), 1, "name", ["'CXR' given", "lower-case letters"]),
    "long name": (change(1, f"name: {'a' * 64}"), 1, "name", ["1 to 63"]),
    "numeric name": (change(1, "name: 12"), 1, "name", ["12 given", "put it in quotes"]),
    "empty name": (change(1, "name:"), 1, "name", ["nothing given", "lower-case"]),
    "name with a line break": (change(1, 'name: "a\\nb"'), 1, "name", [r"'a\nb' given"]),
    "missing name": (change(1, "balance: equal"), 1, "name", ["missing", "required"]),
    "missing axis": (change(7, ""), 3, "axes.seed", ["missing", "required in axes"]),
    "unknown key": (
        add("modle: {}"),
        8,
        "modle",
        ["unknown key; expected one of", "keys, of which model, ", "mean 'model'?"],
    ),
    "unknown training option": (
        add("train:\n  epochs: 3\n  batch: 8"),
        10,
        "train.batch",
        ["unknown key; expected one of", "of which batch_size, ", "did you mean 'batch_size'?"],
    ),
    # strict scalars
    "text for an integer": (
        add('train: {epochs: "3"}'),
        8,
        "train.epochs",
        ["'3' given", "(default 100)", "the quotes"],
    ),
    "true for an integer": (add("train: {epochs: true}"), 8, "train.epochs", ["true given"]),
    "float for an integer": (
        add("train: {epochs: 3.0}"),
        8,
        "train.epochs",
        ["3.0 given", "did you mean '3'?"],
    ),
    "null for an integer": (add("train: {epochs: }"), 8, "train.epochs", ["nothing given"]),
    "list for an integer": (add("train: {epochs: [3]}"), 8, "train.epochs", ["a list given"]),
    "zero epochs": (
        add("train: {epochs: 0}"),
        8,
        "train.epochs",
        ["0 given", "an integer from 1 to 100000"],
    ),
    "huge integer": (add(f"train: {{epochs: {'9' * 5000}}}"), 8, "train.epochs", ["999...' given"]),
    "huge integer for a number": (
        add(f"cost: {{wage_per_hour: {'9' * 39}}}"),
        8,
        "cost.wage_per_hour",
        ["from 0 to 10000"],
    ),
    "infinite": (add("cost: {wage_per_hour: .inf}"), 8, "cost.wage_per_hour", [".inf given"]),
    "overflow": (add("cost: {wage_per_hour: 1e999}"), 8, "cost.wage_per_hour", ["1e999 given"]),
    "NaN": (squares("abnormality_mean: .nan"), 2, "dataset.abnormality_mean", ["a finite number"]),
    "yes for a boolean": (
        add("checkpoint: {keep: yes}"),
        8,
        "checkpoint.keep",
        ["true or false", "mean 'true'?"],
    ),
    "off for a boolean": (
        add("checkpoint: {keep: off}"),
        8,
        "checkpoint.keep",
        ["mean 'false'?"],
    ),
    "no such part of the price": (
        add("cost: {axis: [training, validations]}"),
        8,
        "cost.axis[1]",
        ["training, spurious_labels, validation, compute", "mean 'validation'?"],
    ),
    "an axis of nothing": (add("cost: {axis: []}"), 8, "cost.axis", ["at least one part"]),
    "a part twice": (
        add("cost: {axis: [training, training]}"),
        8,
        "cost.axis[1]",
        ["equals cost.axis[0]", "no value twice"],
    ),
    "compute without a price": (
        add("cost: {axis: [training, compute]}"),
        8,
        "cost.axis",
        ["compute has no price; give it one in cost.compute, or remove it here"],
    ),
    "an axis of two versions": (
        add("cost: {axis: [training], include_validation: true}"),
        8,
        "cost.include_validation",
        ["axis says what is counted; remove this key"],
    ),
    "octal": (
        change(5, "  budget: [0600]"),
        5,
        "axes.budget[0]",
        ["'0600' given", "or all", "leading 0"],
    ),
    "base 60": (add("train: {learning_rate: 1:30}"), 8, "train.learning_rate", ["not in base 60"]),
    "underscores": (change(5, "  budget: [1_000]"), 5, "axes.budget[0]", ["without underscores"]),
    "hexadecimal": (change(7, "  seed: [0x10]"), 7, "axes.seed[0]", ["write it in decimal"]),
    # datasets
    "dataset path": (change(2, "dataset: ../../etc"), 2, "dataset", ["NAME@DIGEST"]),
    "dataset digest": (change(2, "dataset: siim-acr@XYZ"), 2, "dataset", ["hexadecimal digits"]),
    "unknown generator": (
        change(2, "dataset: {name: gaussian-sqares}"),
        2,
        "dataset.name",
        ["a generator", "mean 'gaussian-squares'?"],
    ),
    "staged dataset as a mapping": (
        change(2, "dataset: {name: siim-acr}"),
        2,
        "dataset.name",
        ["its name alone"],
    ),
    "generator without a name": (
        change(2, "dataset:\n  shape: ring"),
        2,
        "dataset.name",
        ["missing", "gaussian-squares"],
    ),
    "generator option": (
        change(2, "dataset:\n  name: gaussian-squares\n  shap: disc"),
        4,
        "dataset.shap",
        ["unknown key", "did you mean 'shape'?"],
    ),
    "generator choice": (
        squares("shape: rign"),
        2,
        "dataset.shape",
        ["one of square, disc, ring", "mean 'ring'?"],
    ),
    "probability": (squares("prevalence: 1.5"), 2, "dataset.prevalence", ["from 0 to 1"]),
    "optional probability": (
        squares("test_prevalence: -1"),
        2,
        "dataset.test_prevalence",
        ["from 0 to 1, or null"],
    ),
    "square larger than the image": (
        squares("abnormality_size: 41"),
        2,
        "dataset.abnormality_size",
        ["at most 40"],
    ),
    "block larger than the image": (
        squares("overlap: independent, spurious_size: 41"),
        2,
        "dataset.spurious_size",
        ["at most 40"],
    ),
    "squares that do not fit side by side": (
        change(2, "dataset:\n  name: gaussian-squares\n  spurious_size: 17"),
        4,
        "dataset.spurious_size",
        ["expected at most 16", "overlap: independent"],
    ),
    "ring without a hole": (
        squares("shape: ring, ring_width: 4"),
        2,
        "dataset.ring_width",
        ["less than 4", "disc"],
    ),
    "r larger than the generator's image": (
        squares("image_size: 32").replace("[label, mask]", "[{r: 33}]"),
        4,
        "axes.specificity[0].r",
        ["33 given", "from 1 to 32", "image side of the generator"],
    ),
    # axes
    "axis that is no list": (
        change(7, "  seed: 0"),
        7,
        "axes.seed",
        ["a list of at least one seed", "mean '[0]'?"],
    ),
    "empty axis": (change(6, "  method: []"), 6, "axes.method", ["an empty list given"]),
    "axes that are a list": (
        "name: a\ndataset: b\naxes: [1]\n",
        3,
        "axes",
        ["a mapping with some of the keys"],
    ),
    "unknown axis": (add("  sede: [0]"), 8, "axes.sede", ["did you mean 'seed'?"]),
    "unknown specificity": (
        change(4, "  specificity: [label, maks]"),
        4,
        "axes.specificity[1]",
        ["mean 'mask'?"],
    ),
    "bare r": (
        change(4, "  specificity:\n  - r=8"),
        5,
        "axes.specificity[0]",
        ["did you mean '{r: 8}'?"],
    ),
    "r of zero": (
        change(4, "  specificity: [{r: 0}]"),
        4,
        "axes.specificity[0].r",
        ["from 1 to 4096"],
    ),
    "null r": (change(4, "  specificity: [{r: }]"), 4, "axes.specificity[0].r", ["nothing given"]),
    "r with more keys": (
        change(4, "  specificity: [{r: 4, box: image}]"),
        4,
        "axes.specificity[0]",
        ["one key"],
    ),
    "unknown kind of mapping": (
        change(4, "  specificity: [{mask: 4}]"),
        4,
        "axes.specificity[0].mask",
        ["one of r, box"],
    ),
    "odd box": (
        change(4, "  specificity: [{box: imag}]"),
        4,
        "axes.specificity[0].box",
        ["mean 'image'?"],
    ),
    "box per component twice": (
        change(4, "  specificity: [box, {box: component}]"),
        4,
        "axes.specificity[1]",
        ["equals axes.specificity[0]", "remove one"],
    ),
    "budget of one": (
        change(5, "  budget: [1]"),
        5,
        "axes.budget[0]",
        ["from 2 to 10000000, or all"],
    ),
    "odd budget": (
        change(5, "  budget:\n    - 600\n    - 601"),
        7,
        "axes.budget[1]",
        ["601 given", "an even number", "'600' or '602'", "balance: natural"],
    ),
    "budget twice": (
        change(5, "  budget:\n    - 600\n    - all\n    - 600"),
        8,
        "axes.budget[2]",
        ["equals axes.budget[0] (line 6)"],
    ),
    "unknown method": (change(6, "  method: [emr]"), 6, "axes.method[0]", ["mean 'erm'?"]),
    "method option": (
        change(6, "  method: [{name: erm, alpha: 1}]"),
        6,
        "axes.method[0].alpha",
        ["unknown key"],
    ),
    "method without a name": (
        change(6, "  method: [{}]"),
        6,
        "axes.method[0].name",
        ["missing", "names such as erm, "],
    ),
    "option of another rule": (
        change(6, "  method: [{name: jtt, factor: 20}]"),
        6,
        "axes.method[0].factor",
        ["factor is not read by upsample: groups"],
    ),
    "option of another clustering": (
        change(6, "  method: [{name: george, reduce: pca, neighbours: 5}]"),
        6,
        "axes.method[0].neighbours",
        ["neighbours is not read by reduce: pca", "or use umap"],
    ),
    "option of another group rule": (
        change(6, "  method: [{name: group-dro, greedy_share: 0.5}]"),
        6,
        "axes.method[0].greedy_share",
        ["greedy_share is not read by rule: exponentiated", "or use greedy"],
    ),
    "filter without labels": (
        change(6, "  method: [{name: ssl, filter_by_label: true}]"),
        6,
        "axes.method[0].filter_by_label",
        ["mean 'rest: label'?"],
    ),
    "what negatives are": (
        add("negatives: empty"),
        8,
        "negatives",
        ["'empty' given", "one of background, lesion (default background)"],
    ),
    "a third class beside labels of the rest": (
        add("rest: label\nnegatives: lesion"),
        9,
        "negatives",
        ["labels of the rest know two classes of pixels", "expected background, or no rest"],
    ),
    "a third class of a generator": (
        squares("seed: 0") + "negatives: lesion\n",
        8,
        "negatives",
        ["negative images of gaussian-squares have no masks", "expected background"],
    ),
    "labels of the rest": (add("rest: labels"), 8, "rest", ["unlabelled, label", "mean 'label'?"]),
    "options of the rest": (
        add("rest: {name: label, fraction: 0}"),
        8,
        "rest.fraction",
        ["above 0"],
    ),
    "method twice": (
        change(6, "  method: [erm, {name: erm}]"),
        6,
        "axes.method[1]",
        ["equals axes.method[0]"],
    ),
    "negative seed": (change(7, "  seed: [-1]"), 7, "axes.seed[0]", ["at least 0"]),
    "large seed": (change(7, f"  seed: [{2**31}]"), 7, "axes.seed[0]", ["below 2147483648"]),
    "seed twice": (change(7, "  seed: [0, 1, 0]"), 7, "axes.seed[2]", ["equals axes.seed[0]"]),
    "too many trials": (
        change(7, f"  seed: [{', '.join(map(str, range(25_001)))}]"),
        3,
        "axes",
        ["2 x 2 x 1 x 25001 trials", "at most 100000"],
    ),
    # papers
    "unknown table of a paper": (
        add("published: saab2022/tabel1"),
        8,
        "published",
        [
            "'saab2022/tabel1' given",
            "tables, of which saab2022/table1, ",
            "saab2022/figure3",
            "or one of these and /DATASET",
            "mean 'saab2022/table1'?",
        ],
    ),
    "unknown dataset of a paper": (
        add("published: saab2022/table1/cxr"),
        8,
        "published",
        ["'saab2022/table1/cxr' given"],
    ),
    "number for a paper": (add("published: 1"), 8, "published", ["1 given", "numbers of a paper"]),
    "mapping for a paper": (
        add("published: {table: saab2022/table1}"),
        8,
        "published",
        ["a mapping given", "a list of at least one table of a paper"],
    ),
    "table of a paper twice": (
        add("published:\n  - saab2022/table1\n  - saab2022/table4\n  - saab2022/table1"),
        11,
        "published[2]",
        ["equals published[0] (line 9)"],
    ),
    "table of another dataset": (
        add("published: [saab2022/table1, saab2022/figure3]"),
        8,
        "published",
        [
            "'saab2022/figure3' has numbers of gaussian-squares, not of 'siim-acr'",
            "'saab2022/figure3/gaussian-squares'",
        ],
    ),
    "balance": (add("balance: equl"), 8, "balance", ["equal, natural", "mean 'equal'?"]),
}
