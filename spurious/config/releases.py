"""Options of the readers of released datasets; `spurious.config.datasets.READERS` lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from spurious.config.fields import FEWEST_CLASSES, Classes, Probability, Seed, problems
from spurious.config.release_fields import (
    Shares,
    SharesOrNone,
    Side,
    VolumeWindow,
    Window,
    find_release_problems,
    find_share_problems,
    parse_names,
)

COVID_CLASSES = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
"""Of the COVID-19 Radiography Database, as its folders are called."""


@dataclass(frozen=True, kw_only=True)
class CandidPtxOptions:
    """How CANDID-PTX is read and down-sampled, with masks of pneumothoraces and of tubes.

    Attributes:
        image_size: Side of the staged images in pixels; masks are max-pooled to it.
        fractures: Whether acute rib fractures are a spurious attribute, too.
        split: Shares of train, val and test, which are drawn by patient.
        seed: Another seed draws other splits.
    """

    image_size: Side = 512
    fractures: bool = False
    split: Shares = "0.7/0.1/0.2"
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class ChexlocalizeOptions:
    """How CheXpert is read with the masks of CheXlocalize, of findings and of devices.

    Attributes:
        image_size: Side of the staged images in pixels; masks are max-pooled to it.
        films: Folder of CheXpert, in the folder or anywhere.
        masks: Folder of CheXlocalize, likewise.
        positive: The finding of label 1, as CheXpert calls it.
        attribute: The finding that is the spurious attribute.
        uncertain: What films are whose label is -1.
        views: Frontal films, or all.
        split: Empty: the release's folders. Else shares of train, val and test, which are drawn by
            patient, as where only val and test are there.
        seed: Another seed draws other splits.
    """

    image_size: Side = 320
    films: str = "CheXpert"
    masks: str = "CheXlocalize"
    positive: str = "Pneumothorax"
    attribute: str = "Support Devices"
    uncertain: Literal["leave-out", "positive", "negative"] = "leave-out"
    views: Literal["frontal", "all"] = "frontal"
    split: SharesOrNone = ""
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class CovidRadiographyOptions:
    """How the COVID-19 Radiography Database is read and down-sampled, with masks of the lungs.

    Attributes:
        image_size: Side of the staged images in pixels; films have 299.
        positive: Classes of label 1, with commas between them: COVID, Lung_Opacity, Normal, Viral
            Pneumonia.
        negative: Classes of label 0, likewise; empty: all others.
        classes: `binary` labels alone, or `all` classes apart, which a classifier then answers.
        source: A part of the URLs in the workbooks; films from there have the attribute `source`.
            Empty: the set has no attribute.
        split: Shares of train, val and test, which are drawn.
        seed: Another seed draws other splits.
    """

    image_size: Annotated[int, Ge(8), Le(299)] = 256
    positive: str = "COVID"
    negative: str = ""
    classes: Classes = "binary"
    source: str = ""
    split: Shares = "0.7/0.1/0.2"
    seed: Seed = 0


@problems.register(CovidRadiographyOptions)
def _(options: CovidRadiographyOptions) -> list[str]:
    messages = find_release_problems(options)
    for option in ("positive", "negative"):
        for name in parse_names(getattr(options, option)):
            if name not in COVID_CLASSES:
                messages.append(
                    f"{option} has '{name}'; expected some of {', '.join(COVID_CLASSES)}"
                )
    if both := {*parse_names(options.positive)} & {*parse_names(options.negative)}:
        messages.append(f"negative has {min(both)}, which is positive; expected other classes")
    if {*COVID_CLASSES} <= {*parse_names(options.positive)}:
        messages.append("positive has all classes, so none is left for label 0")
    if options.classes == "all" and options.negative:
        named = (*parse_names(options.positive), *parse_names(options.negative))
        if len(named) < FEWEST_CLASSES:
            messages.append(
                f"classes: all needs {FEWEST_CLASSES} classes, and positive and negative name "
                f"{len(named)}; name more, or leave classes out"
            )
    return messages


@dataclass(frozen=True, kw_only=True)
class MsdOptions:
    """How a task of the Medical Segmentation Decathlon is read: volumes, cut to slices.

    Attributes:
        image_size: Side of the staged slices in pixels; masks are max-pooled to it.
        positive: Classes of `dataset.json` that count, with commas between them; empty: all.
        modality: Which of a volume's modalities, from 0, where it has several.
        axis: How volumes are cut.
        slices: As many negative slices as positive ones, or all.
        min_voxels: Fewest voxels of a positive slice; slices with fewer, but some, are left out.
        window: What of a volume becomes 0 and 255: data, percentile (0.5 and 99.5), or LOW/HIGH.
        attributes: Path of a CSV with a column `volume` and one for each spurious attribute.
        split: Shares of train, val and test, which are drawn by volume.
        seed: Another seed draws other splits and slices.
    """

    image_size: Side = 100
    positive: str = ""
    modality: Annotated[int, Ge(0), Le(100)] = 0
    axis: Literal["axial", "coronal", "sagittal"] = "axial"
    slices: Literal["balanced", "all"] = "balanced"
    min_voxels: Annotated[int, Ge(1), Le(1_000_000)] = 2
    window: VolumeWindow = "percentile"
    attributes: str | None = None
    split: Shares = "0.3/0.3/0.4"
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class NihChexmaskOptions:
    """How NIH ChestX-ray14 is read with the lung masks of CheXmask.

    Attributes:
        image_size: Side of the staged images in pixels; masks are max-pooled to it.
        positive: The finding of label 1.
        region: What the mask is of: both lungs, or the heart.
        min_dice: Masks of which CheXmask estimates less are not used; its authors advise 0.7.
        boxes: Whether films have their boxes of `BBox_List_2017.csv`, few as they are.
        masks: Path of the table of CheXmask, where it is outside the folder.
        split: Shares of train, val and test; with the release's lists only val is drawn.
        seed: Another seed draws other splits.
    """

    image_size: Side = 512
    positive: str = "Pneumothorax"
    region: Literal["lungs", "heart"] = "lungs"
    min_dice: Probability = 0.7
    boxes: bool = False
    masks: str | None = None
    split: Shares = "0.7/0.1/0.2"
    seed: Seed = 0


PADCHEST_LABELS: Mapping[str, str] = {
    "Atelectasis": "atelectasis",
    "Cardiomegaly": "cardiomegaly",
    "Consolidation": "consolidation",
    "Effusion": "pleural effusion",
    "Emphysema": "emphysema",
    "Fibrosis": "pulmonary fibrosis",
    "Hernia": "hiatal hernia",
    "Infiltration": "infiltrates",
    "Pleural_Thickening": "pleural thickening",
    "Pneumonia": "pneumonia",
    "Pneumothorax": "pneumothorax",
}
"""Findings of NIH ChestX-ray14 to the label of PadChest that means the same."""


@dataclass(frozen=True, kw_only=True)
class NihPadchestOptions:
    """How NIH ChestX-ray14 and PadChest are read as one set, with the site as spurious attribute.

    Attributes:
        image_size: Side of the staged images in pixels.
        nih: Folder of ChestX-ray14, in the folder or anywhere.
        padchest: Folder of PadChest, likewise.
        positive: The finding, as ChestX-ray14 calls it.
        views: Only PA films, or AP films too.
        correlation: Share of the positives of train that are from PadChest, and of its negatives
            that are not; in val and test it is the other way round.
        films: Films in all, at most; null: as many as the rarest of the four groups allows.
        mask: A circle, the same on every film, or none.
        window: How the 16 bits of PadChest become 8: full, data, percentile or LOW/HIGH.
        split: Shares of train, val and test, which are drawn.
        seed: Another seed draws other films.
    """

    image_size: Side = 256
    nih: str = "NIH"
    padchest: str = "PadChest"
    positive: Literal[
        "Atelectasis",
        "Cardiomegaly",
        "Consolidation",
        "Effusion",
        "Emphysema",
        "Fibrosis",
        "Hernia",
        "Infiltration",
        "Pleural_Thickening",
        "Pneumonia",
        "Pneumothorax",
    ] = "Cardiomegaly"
    views: Literal["PA", "frontal"] = "PA"
    correlation: Probability = 0.9
    films: Annotated[int, Ge(20), Le(1_000_000)] | None = None
    mask: Literal["circle", "none"] = "circle"
    window: Window = "full"
    split: Shares = "0.5/0.25/0.25"
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class RsnaPneumoniaOptions:
    """How the RSNA pneumonia challenge is read and down-sampled: boxes, no masks.

    Attributes:
        image_size: Side of the staged images in pixels.
        split: Shares of train, val and test, which the release does not name.
        seed: Another seed draws other splits.
    """

    image_size: Side = 512
    split: Shares = "0.7/0.1/0.2"
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class VindrCxrOptions:
    """How VinDr-CXR is read and down-sampled: boxes of several readers, fused; no masks.

    Attributes:
        image_size: Side of the staged images in pixels.
        positive: Findings of label 1, with commas between them.
        attributes: Findings that are the spurious attributes, likewise.
        min_readers: Fewest radiologists who drew a box that is kept.
        overlap: Intersection over union from which two boxes are of one finding.
        disputed: What films are on which fewer drew a positive finding.
        split: Shares of train, val and test, which are drawn.
        seed: Another seed draws other splits.
    """

    image_size: Side = 512
    positive: str = "Pneumothorax"
    attributes: str = "Pleural effusion"
    min_readers: Annotated[int, Ge(1), Le(17)] = 2
    overlap: Annotated[float, Gt(0.0), Le(1.0)] = 0.4
    disputed: Literal["negative", "leave-out"] = "negative"
    split: Shares = "0.7/0.1/0.2"
    seed: Seed = 0


for _cls in (
    CandidPtxOptions,
    ChexlocalizeOptions,
    NihChexmaskOptions,
    NihPadchestOptions,
    RsnaPneumoniaOptions,
    VindrCxrOptions,
):
    problems.register(_cls)(find_release_problems)


@problems.register(MsdOptions)
def _(options: MsdOptions) -> list[str]:
    return find_share_problems(options.split)
