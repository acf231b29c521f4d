"""Spoilt sections `search` of a sweep YAML."""

from __future__ import annotations

from bad_specs import GOOD, add


def search(section: str, methods: str = "erm", specificities: str = "label, mask") -> str:
    """The good spec with a search, on line 8, of one training option where none is named."""
    space = "" if "space" in section else ", space: {learning_rate: {log: [0.001, 0.1]}}"
    text = GOOD.replace("[erm]", f"[{methods}]").replace("[label, mask]", f"[{specificities}]")
    return f"{text}search: {{{section}{space}}}\n"


def space(text: str, methods: str = "erm", more: str = "trials: 8") -> str:
    """The good spec with a search of a space."""
    return search(f"{more}, space: {{{text}}}", methods)


SEARCH_CASES: dict[str, tuple[str, int, str, list[str]]] = {
    "search without a space": (add("search: {trials: 8}"), 8, "search.space", ["missing"]),
    "search without trials": (
        search("sampler: tpe"),
        8,
        "search.trials",
        ["missing", "but for sampler: grid"],
    ),
    "search key": (search("trials: 8, gamma: 3"), 8, "search.gamma", ["unknown key", "space"]),
    "search sampler": (
        search("trials: 8, sampler: cmaes"),
        8,
        "search.sampler",
        ["'cmaes' given", "tpe, random, grid, gp", "(default tpe)"],
    ),
    "search trials": (search("trials: 0"), 8, "search.trials", ["from 1 to 10000"]),
    "search batch": (search("trials: 8, batch: 0"), 8, "search.batch", ["from 1 to 1000"]),
    "search stop": (
        search("trials: 8, stop: ahsa"),
        8,
        "search.stop",
        ["none, asha, median", "did you mean 'asha'?"],
    ),
    "search metric on test": (
        search("trials: 8, metric: test.auroc"),
        8,
        "search.metric",
        ["'test.auroc' given", "did you mean 'val.auroc'?"],
    ),
    "two search metrics of validation": (
        search("trials: 8, metric: [val.auroc, val.loss]"),
        8,
        "search.metric",
        ["or a list of one and dollars"],
    ),
    "dollars alone": (
        search("trials: 8, metric: [dollars]"),
        8,
        "search.metric",
        ["or a list of one and dollars"],
    ),
    "search metric that labels cannot have": (
        search("trials: 8, metric: val.dice"),
        8,
        "search.metric",
        ["label has no dice", "did you mean 'val.auroc'?"],
    ),
    "search metric that masks cannot have": (
        search("trials: 8, metric: val.accuracy"),
        8,
        "search.metric",
        ["mask has no accuracy"],
    ),
    "search seed": (search("trials: 8, seeds: [-1]"), 8, "search.seeds[0]", ["at least 0"]),
    "early stopping on two metrics": (
        search("trials: 8, metric: [val.auroc, dollars], stop: asha"),
        8,
        "search.stop",
        ["none where dollars are a metric"],
    ),
    "early stopping of other lengths": (
        space("epochs: [3, 9]", more="trials: 8, stop: median"),
        8,
        "search.stop",
        ["none where epochs is searched"],
    ),
    "early stopping of other evaluations": (
        space("evaluate_every: [1, 4]", more="trials: 8, stop: asha"),
        8,
        "search.stop",
        ["none where evaluate_every is searched"],
    ),
    "early stopping of one epoch": (
        search("trials: 8, stop: median").replace("search:", "train: {epochs: 1}\nsearch:"),
        9,
        "search.stop",
        ["before the last epoch (label: epochs 1, evaluate_every 1)", "or more train.epochs"],
    ),
    "early stopping without an evaluation": (
        search("trials: 8, stop: asha").replace(
            "search:", "train: {per_specificity: {mask: {evaluate_every: 100}}}\nsearch:"
        ),
        9,
        "search.stop",
        ["before the last epoch (mask: epochs 100, evaluate_every 100)"],
    ),
    "searched momentum of adam": (
        space("momentum: {range: [0.5, 0.9]}"),
        8,
        "search.space.momentum",
        ["no trial has optimizer: sgd"],
    ),
    "empty space": (space(""), 8, "search.space", ["an empty mapping", "a mapping of options"]),
    "unknown searched option": (
        space("learning_rat: [1, 2]"),
        8,
        "search.space.learning_rat",
        ["unknown key", "did you mean 'learning_rate'?"],
    ),
    "searched option of a method": (
        space("weight: [1, 2]"),
        8,
        "search.space.weight",
        ["an option of ssl, spl", "below the method's name", "ssl: {weight: ...}"],
    ),
    "searched rule": (space("keep: [last, auto]"), 8, "search.space.keep", ["unknown key"]),
    "searched method that is not of the axes": (
        space("jtt: {factor: [5, 10]}"),
        8,
        "search.space.jtt",
        ["not a method of axes, which are erm"],
    ),
    "unknown searched option of a method": (
        space("spl: {wieght: [1, 2]}", "erm, spl"),
        8,
        "search.space.spl.wieght",
        ["weight, pixels, norm", "did you mean 'weight'?"],
    ),
    "searched option that nobody reads": (
        space("jtt: {factor: [5, 10]}", "erm, jtt"),
        8,
        "search.space.jtt",
        ["with jtt.factor 5: factor is not read by upsample: groups"],
    ),
    "searched model that no cell trains": (
        search("trials: 8, space: {segmenter: {channels: [8, 16]}}", specificities="label").replace(
            "search:", "model: {segmenter: small-unet}\nsearch:"
        ),
        9,
        "search.space.segmenter",
        ["no cell of axes trains a segmenter"],
    ),
    "searched weights": (
        space(f"classifier: {{weights: [{'a' * 64}, {'b' * 64}]}}"),
        8,
        "search.space.classifier",
        ["classifier has no option that can be searched"],
    ),
    "searched interval of a choice": (
        space("optimizer: {range: [0, 1]}"),
        8,
        "search.space.optimizer",
        ["a mapping given", "expected a list of values"],
    ),
    "single searched value": (
        space("optimizer: [adam]"),
        8,
        "search.space.optimizer",
        ["at least two values", "set a single one where it belongs"],
    ),
    "searched value out of range": (
        space("learning_rate: [0.1, 1000]"),
        8,
        "search.space.learning_rate[1]",
        ["above 0 and at most 100"],
    ),
    "search end out of range": (
        space("batch_size: {range: [0, 8]}"),
        8,
        "search.space.batch_size.range[0]",
        ["an integer from 1 to 65536"],
    ),
    "search end that is no integer": (
        space("batch_size: {range: [1.5, 8]}"),
        8,
        "search.space.batch_size.range[0]",
        ["an integer from 1"],
    ),
    "logarithm of zero": (
        space("weight_decay: {log: [0, 0.1]}"),
        8,
        "search.space.weight_decay.log",
        ["a lower end above 0"],
    ),
    "search ends the wrong way round": (
        space("weight_decay: {log: [0.1, 0.01]}"),
        8,
        "search.space.weight_decay.log",
        ["0.1 to 0.01", "the lower one first"],
    ),
    "three search ends": (
        space("weight_decay: {range: [0, 0.1, 1]}"),
        8,
        "search.space.weight_decay.range",
        ["two numbers"],
    ),
    "two scales of an interval": (
        space("weight_decay: {range: [0, 1], log: [0.1, 1]}"),
        8,
        "search.space.weight_decay",
        ["a mapping of one key"],
    ),
    "interval of integers by name": (
        space("batch_size: {int: [2, 8]}"),
        8,
        "search.space.batch_size",
        ["integers follow from the option: write {range: ...}"],
    ),
    "grid of an interval": (
        search("sampler: grid, space: {learning_rate: {log: [0.1, 1]}}"),
        8,
        "search.space.learning_rate",
        ["a list of values with sampler: grid", "or use tpe, random or gp"],
    ),
    "more trials than the grid has": (
        search("sampler: grid, trials: 5, space: {optimizer: [adam, sgd], batch_size: [4, 8]}"),
        8,
        "search.trials",
        ["5 given", "at most 4, the combinations of the grid"],
    ),
    "search beside tune": (
        space("spl: {weight: [0.1, 1]}", "erm, spl") + "select: {tune: weight}\n",
        9,
        "select.tune",
        ["one of select.tune and search"],
    ),
    "methods that a search makes equal": (
        space("spl: {weight: [0.1, 1]}", "spl, {name: spl, weight: 3}"),
        6,
        "axes.method",
        ["spl and spl(weight=3.0) differ in options alone that search chooses"],
    ),
    "too many searched trials": (
        search("trials: 10000, seeds: [0, 1, 2]"),
        8,
        "search",
        ["120000 trials in all cells; expected at most 100000"],
    ),
}
