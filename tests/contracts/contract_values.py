"""Test values of every registry's entries: what the contracts of methods, models and so on run.

A new entry of a registry needs a line here, or `missing_values` names it and the tests fail.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_type_hints

from shared_films import write_shared
from store_kinds import STORES

from cluster import stores
from cluster.stores.base import Store
from spurious.config import datasets, methods, models
from spurious.config.models import Aggregation
from spurious.generators.chest.chest_phantom import ChestPhantom
from spurious.generators.chest.siim_writer import write_siim_acr
from spurious.generators.releases.candid_writer import write_candid_ptx
from spurious.generators.releases.chexlocalize_writer import write_chexlocalize
from spurious.generators.releases.chexmask_writer import write_nih_chexmask
from spurious.generators.releases.covid_writer import write_covid_radiography
from spurious.generators.releases.films import FilmOptions
from spurious.generators.releases.msd_writer import VolumeOptions, write_msd
from spurious.generators.releases.padchest_writer import write_nih_padchest
from spurious.generators.releases.rsna_writer import write_rsna_pneumonia
from spurious.generators.releases.vindr_writer import write_vindr_cxr
from spurious.generators.skin.isic_writer import write_isic
from spurious.generators.skin.skin_phantom import SkinPhantom
from spurious.readers.folder.template import write_template
from spurious.scoring import registry


@dataclass(frozen=True)
class MethodValues:
    """How a method is tested.

    Attributes:
        options: Its options: few epochs of a first model, reductions that take milliseconds.
        learns_from: The split that its last step learns from, and whose loss must fall.
        further_clicks: By kind of supervision, clicks beside those of the images' annotation.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    learns_from: str = "train"
    further_clicks: Mapping[str, int] = field(default_factory=dict)


METHOD_VALUES: Mapping[str, MethodValues] = {
    "erm": MethodValues(),
    "reweight": MethodValues(),
    "resample": MethodValues(),
    "group-dro": MethodValues(),
    "cvar": MethodValues({"share": 0.5}),
    "jtt": MethodValues({"first_epochs": 3}),
    "george": MethodValues({"reduce": "pca", "max_clusters": 3}),
    "dfr": MethodValues({"refits": 2}, learns_from="val"),
    "lff": MethodValues(),
    "cnc": MethodValues({"positives": 4, "negatives": 4}),
    "ssl": MethodValues({"views": "flip"}),
    "spl": MethodValues({"pixels": 32}),
    "actdiff": MethodValues({"weight": 0.1}),
    "gradmask": MethodValues({"weight": 0.1}),
    "actdiff-gradmask": MethodValues({"weight": 0.1, "gradient_weight": 0.1}),
    "classify-masked": MethodValues(),
    "classify-shuffled": MethodValues(),
    "adversarial": MethodValues({"weight": 0.1, "hidden": 8}),
    "reconstruct": MethodValues({"weight": 0.1}),
    "reconstruct-masked": MethodValues({"weight": 0.1}),
    "rrr": MethodValues({"weight": 0.1}),
    "rbr": MethodValues({"weight": 0.1}),
    "xbl": MethodValues({"weight": 0.1}),
    "care": MethodValues({"share": 0.1}),
    "exbl": MethodValues(
        {"weight": 0.01, "average": "mean", "first_epochs": 2, "candidates": 5},
        further_clicks={"label": 5 + 2},
    ),
}


@dataclass(frozen=True)
class ReaderValues:
    """How a reader is tested.

    Attributes:
        write: Writes a small release into a folder.
        options: The reader's options.
        image: A pattern that finds the image files of the release.
        images: How many images the release has.
    """

    write: Callable[[Path], Any]
    options: Mapping[str, Any]
    image: str
    images: int


_CHEST = ChestPhantom(n_train=4, n_val=2, n_test=2, size=128, prevalence=0.5, seed=5)
_FILMS = FilmOptions(n_train=4, n_val=2, n_test=2, size=128, seed=5)
_SITES = replace(_FILMS, n_train=12, spurious_given_positive=0.5, spurious_given_negative=0.5)
_VOLUMES = VolumeOptions(n_volumes=8, size=16, depth=6)
_SKIN = SkinPhantom(n_train=4, n_val=2, n_test=2, prevalence=0.5, width=64, seed=3)

_DRAWN = {"image_size": 32, "split": "0.5/0.25/0.25"}

READER_VALUES: Mapping[str, ReaderValues] = {
    "candid-ptx": ReaderValues(
        lambda out: write_shared(write_candid_ptx, out, _FILMS), _DRAWN, "dataset/*", 8
    ),
    "chexlocalize": ReaderValues(
        lambda out: write_shared(write_chexlocalize, out, _FILMS), {"image_size": 32}, "*.jpg", 8
    ),
    "covid-radiography": ReaderValues(
        lambda out: write_shared(write_covid_radiography, out, _FILMS),
        {**_DRAWN, "source": "padchest"},
        "images/*.png",
        8,
    ),
    "folder": ReaderValues(write_template, {"image_size": 64, "patient_salt": "s"}, "image*.*", 32),
    "isic": ReaderValues(lambda out: write_isic(out, _SKIN), {"image_size": 32}, "*.jpg", 8),
    "msd": ReaderValues(
        lambda out: write_msd(out, _VOLUMES),
        {"image_size": 16, "split": "0.5/0.25/0.25", "slices": "all"},
        "imagesTr/*.nii.gz",
        47,
    ),
    "nih-chexmask": ReaderValues(
        lambda out: write_shared(write_nih_chexmask, out, _FILMS), _DRAWN, "images/*.png", 8
    ),
    "nih-padchest": ReaderValues(
        lambda out: write_shared(write_nih_padchest, out, _SITES),
        {"image_size": 32, "split": "0.5/0.25/0.25", "correlation": 0.5},
        "PadChest/*/*.png",
        12,
    ),
    "rsna-pneumonia": ReaderValues(
        lambda out: write_shared(write_rsna_pneumonia, out, _FILMS), _DRAWN, "*.dcm", 8
    ),
    "siim-acr": ReaderValues(
        lambda out: write_siim_acr(out, _CHEST), {"image_size": 32}, "*.dcm", 8
    ),
    "vindr-cxr": ReaderValues(
        lambda out: write_shared(write_vindr_cxr, out, _FILMS), _DRAWN, "*.dicom", 8
    ),
}


@dataclass(frozen=True)
class GeneratorValues:
    """How a generator is tested.

    Attributes:
        options: The generator's options.
        golden: SHA-256 over the bytes of all records, by the generator's `VERSION`.
    """

    options: Mapping[str, Any]
    golden: Mapping[int, str]


GENERATOR_VALUES: Mapping[str, GeneratorValues] = {
    "crosses": GeneratorValues(
        {"n_train": 6, "n_val": 4, "n_test": 4},
        {1: "96bf2f935393e2f0fdc8f8d0cceec4dc90128ef5ce529da8137b911ca96444e2"},
    ),
    "gaussian-squares": GeneratorValues(
        {"image_size": 16, "abnormality_size": 4, "spurious_size": 5, "prevalence": 0.5}
        | {"n_train": 6, "n_val": 4, "n_test": 4},
        {1: "e34eaa2b7ebbf6d1e0f237262f238198607db427f48bdf13f7f99955d7c22052"},
    ),
}

MODEL_VALUES: Mapping[str, Mapping[str, Any]] = {
    "resnet50": {},
    "small-cnn": {"channels": 4},
    "timm": {"architecture": "test_efficientnet"},
    "four-block": {"channels": 2},
    "resnet18-small-stem": {},
    "mobilenet-v2": {},
    "unet": {"encoder": "resnet18"},
    "fcn-resnet50": {},
    "small-unet": {"channels": 4},
}

AGGREGATION_VALUES: Mapping[str, Aggregation] = {
    "mean_prob": Aggregation(name="mean_prob"),
    "mean_logit": Aggregation(name="mean_logit"),
    "max_prob": Aggregation(name="max_prob"),
    "area_fraction": Aggregation(name="area_fraction", threshold=0.4),
    "top_fraction": Aggregation(name="top_fraction", fraction=0.2),
    "area_count": Aggregation(name="area_count", area=3),
}


METRIC_LABELS = (1, 1, 1, 0, 0, 0)
METRIC_SCORES = (0.9, 0.6, 0.2, 0.7, 0.3, 0.1)
METRIC_ATTRIBUTE = (1, 1, 0, 1, 0, 1)
METRIC_THRESHOLD = 0.6

METRIC_VALUES: Mapping[str, Mapping[str | None, float]] = {
    "auroc": {None: 6 / 9},
    "robust_auroc": {None: 1 / 2, "tube": 1 / 2},
    "auroc_gap": {"tube": 3 / 4 - 0 / 1},
    "accuracy": {None: 4 / 6},
    "macro_auroc": {},
    "worst_group_accuracy": {None: 0.0},
    "average_precision": {None: (1 + 2 / 3 + 3 / 5) / 3},
    "brier": {None: (0.01 + 0.16 + 0.64 + 0.49 + 0.09 + 0.01) / 6},
    "calibration_error": {None: (0.1 + 0.4 + 0.8 + 0.7 + 0.3 + 0.1) / 6},
    "threshold": {None: 0.6},
    "sensitivity": {None: 2 / 3},
    "specificity": {None: 2 / 3},
    "sensitivity_s0": {"tube": 0.0},
    "sensitivity_s1": {"tube": 1.0},
    "specificity_s0": {"tube": 1.0},
    "specificity_s1": {"tube": 1 / 2},
}
"""By metric of predictions: its values on the six images above, by hand, per attribute or None."""

CLASS_NUMBERS = (0, 0, 1, 1, 2, 2)
CLASS_PROBABILITIES = (
    *((0.7, 0.2, 0.1), (0.5, 0.3, 0.2), (0.2, 0.5, 0.3)),
    *((0.55, 0.35, 0.1), (0.1, 0.3, 0.6), (0.1, 0.2, 0.7)),
)
CLASS_VALUES: Mapping[str, float] = {
    "accuracy": 5 / 6,
    "macro_auroc": (7 / 8 + 8 / 8 + 8 / 8) / 3,
    "worst_group_accuracy": 1 / 2,
    "auroc": 7 / 8,
}
"""By metric: its value on six images of three classes that all have the attribute, by hand; class 0
is label 1."""


def registries() -> dict[str, tuple[set[str], set[str]]]:
    """What each registry holds now, and what has test values."""
    return {
        "METHODS": (set(methods.METHODS), set(METHOD_VALUES)),
        "METRICS": ({n for n, m in registry.METRICS.items() if m.compute}, set(METRIC_VALUES)),
        "READERS": (set(datasets.READERS), set(READER_VALUES)),
        "GENERATORS": (set(datasets.GENERATORS), set(GENERATOR_VALUES)),
        "MODELS": ({*models.CLASSIFIERS, *models.SEGMENTERS}, set(MODEL_VALUES)),
        "read-outs": (set(get_args(get_type_hints(Aggregation)["name"])), set(AGGREGATION_VALUES)),
    }


def missing_values() -> list[str]:
    """A sentence for each entry without test values, and for test values of no entry."""
    issues = []
    for kind, (entries, tested) in registries().items():
        issues += [
            f"'{name}' of {kind} has no test values: add them to contract_values.py"
            for name in sorted(entries - tested)
        ]
        issues += [
            f"test values of '{name}' are left, which is not in {kind}: remove them"
            for name in sorted(tested - entries)
        ]
    untested = store_classes() - {cls.__name__ for cls in STORES.values()}
    return issues + [
        f"'{name}' of stores is in no test: add it to store_kinds.py" for name in sorted(untested)
    ]


def store_classes() -> set[str]:
    """Names of the classes in `cluster.stores` that can be opened as a store."""
    names: set[str] = set()
    for module in pkgutil.iter_modules(stores.__path__):
        members = vars(import_module(f"{stores.__name__}.{module.name}"))
        names |= {
            name
            for name, value in members.items()
            if inspect.isclass(value) and name.endswith("Store") and value is not Store
        }
    return names
