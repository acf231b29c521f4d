"""From a spec to trials: cells, ids, what is done, what is dropped and why, and what it costs.

Pure: it is given facts about the dataset and the ids that have a result, and touches no store.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from spurious.config.fields import Negatives, SupervisionKind
from spurious.config.methods import Ssl
from spurious.config.models import SHOWING, shown_by
from spurious.config.options import Budget, FitConfig, Specificity
from spurious.data.attributes import GroupCounts
from spurious.data.mask_of import MaskOf
from spurious.scoring.annotations import ImageFacts
from sweeps.plan.cell import Cell
from sweeps.plan.identity import EarlierId, earlier_ids, trial_ids
from sweeps.plan.searched import CellSearch
from sweeps.plan.steering import exemplar_reason, implies_lesion
from sweeps.plan.unfit import refuse_unfit, unfit_reason
from sweeps.spec.model import MethodChoice, Spec


@dataclass(frozen=True)
class DatasetFacts:
    """What planning needs to know of a dataset; counts are None before it is staged.

    Attributes:
        name: Dataset name.
        digest: The manifest's digest.
        image_shape: (H, W, C) in pixels.
        counts: Per split `n`, `positives`, `abnormalities`, and `negative_abnormalities` (those
            drawn on negative images) where there are any. Where masks are missing or boxes drawn,
            also images per label that carry them, `cluster.datasets.manifest.DrawnCounts`.
        attributes: Spurious attribute names.
        unlabelled: Per split and attribute, images that nobody annotated it on.
        dtype: Of the images; None where unknown.
        images: What each image costs to annotate; None where only `counts` are known.
        synthetic: What drew the images; None where they are a release's.
        groups: Per split and attribute, images per label and attribute; empty before staging.
        directions: Per attribute +1 where it goes with the label in training, else -1.
        n_train: Training images where `counts` are None: a generator's options say how many.
        mask_of: What the masks are of.
        classes: Per split, images by class; empty where there are only labels.
        positive_classes: Those of label 1.
    """

    name: str
    digest: str
    image_shape: tuple[int, int, int] | None
    counts: Mapping[str, Mapping[str, int]] | None
    attributes: tuple[str, ...] = ()
    unlabelled: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    dtype: str | None = None
    images: ImageFacts | None = None
    synthetic: str | None = None
    n_train: int | None = None
    groups: Mapping[str, Mapping[str, GroupCounts]] = field(default_factory=dict)
    directions: Mapping[str, int] = field(default_factory=dict)
    mask_of: MaskOf = "abnormality"
    classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    positive_classes: tuple[str, ...] = ()

    @property
    def training_images(self) -> int | None:
        """Images of the training split; None where unknown."""
        return self.n_train if self.counts is None else self.counts["train"]["n"]

    @property
    def is_partial(self) -> bool:
        """Whether some masks were never drawn, or boxes are drawn as such."""
        return self.counts is not None and "masks_y1" in self.counts["train"]

    def count_carrying(self, split: str, kind: SupervisionKind) -> tuple[int, int]:
        """Count the positive and negative images that carry an annotation; needs `counts`."""
        of = {} if self.counts is None else self.counts[split]
        if kind == "label" or not self.is_partial:
            return of["positives"], of["n"] - of["positives"]
        what = "boxes" if kind == "box" else "masks"
        return of[f"{what}_y1"], of[f"{what}_y0"]

    def has_drawn_validation(self, kind: SupervisionKind) -> bool:
        """Return whether Dice can be measured: false only where nobody drew on validation."""
        return not self.is_partial or self.count_carrying("val", kind)[0] > 0


@dataclass(frozen=True)
class Trial:
    """One training run: a cell, a seed, and the id that its result is stored under."""

    id: str
    cell: Cell
    config: FitConfig
    dataset: str
    dataset_digest: str
    suggestion: int | None = None
    """The number of the configuration, where a search tries it; its cell is then that of the axes.
    """

    @property
    def label(self) -> str:
        """A short name for people: `mask-600-erm-s0`, and of a search `mask-600-erm-s0-t7`."""
        number = "" if self.suggestion is None else f"-t{self.suggestion}"
        return f"{self.cell.label}-s{self.config.seed}{number}"


@dataclass(frozen=True)
class Plan:
    """Everything a sweep will do.

    Attributes:
        name: The sweep's name.
        cells: Cells in the spec's order.
        seeds: Replicates of each cell.
        trials: One per cell and seed; empty where the dataset's digest is unknown. Of a cell with a
            search only once that has chosen, and the cell then has the chosen options.
        skipped: Cells that make no sense, each with the reason.
        done: Ids of trials with a committed result.
        unknown: Why ids or counts are missing, or None.
        older: Trials with a result under an earlier id, from before their numbers were changed.
        damaged: Why trials whose result misses objects or is damaged count as not done, by id.
        unverified: Those of `done` that are from before results had hashes.
        diverged: Ids of trials without a result whose training became NaN or infinite in an
            earlier run; it would again, so they are not run.
        explaining: Sentences on what explanations cannot be measured on.
        searches: The search of each cell, in their order; empty without one, or while nothing is
            known of results.
    """

    name: str
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    trials: tuple[Trial, ...]
    skipped: tuple[tuple[Cell, str], ...]
    done: frozenset[str]
    facts: DatasetFacts | None
    unknown: str | None
    older: tuple[tuple[Trial, EarlierId], ...] = ()
    damaged: Mapping[str, str] = field(default_factory=dict)
    unverified: frozenset[str] = frozenset()
    diverged: frozenset[str] = frozenset()
    explaining: tuple[str, ...] = ()
    searches: tuple[CellSearch, ...] = ()

    @property
    def size(self) -> int:
        """Trials that the sweep will have, of searches those of the chosen options alone."""
        return len(self.cells) * len(self.seeds) if self.searches else len(self.trials)

    @property
    def is_searching(self) -> bool:
        """Whether a search of some cell is not over."""
        return any(not search.is_over for search in self.searches)

    @property
    def searched_next(self) -> tuple[Trial, ...]:
        """Trials that searches wait for, as far as they are known."""
        return tuple(trial for search in self.searches for trial in search.waiting)

    @property
    def with_tried(self) -> tuple[Trial, ...]:
        """Return the trials of the plan and all that searches tried, each once."""
        tried = (each for search in self.searches for each in search.tried)
        every = [*self.trials, *(trial for each in tried for trial in each.trials)]
        return tuple({trial.id: trial for trial in reversed(every)}.values())[::-1]

    @property
    def searched_to_the_end(self) -> tuple[str, ...]:
        """Ids of trials that searches have a whole result of, or a failure for good."""
        ends = ("finished", "failed")
        tried = (each for search in self.searches for each in search.tried if each.state in ends)
        return tuple(trial.id for each in tried for trial in each.trials)

    @property
    def missing(self) -> tuple[Trial, ...]:
        """Trials without a result, in the plan's order."""
        return tuple(trial for trial in self.trials if trial.id not in self.done)

    @property
    def to_run(self) -> tuple[Trial, ...]:
        """Trials that a run trains: those without a result, unless they diverged."""
        return tuple(trial for trial in self.missing if trial.id not in self.diverged)

    def refreshed(self, done: Collection[str]) -> Plan:
        """The same plan where these ids have a committed result, of this sweep or any other."""
        return replace(self, done=frozenset(trial.id for trial in self.trials) & set(done))

    def list_damaged(self) -> list[tuple[Trial, str]]:
        """List the trials whose result is damaged, each with the reason, in the plan's order."""
        return [
            (trial, self.damaged[trial.id]) for trial in self.trials if trial.id in self.damaged
        ]


def skip_reason(
    specificity: Specificity,
    budget: Budget,
    method: MethodChoice,
    negatives: Negatives = "background",
) -> str | None:
    """Return why a combination is dropped, or None where it makes sense."""
    takes = method.options.takes
    if specificity.kind not in takes:
        return f"{method.name} takes {', '.join(takes)}, not {specificity.kind}"
    if isinstance(method.options, Ssl) and budget.images is None:
        return f"{method.name} needs images without annotation; a budget of all leaves none"
    if negatives == "lesion" and not method.options.takes_lesions:
        return f"{method.name} knows two classes of pixels, and negatives: lesion has three"
    return exemplar_reason(specificity, method)


def model_reason(spec: Spec, cell: Cell) -> str | None:
    """Return why the spec has no model for a cell, or not one that shows what the method reads."""
    if cell.segments and spec.model.segmenter is None:
        return (
            f"{cell.method.name} trains a segmenter on {cell.specificity.kind}, and there is none"
        )
    name, options = spec.model_for(cell.specificity, cell.method)
    missing = [part for part in cell.method.options.reads if part not in shown_by(options)]
    if not missing:
        return None
    return (
        f"{cell.method.name} reads the model's {' and '.join(missing)}, which '{name}' as it is "
        f"set does not show; use {SHOWING[missing[0]]}"
    )


def fit_config(spec: Spec, cell: Cell, seed: int, facts: DatasetFacts | None = None) -> FitConfig:
    """Return the fully resolved configuration of one trial on a dataset, where it is known."""
    model_name, model = spec.model_for(cell.specificity, cell.method)
    return FitConfig(
        specificity=cell.specificity,
        budget=cell.budget,
        method_name=cell.method.name,
        method=cell.method.options,
        model_name=model_name,
        model=model,
        readout=spec.readout_for(cell.specificity, cell.method),
        train=spec.train_for(
            cell.specificity,
            cell.method,
            can_measure_dice=facts is None or facts.has_drawn_validation(cell.specificity.kind),
        ),
        seed=seed,
        rest=spec.rest_for(cell.specificity, cell.budget, cell.method),
        negatives="lesion"
        if implies_lesion(cell.specificity, facts)
        else spec.negatives_for(cell.specificity),
    )


def make_plan(
    spec: Spec,
    facts: DatasetFacts | None,
    done: Collection[str] = (),
    unknown: str | None = None,
) -> Plan:
    """Expand a spec.

    A spec with a search gets no trials here: `sweeps.search.resolve` reads them off results.

    Args:
        spec: The spec.
        facts: The dataset, or None where it is not staged or the store cannot be reached.
        done: Ids with a committed result, of this sweep or any other.
        unknown: Why `facts` or `done` are incomplete.

    Raises:
        PlanError: the dataset cannot carry the spec; all reasons at once.
    """
    cells, skipped = [], []
    for specificity, budget, method in product(
        spec.axes.specificity, spec.budgets(), spec.axes.method
    ):
        cell = Cell(specificity, budget, method)
        reason = _why_skipped(spec, cell, facts)
        if reason is None:
            cells.append(cell)
        else:
            skipped.append((cell, reason))
    trials: tuple[Trial, ...] = ()
    if facts is not None:
        refuse_unfit(spec, cells, facts)
    if facts is not None and spec.search is None:
        seeds = spec.axes.seed
        trials = tuple(trial for cell in cells for trial in make_trials(spec, cell, seeds, facts))
    return Plan(
        name=spec.name,
        cells=tuple(cells),
        seeds=tuple(spec.axes.seed),
        trials=trials,
        skipped=tuple(skipped),
        done=frozenset({trial.id for trial in trials} & set(done)),
        facts=facts,
        unknown=unknown,
        older=find_older(trials, done, None if facts is None else facts.training_images),
    )


def _why_skipped(spec: Spec, cell: Cell, facts: DatasetFacts | None) -> str | None:
    reason = skip_reason(
        cell.specificity, cell.budget, cell.method, spec.negatives_for(cell.specificity)
    )
    reason = reason or model_reason(spec, cell)
    return reason or (None if facts is None else unfit_reason(cell, facts))


def find_older(
    trials: tuple[Trial, ...], done: Collection[str], training_images: int | None
) -> tuple[tuple[Trial, EarlierId], ...]:
    """Pair trials with the earlier ids that have a committed result."""
    committed = set(done)
    return tuple(
        (trial, earlier)
        for trial in trials
        for earlier in earlier_ids(trial.config, trial.dataset_digest, training_images)
        if earlier.id in committed
    )


def make_trial(spec: Spec, cell: Cell, seed: int, facts: DatasetFacts) -> Trial:
    """Return one trial of a cell."""
    return make_trials(spec, cell, [seed], facts)[0]


def make_trials(spec: Spec, cell: Cell, seeds: Sequence[int], facts: DatasetFacts) -> list[Trial]:
    """Return the trials of a cell."""
    config = fit_config(spec, cell, 0, facts)
    ids = trial_ids(config, seeds, facts.digest, facts.training_images)
    return [
        Trial(number, cell, replace(config, seed=seed), facts.name, facts.digest)
        for number, seed in zip(ids, seeds, strict=True)
    ]
