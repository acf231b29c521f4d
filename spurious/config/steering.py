"""Options of methods that steer a classifier by drawn regions, importable without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from spurious.config.fields import Probability, SupervisionKind, problems
from spurious.config.method import SEGMENTED, Method, Rate
from spurious.config.models import Shown
from spurious.config.options import Train, WeakLabels

Blur = Annotated[float, Ge(0.0), Le(100.0)]
Weight = Annotated[float, Ge(0.0), Le(1_000_000.0)]
Reconstruction = Literal["squared", "cross_entropy"]
GradientSize = Literal["l2", "l1"]
_CONTRAST = "penalises the contrast of two logits"


@dataclass(frozen=True, kw_only=True)
class Steering(Method):
    """Methods whose classifier is told by drawn regions where to look.

    A budget counts images with a region; `rest: label` adds the others with their labels alone. On
    an image without a region nothing is penalised; nor on negative ones, unless `negatives: lesion`
    says that what is drawn on them counts.

    Attributes:
        blur: Sigma in pixels of a Gaussian filter on the regions; all that it reaches joins them,
            which dilates them by a square of radius int(4 sigma + 0.5).
        dilate: Pixels by which regions are dilated beside that.
    """

    blur: Blur = 0.0
    dilate: Annotated[int, Ge(0), Le(4096)] = 0

    takes: ClassVar[tuple[SupervisionKind, ...]] = SEGMENTED
    steers: ClassVar[bool] = True

    @property
    def radius(self) -> int:
        """Pixels by which regions grow to each side."""
        return int(4.0 * self.blur + 0.5) + self.dilate

    def rest_read(self, rest: WeakLabels) -> WeakLabels | None:
        """Labels alone: they join its own loss."""
        return WeakLabels()

    def augments_rest(self, rest: WeakLabels | None, train: Train) -> bool:
        """Never: the rest is part of its training images."""
        return False


@dataclass(frozen=True, kw_only=True)
class Reconstructing(Steering):
    """Methods that may have the model draw its input again, beside classifying it.

    Attributes:
        reconstruct: Weight of the loss of reconstruction, of models with a decoder; 0 for none.
        reconstruction: `squared` error of pixels, or `cross_entropy` for images in [0, 1].
    """

    blur: Blur = 0.5
    reconstruct: Weight = 0.0
    reconstruction: Reconstruction = "squared"

    @property
    def reads(self) -> tuple[Shown, ...]:
        """The decoder, where its output is compared."""
        return ("decoder",) if self.reconstruct else ()


@dataclass(frozen=True, kw_only=True)
class ActDiff(Reconstructing):
    """Activations shall stay when pixels outside the region are shuffled (Viviano et al. 2019).

    Attributes:
        weight: lambda of the difference of activations.
        layers: `all` values before an activation in the encoder, or the pooled features alone
            (`last`, the code of 2021).
        norm: Of the difference: `layer` is the mean over images and layers of a layer's L2 norm
            (equation 1), `channel` the mean over all places of the norm over channels (their code
            when it was published), `width` of the norm over columns (the same code under newer
            versions of torch).
        compared: Of `all` layers the values before their ReLU, as the paper has it, or after it
            (`after_relu`): in the code of 2019 the U-Net's, the auto-encoder's and the CNN's ReLU
            overwrites the values that were listed for the comparison, the ResNet's does not.
    """

    weight: Weight = 10.0
    layers: Literal["all", "last"] = "all"
    compared: Literal["before_relu", "after_relu"] = "before_relu"
    norm: Literal["layer", "channel", "width"] = "layer"

    passes: ClassVar[float] = 2.2

    @property
    def reads(self) -> tuple[Shown, ...]:
        """Layers, unless the last one is enough, and the decoder."""
        return (*(("layers",) if self.layers == "all" else ()), *super().reads)


@dataclass(frozen=True, kw_only=True)
class GradMask(Reconstructing):
    """The gradient of the classes' contrast shall be 0 outside the region (Simpson et al. 2019).

    Attributes:
        weight: lambda of the gradient.
        size: `l2` is the mean over images of the gradient's L2 norm (equation 2 of Viviano et al.
            2019), `l1` the sum of its absolute values over all images and pixels (their code).
    """

    weight: Weight = 10.0
    size: GradientSize = "l2"

    two_classes: ClassVar[str] = _CONTRAST
    passes: ClassVar[float] = 2.5


@dataclass(frozen=True, kw_only=True)
class ActDiffGradMask(ActDiff):
    """Differences of activations and the contrast's gradient together (Viviano et al. 2019).

    Attributes:
        gradient_weight: lambda of the gradient.
        size: Of the gradient, as for `gradmask`.
    """

    gradient_weight: Weight = 10.0
    size: GradientSize = "l2"

    two_classes: ClassVar[str] = _CONTRAST
    passes: ClassVar[float] = 3.6


@dataclass(frozen=True, kw_only=True)
class ClassifyMasked(Reconstructing):
    """ERM on inputs that are 0 outside the region, judged on whole images (Viviano et al. 2019)."""


@dataclass(frozen=True, kw_only=True)
class ClassifyShuffled(Reconstructing):
    """ERM on images shuffled outside the region, judged on whole images (Viviano et al. 2021)."""


@dataclass(frozen=True, kw_only=True)
class Adversarial(Steering):
    """No network shall tell features of shuffled images from whole ones' (Viviano et al. 2021).

    Attributes:
        weight: lambda of both adversarial losses.
        learning_rate: Of the discriminator, which Adam trains in every batch.
        every: Batches of the discriminator to one of the model.
        hidden: Units of the discriminator's two hidden layers.
    """

    blur: Blur = 0.5
    weight: Weight = 10.0
    learning_rate: Rate = 1e-2
    every: Annotated[int, Ge(1), Le(10_000)] = 1
    hidden: Annotated[int, Ge(1), Le(65_536)] = 1024

    passes: ClassVar[float] = 2.3


@dataclass(frozen=True, kw_only=True)
class Reconstruct(Method):
    """ERM on labels with a loss of reconstruction, for models with a decoder (Viviano et al. 2019).

    Attributes:
        weight: lambda of the reconstruction.
        reconstruction: `squared` error of pixels, or `cross_entropy` for images in [0, 1].
    """

    weight: Weight = 10.0
    reconstruction: Reconstruction = "squared"

    @property
    def reads(self) -> tuple[Shown, ...]:
        """The decoder."""
        return ("decoder",)


@dataclass(frozen=True, kw_only=True)
class ReconstructMasked(Steering):
    """The decoder is to draw the image shuffled outside its region (Viviano et al. 2019).

    Attributes:
        weight: lambda of the reconstruction.
        reconstruction: `squared` error of pixels, or `cross_entropy` for images in [0, 1].
    """

    blur: Blur = 0.5
    weight: Weight = 10.0
    reconstruction: Reconstruction = "squared"

    @property
    def reads(self) -> tuple[Shown, ...]:
        """The decoder."""
        return ("decoder",)


@dataclass(frozen=True, kw_only=True)
class Rrr(Steering):
    """Right for the right reasons: gradients of log-probabilities stay inside (Ross et al. 2017).

    Attributes:
        weight: lambda of the squared gradients' sum over pixels, a mean over images.
        normalise: Divide that by the number of pixels outside the regions of the batch, too.
    """

    weight: Weight = 10.0
    normalise: bool = False

    passes: ClassVar[float] = 2.4


@dataclass(frozen=True, kw_only=True)
class Rbr(Steering):
    """Right for better reasons: influence functions times gradients (Shao et al. 2021).

    The Hessian is taken for the identity, as in the public re-implementation. Normalisation layers
    use their running statistics in the penalty, whose third derivatives batch statistics have not.

    Attributes:
        weight: lambda of the squared products' sum over pixels, a mean over images.
    """

    weight: Weight = 10.0

    passes: ClassVar[float] = 11.0


@dataclass(frozen=True, kw_only=True)
class Xbl(Steering):
    """Right for the right reasons by Grad-CAM (Schramowski et al. 2020).

    Attributes:
        weight: lambda of the squared map's sum outside the region, a mean over images.
        rectify: Take the map's positive part, as Grad-CAM is defined; the public re-implementation
            does not.
    """

    weight: Weight = 10.0
    rectify: bool = True

    @property
    def reads(self) -> tuple[Shown, ...]:
        """The last feature maps."""
        return ("maps",)


@dataclass(frozen=True, kw_only=True)
class Care(Steering):
    """Class attention to regions of lesions: Grad-CAM inside and outside (Zhuang et al. 2019).

    Attributes:
        share: alpha of the attention loss of an image with a region; cross-entropy has the rest.
        threshold: Sum of the map inside the region, each pixel from 0 to 1, that earns no more.
        first_epochs: Epochs of cross-entropy alone.
    """

    share: Probability = 0.5
    threshold: Annotated[float, Ge(0.0), Le(1_000_000.0)] = 0.5
    first_epochs: Annotated[int, Ge(0), Le(100_000)] = 0

    @property
    def reads(self) -> tuple[Shown, ...]:
        """The last feature maps."""
        return ("maps",)


@problems.register(Reconstructing)
def _(options: Reconstructing) -> list[str]:
    if options.reconstruction != "squared" and not options.reconstruct:
        return ["reconstruction is not read where reconstruct is 0; give that a weight"]
    return []
