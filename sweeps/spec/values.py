"""What the sections of the sweep YAML become: frozen dataclasses, whose hints are the grammar."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from spurious.config.fields import Pattern
from spurious.config.models import Aggregation, ResNet50, Unet
from spurious.config.options import Prices, Specificity, Train
from spurious.scoring.cost import PARTS
from spurious.scoring.operating_point import OperatingPoint
from spurious.scoring.selection import SelectionRule
from sweeps.spec.fields import options_of

NAME = Annotated[
    str,
    Pattern(
        "[a-z0-9][a-z0-9-]{0,62}",
        "1 to 63 lower-case letters, digits and hyphens, beginning with a letter or digit",
    ),
]
DATASET = Annotated[
    str,
    Pattern(
        "[a-z0-9][a-z0-9_-]{0,63}(@[0-9a-f]{4,64})?",
        "a staged dataset as NAME or NAME@DIGEST (4 to 64 hexadecimal digits), or a generator as "
        "a mapping with its name and options",
    ),
]
STORE = Annotated[
    str,
    Pattern(
        r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/(?!\.\.?(/|$))[A-Za-z0-9_.=-]+)*/?"
        r"|(?![A-Za-z0-9+.-]+:/)[^\x00-\x1f\x7f]+",
        "a folder or s3://BUCKET/PREFIX",
    ),
]
NODE_TYPE = Annotated[
    str,
    Pattern(
        "[A-Za-z0-9][A-Za-z0-9._-]{0,62}",
        "1 to 63 letters, digits, dots, hyphens and underscores, beginning with a letter or digit",
    ),
]
EXAMPLES = Annotated[int, Ge(0), Le(16)]
KEEP = Literal["model"]
Overrides = tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]
"""(name, ((option, value), ...)), ... in order of name and option."""


Margin = Annotated[float, Ge(0.0), Le(0.5)]


@dataclass(frozen=True)
class Select:
    """How a report reads trials.

    Attributes:
        epoch: The rule that selects epochs; None is each trial's kept epoch.
        operating_point: How the threshold of sensitivity and specificity is fixed.
        margin: How far below the best cell's robust AUROC a cheaper one may be that the report
            calls not inferior: the lower 95 % limit of their paired difference decides.
        tune: Options of methods whose values are a grid: of purchases that differ in these alone
            the report ranks one, that with the highest mean AUROC on validation.
    """

    epoch: SelectionRule | None = None
    operating_point: OperatingPoint = field(default_factory=OperatingPoint)
    margin: Margin = 0.02
    tune: tuple[str, ...] = ()


@dataclass(frozen=True)
class StagedDataset:
    """A dataset in the store; without a digest prefix, its only version."""

    name: str
    digest_prefix: str | None = None


@dataclass(frozen=True)
class GeneratorDataset:
    """A key of `spurious.config.datasets.GENERATORS` with its options."""

    name: str
    options: Any


DatasetRef = StagedDataset | GeneratorDataset


@dataclass(frozen=True)
class MethodChoice:
    """A key of `spurious.config.methods.METHODS` with its options."""

    name: str
    options: Any

    def __str__(self) -> str:
        set_here = [
            f"{name}={getattr(self.options, name)}"
            for name, (_, default) in options_of(self.options.__class__).items()
            if getattr(self.options, name) != default
        ]
        return f"{self.name}({', '.join(set_here)})" if set_here else self.name


@dataclass(frozen=True)
class Axes:
    """What is crossed; a budget of None is all images.

    Attributes:
        specificity: Annotation kinds: `label`, `box`, `mask`, `{r: N}` or `{box: image}`.
        budget: Numbers of annotated training images, or `all`.
        method: Training methods, each a name or a mapping of its name and options.
        seed: Replicates of each cell.
    """

    specificity: tuple[Specificity, ...]
    budget: tuple[int | None, ...]
    method: tuple[MethodChoice, ...]
    seed: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Models:
    """Models, each a name or a mapping of its name and options.

    Attributes:
        classifier: Trained on labels.
        segmenter: Trained on everything else; with null there is none, and cells that need one are
            dropped.
        readout: How the segmenter's probability map becomes the score of an image.
    """

    classifier: tuple[str, Any] = field(default_factory=lambda: ("resnet50", ResNet50()))
    segmenter: tuple[str, Any] | None = field(default_factory=lambda: ("unet", Unet()))
    readout: Aggregation = field(default_factory=Aggregation)


@dataclass(frozen=True, kw_only=True)
class Training:
    """Training options with what a specificity, and then a method, overrides.

    Attributes:
        per_specificity: Changes for trials of an annotation kind.
        per_method: Changes for trials of a method, which come last.
    """

    base: Train = field(default_factory=Train)
    per_specificity: Overrides = ()
    per_method: Overrides = ()


@dataclass(frozen=True, kw_only=True)
class NodeType:
    """What a node of a cluster has, and what it costs.

    Attributes:
        dollars_per_hour: Dollars for an hour of a whole node.
        cpus: CPU cores that trials may use.
        gpus: GPUs that trials may use.
    """

    dollars_per_hour: Annotated[float, Ge(0.0), Le(10_000.0)]
    cpus: Annotated[int, Ge(1), Le(1024)]
    gpus: Annotated[int, Ge(0), Le(64)] = 0


@dataclass(frozen=True, kw_only=True)
class ComputePrices:
    """What the nodes cost that trials run on.

    Attributes:
        node: The type of node that the sweep runs on, one of `node_types`.
        count: Nodes of that type that trials run on at once, for the wall time that `plan` shows.
        node_types: Types of nodes by name, each with its price and what it has.
    """

    node: str
    count: Annotated[int, Ge(1), Le(100_000)] | None = None
    node_types: tuple[tuple[str, NodeType], ...] = ()

    @property
    def chosen(self) -> NodeType:
        """The type of node that the sweep runs on."""
        return dict(self.node_types)[self.node]


AXIS = (*PARTS, "compute")
"""What a report's axis of dollars may count."""


@dataclass(frozen=True, kw_only=True)
class CostOptions:
    """What annotation and compute cost, and what of it the report counts.

    Attributes:
        axis: What the frontier's axis counts: any of `training` annotation, `spurious_labels` that
            the method, the rule or the search reads, `validation` annotation, and `compute` where
            it has a price.
        compute: What compute costs; None where nobody says.
    """

    prices: Prices = field(default_factory=Prices)
    axis: tuple[str, ...] = PARTS
    compute: ComputePrices | None = None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a sweep may use; one that reaches a limit stops and keeps all results.

    Attributes:
        trial_minutes: Wall-clock minutes of a trial, those up to the checkpoint that it continues
            from with it; it is ended then and counts as failed.
        gpu_hours: Hours of GPUs, of all results of the sweep's trials and of all other attempts of
            its runs: two trials that share one GPU for an hour use one. Each counts by the share
            that it had.
        cpu_hours: Hours of CPU cores, likewise.
        dollars: Dollars of compute, likewise, at the price of `cost.compute`.
        trials: Trials that one run starts; those that run then go on to their end.
    """

    trial_minutes: Annotated[float, Gt(0.0), Le(1_000_000.0)] | None = None
    gpu_hours: Annotated[float, Gt(0.0), Le(1_000_000_000.0)] | None = None
    cpu_hours: Annotated[float, Gt(0.0), Le(1_000_000_000.0)] | None = None
    dollars: Annotated[float, Gt(0.0), Le(1_000_000_000.0)] | None = None
    trials: Annotated[int, Ge(1), Le(1_000_000)] | None = None


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one trial gets.

    Attributes:
        cpus: CPU cores.
        gpus: GPUs: a share of one, a whole number, or `auto`: the first trials of a kind have one
            each, and later ones the share that these needed of its memory.
        threads: Threads that torch and the augmentation use, at most `cpus`.
    """

    cpus: Annotated[int, Ge(1), Le(1024)] = 1
    gpus: Annotated[float, Ge(0.0), Le(64.0)] = 0.0
    threads: Annotated[int, Ge(1), Le(1024)] = 1

    @property
    def is_measured(self) -> bool:
        """Whether `gpus` is that of a trial of an unknown kind, and a run measures the rest."""
        return False


@dataclass(frozen=True, kw_only=True)
class MeasuredResources(Resources):
    """What one trial gets with `gpus: auto`; a whole GPU where nothing has been measured."""

    gpus: float = 1.0

    @property
    def is_measured(self) -> bool:
        """See `Resources`."""
        return True


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """When a trial's training state is stored.

    Attributes:
        every_epochs: Epochs between checkpoints.
        keep: Whether the last checkpoint stays in the store after the trial's result.
    """

    every_epochs: Annotated[int, Ge(1), Le(100_000)] = 10
    keep: bool = False
