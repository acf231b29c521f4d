"""The sweeps that come with the project, planned on datasets as they would be staged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeps.plan.facts import generator_facts
from sweeps.plan.plan import DatasetFacts, Plan, make_plan
from sweeps.spec.model import GeneratorDataset, Spec, load_spec

FOLDER = Path(__file__).resolve().parents[2] / "sweeps" / "specs"
FILES = sorted(path.name for path in FOLDER.glob("*.yaml"))


def split(n: int, positives: int) -> dict[str, int]:
    """Counts of a split in which three of ten abnormal images have two abnormalities."""
    return {"n": n, "positives": positives, "abnormalities": positives + 3 * positives // 10}


SIIM_ACR = DatasetFacts(
    name="siim-acr",
    digest="5a" * 32,
    image_shape=(512, 512, 1),
    # 12,047 images, 2,669 of them positive, in splits of one prevalence
    counts={"train": split(10_096, 2_236), "val": split(951, 211), "test": split(1_000, 222)},
    attributes=("tube",),
)
PHANTOM = DatasetFacts(
    name="phantom",
    digest="9c" * 32,
    image_shape=(64, 64, 1),
    counts={"train": split(200, 100), "val": split(60, 30), "test": split(120, 60)},
    attributes=("tube",),
)
ISIC = DatasetFacts(
    name="isic",
    digest="7e" * 32,
    image_shape=(512, 512, 3),
    # trap split 1, without the images of val in train; one lesion on every image
    counts={
        name: {
            "n": n,
            "positives": malignant,
            "abnormalities": n,
            "negative_abnormalities": n - malignant,
        }
        for name, n, malignant in (("train", 1563, 298), ("val", 259, 67), ("test", 772, 154))
    },
    attributes=("dark_corner", "gel_border", "gel_bubble", "hair", "ink", "patches", "ruler"),
)
HALF_REAL = DatasetFacts(
    name="half-real",
    digest="4f" * 32,
    image_shape=(128, 128, 1),
    counts={"train": split(4_000, 878), "val": split(951, 205), "test": split(1_000, 248)},
    attributes=("tube",),
)
ORGAN = DatasetFacts(
    name="organ",
    digest="3b" * 32,
    image_shape=(100, 100, 1),
    counts={
        name: {"n": n, "positives": n // 2, "abnormalities": n // 2}
        for name, n in (("train", 400), ("val", 400), ("test", 540))
    },
)
TWO_SITES = DatasetFacts(
    name="two-site-cxr",
    digest="6d" * 32,
    image_shape=(128, 128, 1),
    # one circle on every film of either label
    counts={
        name: {
            "n": n,
            "positives": n // 2,
            "abnormalities": n,
            "negative_abnormalities": n // 2,
        }
        for name, n in (("train", 998), ("val", 498), ("test", 504))
    },
    attributes=("site",),
    mask_of="circle",
)
COVID = DatasetFacts(
    name="covid4",
    digest="2e" * 32,
    image_shape=(224, 224, 1),
    # a mask of the lungs on each of 21,165 films, 3,616 of them COVID
    counts={
        name: {
            "n": n,
            "positives": positives,
            "abnormalities": n,
            "negative_abnormalities": n - positives,
        }
        for name, n, positives in (
            *(("train", 14_815, 2_531), ("val", 2_116, 362)),
            ("test", 4_234, 723),
        )
    },
    mask_of="lungs",
    classes={
        name: {"COVID": covid, "Lung_Opacity": opacity, "Normal": normal, "Viral Pneumonia": viral}
        for name, covid, opacity, normal, viral in (
            ("train", 2_531, 4_208, 7_134, 942),
            ("val", 362, 601, 1_019, 134),
            ("test", 723, 1_203, 2_039, 269),
        )
    },
    positive_classes=("COVID",),
)
STAGED = {
    "siim-acr": SIIM_ACR,
    "covid4": COVID,
    "half-real": HALF_REAL,
    "isic": ISIC,
    "phantom": PHANTOM,
    # three tasks of the Decathlon: a mask on each slice with the organ, as many without
    "msd-liver": replace(ORGAN, name="msd-liver"),
    "msd-cardiac": replace(ORGAN, name="msd-cardiac"),
    "two-site-cxr": TWO_SITES,
    "moles": replace(PHANTOM, name="moles", image_shape=(64, 64, 3), attributes=ISIC.attributes),
    "moles-96": replace(
        PHANTOM, name="moles-96", image_shape=(96, 96, 3), attributes=ISIC.attributes
    ),
    "phantom-candid": replace(
        PHANTOM, name="phantom-candid", counts={**PHANTOM.counts, "train": split(414, 202)}
    ),
    "phantom-methods": replace(
        PHANTOM, name="phantom-methods", counts={**PHANTOM.counts, "train": split(400, 200)}
    ),
}
"""What staging each of them gives; the README and the files say how."""


def shipped(name: str, **overrides: Any) -> tuple[Spec, Plan]:
    """A shipped sweep and its plan on a dataset as it would be staged."""
    spec = load_spec(
        FOLDER / f"{name}.yaml", {key.replace("__", "."): v for key, v in overrides.items()}
    )
    dataset = spec.dataset
    facts = (
        generator_facts(dataset) if isinstance(dataset, GeneratorDataset) else STAGED[dataset.name]
    )
    return spec, make_plan(spec, facts)


def kinds(plan: Plan) -> dict[str, set[str]]:
    """Method to the specificities it is trained at."""
    found: dict[str, set[str]] = {}
    for cell in plan.cells:
        found.setdefault(cell.method.name, set()).add(str(cell.specificity))
    return found
