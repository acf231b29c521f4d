"""Spoilt sweep YAMLs: models, training, reporting and running, and the text itself."""

from __future__ import annotations

from bad_specs import add, change

SECTION_CASES: dict[str, tuple[str, int, str, list[str]]] = {
    # models
    "unknown classifier": (
        add("model:\n  classifier: resnet5"),
        9,
        "model.classifier",
        ["did you mean 'resnet50'?"],
    ),
    "no classifier": (
        add("model: {classifier: null}"),
        8,
        "model.classifier",
        ["nothing given", "a classifier, one of"],
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
        ["a list given", "keys such as erm, "],
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
    "report's rule on test scores that candidates lack": (
        add("train: {score_test: candidates}\nselect: {epoch: best test.auroc}"),
        9,
        "select.epoch",
        ["'best test.auroc' needs test scores of every epoch", "train.score_test: every"],
    ),
    "the same where one specificity lacks them": (
        add(
            "train: {per_specificity: {label: {score_test: candidates}}}\n"
            "select: {epoch: best test.loss}"
        ),
        9,
        "select.epoch",
        ["best val.METRIC, last or kept", "train.score_test: every"],
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
    "operating point out of range": (
        add("select: {operating_point: {sensitivity: 1.5}}"),
        8,
        "select.operating_point.sensitivity",
        ["from 0.01 to 1"],
    ),
    "operating point without its value": (
        add("select: {operating_point: {}}"),
        8,
        "select.operating_point.sensitivity",
        ["missing"],
    ),
    "margin out of range": (
        add("select: {margin: 0.6}"),
        8,
        "select.margin",
        ["from 0 to 0.5"],
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
    "negative price": (add("cost: {clicks: {mask: -1}}"), 8, "cost.clicks.mask", ["from 0 to"]),
    "price of 300 digits": (
        add("cost: {clicks: {spurious_label: 1.0e+300}}"),
        8,
        "cost.clicks.spurious_label",
        ["a number from 0 to 10000"],
    ),
    "clicks of days": (
        add("cost: {seconds_per_click: 86400}"),
        8,
        "cost.seconds_per_click",
        ["a number from 0 to 3600"],
    ),
    "price of clicks outside clicks": (add("cost: {mask: 45}"), 8, "cost.mask", ["clicks"]),
    "more threads than cpus": (
        add("resources:\n  cpus: 2\n  threads: 3"),
        10,
        "resources.threads",
        ["cpus, which is 2"],
    ),
    "a GPU in words": (add("resources: {gpus: one}"), 8, "resources.gpus", ["to 64, or auto"]),
    "measured GPUs and a wrong key": (
        add("resources: {gpus: auto, cpus: 0}"),
        8,
        "resources.cpus",
        ["an integer from 1 to 1024"],
    ),
    "one and a half GPUs": (add("resources: {gpus: 1.5}"), 8, "resources.gpus", ["share of one"]),
    "empty section": (add("checkpoint:"), 8, "checkpoint", ["nothing given", "every_epochs, keep"]),
    "store of another kind": (add("store: gs://b/x"), 8, "store", ["s3://BUCKET/PREFIX"]),
    "bucket with credentials": (add("store: s3://k:s@bucket"), 8, "store", ["s3://BUCKET/PREFIX"]),
    "prefix that climbs": (add("store: s3://bucket/../x"), 8, "store", ["s3://BUCKET/PREFIX"]),
    "empty search": (add("search:"), 8, "search", ["nothing given", "space, trials, sampler"]),
    "prune": (add("prune: asha"), 8, "prune", ["not available yet", "remove"]),
    # money
    "unknown limit": (
        add("limits: {hours: 5}"),
        8,
        "limits.hours",
        ["trial_minutes, gpu_hours, cpu_hours, dollars, trials"],
    ),
    "limit of nothing": (
        add("limits: {trials: 0}"),
        8,
        "limits.trials",
        ["an integer from 1 to 1000000", "or null"],
    ),
    "minutes of nothing": (
        add("limits: {trial_minutes: 0}"),
        8,
        "limits.trial_minutes",
        ["a number above 0 and at most 1e+06"],
    ),
    "limit in GPU-hours without a GPU": (
        add("limits:\n  gpu_hours: 5"),
        9,
        "limits.gpu_hours",
        ["resources.gpus is 0", "cpu_hours"],
    ),
    "limit in dollars of a node for nothing": (
        add(
            "cost: {compute: {node_types: {a: {cpus: 4, dollars_per_hour: 0}}}}\n"
            "limits: {dollars: 5}"
        ),
        9,
        "limits.dollars",
        ["'a' costs 0 dollars an hour", "limits nothing"],
    ),
    "limit in dollars without a price": (
        add("limits: {dollars: 5}"),
        8,
        "limits.dollars",
        ["expected cost.compute with node_types", "dollars_per_hour: 1.006"],
    ),
    "no node types": (
        add("cost: {compute: {node: large}}"),
        8,
        "cost.compute.node_types",
        ["missing", "required in cost.compute"],
    ),
    "empty node types": (
        add("cost: {compute: {node_types: {}}}"),
        8,
        "cost.compute.node_types",
        ["a mapping of names of node types", "g5.xlarge"],
    ),
    "node type without a price": (
        add("cost: {compute: {node_types: {large: {cpus: 4}}}}"),
        8,
        "cost.compute.node_types.large.dollars_per_hour",
        ["missing"],
    ),
    "node type below zero": (
        add("cost: {compute: {node_types: {large: {cpus: 4, dollars_per_hour: -1}}}}"),
        8,
        "cost.compute.node_types.large.dollars_per_hour",
        ["a number from 0 to 10000"],
    ),
    "name of a node type": (
        add('cost: {compute: {node_types: {"a b": {cpus: 4, dollars_per_hour: 1}}}}'),
        8,
        "cost.compute.node_types.a b",
        ["'a b' is not a name of a node type", "hyphens"],
    ),
    "nodes of none": (
        add("cost: {compute: {count: 0, node_types: {a: {cpus: 4, dollars_per_hour: 1}}}}"),
        8,
        "cost.compute.count",
        ["an integer from 1 to 100000"],
    ),
    "unknown node type": (
        add("cost: {compute: {node: lage, node_types: {large: {cpus: 4, dollars_per_hour: 1}}}}"),
        8,
        "cost.compute.node",
        ["one of cost.compute.node_types (large)", "did you mean 'large'?"],
    ),
    "none of two node types": (
        add(
            "cost:\n  compute:\n    node_types:\n      a: {cpus: 4, dollars_per_hour: 1}\n"
            "      b: {cpus: 8, dollars_per_hour: 2}"
        ),
        9,
        "cost.compute",
        ["a key node that names one of several node types (a, b)"],
    ),
    "node type that is too small": (
        add(
            "resources: {cpus: 2, gpus: 1}\n"
            "cost: {compute: {node_types: {small: {cpus: 4, dollars_per_hour: 1}}}}"
        ),
        9,
        "cost.compute",
        ["a trial asks for 2 CPUs and 1 GPU, and 'small' has 4 and 0", "lower resources"],
    ),
    # YAML
    "key twice": (add("name: other"), 8, "name", ["given twice", "first on line 1"]),
    "nested key twice": (
        add("train:\n  epochs: 1\n  epochs: 2"),
        10,
        "train.epochs",
        ["first on line 9"],
    ),
    "number as key": (add("1: x"), 8, "", ["the key 1 is not text"]),
    "null as key": (add("train: {~: x}"), 8, "train", ["the key ~ is not text"]),
    "list as key": (add("? [a]\n: x"), 8, "", ["a collection is not text"]),
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
