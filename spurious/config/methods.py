"""Options of the training methods, importable without torch.

`METHODS` maps the name that a sweep YAML uses to its options. Each class says which supervision
the method takes and whether it needs spurious labels, which are priced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

from spurious.config.exemplars import Exbl
from spurious.config.fields import Probability, SupervisionKind, problems
from spurious.config.method import (
    EVERY,
    SEGMENTED,
    Epochs,
    FirstKeep,
    FirstModelOptions,
    GroupDraw,
    KnownGroups,
    LabelledSplit,
    Method,
    Rate,
    Share,
    unread,
)
from spurious.config.options import Budget, Train, WeakLabels
from spurious.config.steering import (
    ActDiff,
    ActDiffGradMask,
    Adversarial,
    Care,
    ClassifyMasked,
    ClassifyShuffled,
    GradMask,
    Rbr,
    Reconstruct,
    ReconstructMasked,
    Rrr,
    Xbl,
)


@dataclass(frozen=True, kw_only=True)
class Erm(Method):
    """Empirical risk minimisation: cross-entropy on whatever the specificity supervises."""

    takes: ClassVar[tuple[SupervisionKind, ...]] = EVERY


@dataclass(frozen=True, kw_only=True)
class Reweight(KnownGroups):
    """ERM with each image's loss weighted by one over its group's size."""


@dataclass(frozen=True, kw_only=True)
class Resample(KnownGroups):
    """ERM on images drawn with replacement, every group equally often."""

    def repeats_annotated(self, budget: Budget, train: Train) -> bool:
        """Always."""
        return True


@dataclass(frozen=True, kw_only=True)
class GroupWeights(Method):
    """How group DRO moves its weights q over groups (Sagawa et al. 2020).

    Attributes:
        rule: `exponentiated` gradient ascent on q, or `greedy`: all weight on the worst groups, as
            conditional value at risk over groups.
        step_size: eta of q <- q exp(eta (L + C / sqrt n)).
        adjustment: C, the generalisation adjustment; 0 for none.
        normalise_loss: Divide the adjusted losses by their sum before q moves.
        greedy_share: alpha of `greedy`: the share of the training images that gets all weight.
        greedy_floor: Share of plain group fractions mixed into the weights of `greedy`.
        greedy_memory: Rate of the moving average of group losses that `greedy` ranks by.
        draw: `groups` draws every group equally often, with replacement; `natural` every image
            once.
    """

    rule: Literal["exponentiated", "greedy"] = "exponentiated"
    step_size: Rate = 0.01
    adjustment: Annotated[float, Ge(0.0), Le(1000.0)] = 0.0
    normalise_loss: bool = False
    greedy_share: Share = 0.2
    greedy_floor: Probability = 0.0
    greedy_memory: Share = 0.1
    draw: GroupDraw = "groups"

    def repeats_annotated(self, budget: Budget, train: Train) -> bool:
        """Return whether groups are drawn with replacement, or what else trains repeats."""
        return self.draw == "groups" or super().repeats_annotated(budget, train)


@dataclass(frozen=True, kw_only=True)
class GroupDro(GroupWeights, KnownGroups):
    """Group distributionally robust optimisation with known groups (Sagawa et al. 2020)."""


@dataclass(frozen=True, kw_only=True)
class Cvar(Method):
    """Mean loss of the worst share of each batch (Levy et al. 2020).

    Attributes:
        share: alpha, the share of a batch that counts; the last image in it counts partly.
    """

    share: Share = 0.1

    takes: ClassVar[tuple[SupervisionKind, ...]] = EVERY


@dataclass(frozen=True, kw_only=True)
class Jtt(FirstModelOptions):
    """Just train twice: up-sample what a first ERM model gets wrong (Liu et al. 2021).

    Attributes:
        first_epochs: T, the epochs of the first model; its errors are those of the last epoch.
        errors: `evaluation` takes a clean pass after epoch T; `training` the predictions made
            while training epoch T, as the published code does.
        upsample: `groups` draws every (class, error) group as often as the largest (Saab et al.
            2022); `append` adds `factor` copies of each error (the published code: `factor` + 1
            in all); `weight` counts each error `factor` times (the paper's loss weight);
            `balance` appends as many copies as make errors about as many as the others.
        factor: lambda of `append` and `weight`.
    """

    first_epochs: Epochs | None = 30
    errors: Literal["evaluation", "training"] = "evaluation"
    upsample: Literal["groups", "append", "weight", "balance"] = "groups"
    factor: Annotated[int, Ge(1), Le(100_000)] = 50

    def choices(self, keep: str) -> Mapping[str, str]:
        """Return the trial's rule: errors are those of the first model's last epoch."""
        return {"train.keep": keep}

    def repeats_annotated(self, budget: Budget, train: Train) -> bool:
        """Return whether errors are drawn again; a weight of 1 counts each once."""
        return not (self.upsample == "weight" and self.factor == 1) or super().repeats_annotated(
            budget, train
        )


@dataclass(frozen=True, kw_only=True)
class George(GroupWeights, FirstModelOptions):
    """Clusters of an ERM model's features as groups for group DRO (Sohoni et al. 2020).

    Attributes:
        reduce: How features are reduced before clustering: `umap`, `pca`, `hardness` (along the
            difference of the last layer's two rows) or `none`.
        components: Dimensions of `umap` and `pca`.
        neighbours: Neighbours of `umap`.
        centre: Subtract the mean feature first.
        centre_by: `class` subtracts each class's mean, `all` that of all training images (the
            reference code).
        normalise: Scale each feature vector to length 1.
        clusterer: `gmm` (full covariance) or `kmeans`.
        clusters: Clusters per class; None chooses 2 to `max_clusters` by the silhouette.
        max_clusters: Most clusters per class.
        overcluster: Split each cluster into five and keep sub-clusters that are compact, hard and
            large enough.
        whole: A class that is not clustered.
        groups: `clusters`, or `pairs`: one group for each pair of a negative and a positive
            cluster (the published variant for AUROC).
        adjust_pairs: n of a pair's C / sqrt n: the images of `both` clusters, or of the `negatives`
            alone (the reference code, whose positives are one cluster).
    """

    reduce: Literal["umap", "pca", "hardness", "none"] = "umap"
    components: Annotated[int, Ge(1), Le(64)] = 2
    neighbours: Annotated[int, Ge(2), Le(200)] = 10
    centre: bool = False
    centre_by: Literal["class", "all"] = "class"
    normalise: bool = True
    clusterer: Literal["gmm", "kmeans"] = "gmm"
    clusters: Annotated[int, Ge(1), Le(50)] | None = None
    max_clusters: Annotated[int, Ge(2), Le(50)] = 10
    overcluster: bool = False
    whole: Literal["none", "negatives", "positives"] = "none"
    groups: Literal["clusters", "pairs"] = "clusters"
    adjust_pairs: Literal["both", "negatives"] = "both"
    draw: GroupDraw = "natural"

    two_classes: ClassVar[str] = "looks for clusters of negative and of positive images"


@dataclass(frozen=True, kw_only=True)
class Dfr(FirstModelOptions):
    """Deep feature reweighting: the last layer again, on balanced held-out data (Kirichenko 2023).

    The validation images serve as that data, so validation metrics of this method are of images
    that its last layer was fitted on.

    Attributes:
        balance: `groups` balances (label, attribute) groups, which needs spurious labels of the
            validation images; `classes` balances labels alone.
        attribute: The attribute that makes the groups; None is all of them together.
        refits: Balanced draws whose coefficients are averaged.
        scale_by: Features are standardised by those of all validation images (`val`), or by those
            of the annotated training images, and the choice of the penalty by the images that it
            is fitted on (`train`, the reference code).
    """

    balance: Literal["groups", "classes"] = "groups"
    attribute: str | None = None
    refits: Annotated[int, Ge(1), Le(1000)] = 20
    scale_by: Literal["val", "train"] = "val"

    trains_on_validation: ClassVar[bool] = True
    passes: ClassVar[float] = 0.0  # the last layer alone is fitted, once
    two_classes: ClassVar[str] = "fits one logistic regression, which tells two classes apart"

    def choices(self, keep: str) -> Mapping[str, str]:
        """Return the first model's rule: the last layer is fitted once."""
        return {"first_keep": self.first_keep}

    @property
    def spurious_labels(self) -> LabelledSplit | None:
        """Those of the validation images, where groups are balanced."""
        return "val" if self.balance == "groups" else None


@dataclass(frozen=True, kw_only=True)
class Lff(Method):
    """Learning from failure: a biased network tells what to weigh (Nam et al. 2020).

    Attributes:
        power: q of the generalised cross-entropy that the biased network minimises.
        difficulty: `averaged` losses per image, normalised per class (the paper), or the step's
            own (`instantaneous`).
        memory: Rate at which `averaged` losses keep their past.
        gradient_factor: Of the biased network's loss: `one` is the paper's (1 - p^q) / q; `power`
            multiplies it by q (the reference code, whose gradient is q p^q times cross-entropy's).
    """

    power: Annotated[float, Gt(0.0), Le(1.0)] = 0.7
    difficulty: Literal["averaged", "instantaneous"] = "averaged"
    memory: Annotated[float, Ge(0.0), Lt(1.0)] = 0.7
    gradient_factor: Literal["one", "power"] = "one"

    passes: ClassVar[float] = 2.0  # two networks


@dataclass(frozen=True, kw_only=True)
class Cnc(FirstModelOptions):
    """Correct-n-contrast: images of one class that ERM tells apart are drawn together (Zhang 2022).

    Attributes:
        contrast_weight: Weight of the contrastive loss; the rest is cross-entropy.
        temperature: Of the contrastive loss.
        positives: Most images of the anchor's class that ERM predicts otherwise, per anchor; a
            batch holds about a quarter of its size.
        negatives: Most images of the other class that ERM predicts alike, likewise.
        first_keep: By default the smallest loss: AUROC says nothing on the threshold of 0.5 that
            makes the predictions, and a model that ranks well may call every image normal.
    """

    contrast_weight: Probability = 0.75
    temperature: Annotated[float, Gt(0.0), Le(100.0)] = 0.05
    positives: Annotated[int, Ge(1), Le(4096)] = 64
    negatives: Annotated[int, Ge(1), Le(4096)] = 64
    first_keep: FirstKeep = "best val.loss"

    two_classes: ClassVar[str] = "draws batches from the four cells of two labels and predictions"

    def repeats_annotated(self, budget: Budget, train: Train) -> bool:
        """Return whether an epoch has two batches, each drawn from all images."""
        one_batch = budget.images is not None and budget.images <= train.batch_size
        return not one_batch or super().repeats_annotated(budget, train)


@dataclass(frozen=True, kw_only=True)
class Ssl(Method):
    """Semi-supervised segmentation with pseudo-masks (Saab et al. 2022, section 4.2: Seg-SSL).

    Attributes:
        weight: lambda of the image-level similarity between two augmented views.
        views: The augmentation of the views.
        filter_by_label: Empty the pseudo-mask of an image that is labelled negative; needs
            `rest: label`.
    """

    weight: Annotated[float, Ge(0.0), Le(1000.0)] = 1.0
    views: Literal["paper", "flip"] = "paper"
    filter_by_label: bool = False

    takes: ClassVar[tuple[SupervisionKind, ...]] = SEGMENTED
    trains_by_keep: ClassVar[bool] = True
    takes_lesions: ClassVar[bool] = False
    passes: ClassVar[float] = 3.0  # an annotated image comes with two views of another one

    def first_training(self, train: Train) -> tuple[int, float]:
        """Return the teacher's epochs, which cost what its own do."""
        return train.epochs, self.passes

    def rest_read(self, rest: WeakLabels) -> WeakLabels | None:
        """Labels for the filter alone; no loss reads the weight of `rest`."""
        return WeakLabels() if self.filter_by_label else None

    def augments_rest(self, rest: WeakLabels | None, train: Train) -> bool:
        """Always: it compares views."""
        return True


@dataclass(frozen=True, kw_only=True)
class Spl(Method):
    """Segmentation with supervised pixel-level similarity (Saab et al. 2022: Seg-SPL).

    Attributes:
        weight: lambda of the similarity between positive pixels.
        pixels: Positive pixels sampled per batch.
        norm: `pairs` is the mean over pairs, in [-1, 1]; `paper` divides their sum by the number
            of pixels.
    """

    weight: Annotated[float, Ge(0.0), Le(1000.0)] = 0.1
    pixels: Annotated[int, Ge(2), Le(65_536)] = 1024
    norm: Literal["pairs", "paper"] = "pairs"

    takes: ClassVar[tuple[SupervisionKind, ...]] = SEGMENTED
    takes_lesions: ClassVar[bool] = False


@problems.register(Jtt)
def _(options: Jtt) -> list[str]:
    messages = unread(options, "upsample", {"factor": ("append", "weight")})
    if options.first_keep != Jtt.first_keep:
        messages.append("first_keep is not read: errors are those of the last epoch; remove it")
    return messages


@problems.register(Lff)
def _(options: Lff) -> list[str]:
    return unread(options, "difficulty", {"memory": ("averaged",)})


@problems.register(Dfr)
def _(options: Dfr) -> list[str]:
    return unread(options, "balance", {"attribute": ("groups",)})


@problems.register(GroupWeights)
def _(options: GroupWeights) -> list[str]:
    greedy, exponentiated = ("greedy",), ("exponentiated",)
    readers = {
        "step_size": exponentiated,
        "normalise_loss": exponentiated,
        "greedy_share": greedy,
        "greedy_floor": greedy,
        "greedy_memory": greedy,
    }
    messages = unread(options, "rule", readers)
    if isinstance(options, George):
        messages += unread(
            options, "reduce", {"components": ("umap", "pca"), "neighbours": ("umap",)}
        )
        messages += unread(options, "groups", {"adjust_pairs": ("pairs",)})
        if options.centre_by != George.centre_by and not options.centre:
            messages.append("centre_by is not read without centre: true; add it, or remove this")
        if options.clusters is not None and options.max_clusters != George.max_clusters:
            messages.append("max_clusters is not read where clusters are given; remove one of them")
    return messages


METHODS: Mapping[str, type[Method]] = {
    "erm": Erm,
    "reweight": Reweight,
    "resample": Resample,
    "group-dro": GroupDro,
    "cvar": Cvar,
    "jtt": Jtt,
    "george": George,
    "dfr": Dfr,
    "lff": Lff,
    "cnc": Cnc,
    "ssl": Ssl,
    "spl": Spl,
    "actdiff": ActDiff,
    "gradmask": GradMask,
    "actdiff-gradmask": ActDiffGradMask,
    "classify-masked": ClassifyMasked,
    "classify-shuffled": ClassifyShuffled,
    "adversarial": Adversarial,
    "reconstruct": Reconstruct,
    "reconstruct-masked": ReconstructMasked,
    "rrr": Rrr,
    "rbr": Rbr,
    "xbl": Xbl,
    "care": Care,
    "exbl": Exbl,
}
