"""What a report reads and writes: its inputs, and the columns of its Parquet tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spurious.config.datasets import GaussianSquares
from spurious.config.options import Budget, Prices, Specificity
from spurious.data.mask_of import MaskOf
from spurious.scoring.cost import PARTS
from spurious.scoring.operating_point import OperatingPoint
from spurious.scoring.selection import SelectionRule
from sweeps.plan.cell import Cell
from sweeps.report.comparison.columns import REPORT_COMPARISON
from sweeps.report.subgroup_columns import REPORT_SUBGROUPS
from sweeps.results.schemas import (
    DOLLARS,
    Column,
    TableDescription,
    metric_columns,
    parse_columns,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from sweeps.plan.searched import CellSearch
    from sweeps.report.epochs import Epochs
    from sweeps.report.readings import Readings
    from sweeps.spec.papers import PublishedTable

REPORT_SCHEMA_VERSION = 5

_FIXED = Specificity("label"), Specificity("box", box_per="image"), Specificity("box")
_MASK = Specificity("mask")


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of the plan.

    Attributes:
        cell: Specificity, budget and method, which it shares with its other seeds.
        seed: Seed.
        trial_id: Content id, or None where it cannot be known yet; failures are found by it.
    """

    cell: Cell
    seed: int
    trial_id: str | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """The cell in the strings of the `trials` table."""
        return self.cell.key


@dataclass(frozen=True)
class Provenance:
    """Where the numbers of a report come from.

    Attributes:
        sweep: Sweep name.
        dataset: Dataset name.
        dataset_digest: Content digest of the dataset.
        spec_text: The sweep YAML as it was run.
        plan_counts: Counts of the plan by name (cells, trials, skipped, search trials ...).
        versions: Versions of the software that makes the report.
        created_at: When the report is made, ISO 8601 in UTC.
        directions: Per spurious attribute +1 where it goes with the label in training and -1
            where against, from the manifest; empty where unknown.
        synthetic: What drew the images; None where they are a release's.
        overrides: Dotted keys of the YAML to values that replaced its own.
    """

    sweep: str
    dataset: str
    dataset_digest: str
    spec_text: str
    plan_counts: Mapping[str, int]
    versions: Mapping[str, str]
    created_at: str
    directions: Mapping[str, int] = field(default_factory=dict)
    synthetic: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportInput:
    """Everything a report is made from.

    Attributes:
        trials: Committed trials of this plan, columns of `sweeps.results.schemas.TRIALS`.
        epochs: Their epochs, with what stored predictions say.
        failures: Failed attempts, columns of `sweeps.results.schemas.FAILURES`; may be empty.
        planned: Every trial of the plan, with or without a result.
        prices: Price table in force.
        provenance: Names, digests, versions.
        rule: Selection rule for the epoch of every trial; None for each trial's kept epoch.
        axis: Parts of the price that the frontier's dollar axis counts.
        compute: Trial id to dollars of compute; None where the spec has no price.
        published: What papers say of this dataset, to be set beside what was measured.
        squares: The generator's options where the dataset is of generated squares, else None.
        embeddings: Trial id to its rows of `schemas.EMBEDDINGS`, of one trial a cell.
        asks_explanations: Whether the sweep's trials explain.
        explained: Means of `schemas.EXPLANATIONS` of each trial that has some; None without any.
        examples: Trial id to its rows of `schemas.EXAMPLES`, of one trial a cell.
        point: How the threshold of sensitivity and specificity was fixed.
        damaged: Labels of planned trials whose result is damaged and left out, with the reason.
        unverified: How many of `trials` are from before results had checksums.
        readings: AUROCs of stored predictions with their structural components.
        margin: How far below the best cell a cheaper one may be that is called not inferior.
        tune: Options of methods whose values are a grid, of which one is ranked.
        notes: What the plan says of its axes and prices (`sweeps.plan.notes`).
        mask_of: What the dataset's masks are of.
        searches: The search of each cell, where the sweep has one.
        search: What was searched, in a sentence.
        search_rule: The metric that configurations were compared by; None without a search.
        outlines: Medians over the dataset's masks: `vertices_2px`, `vertices_5px`, and how many
            `images` these are of; None where nobody counted.
        sample_ids: Ids of all images, ascending; None where no trial names one or none are known.
        covariates: Name (sex, age, site) to sample id to value, a number or text, None where it is
            not known; empty where there are none.
        no_covariates: Why there are none, in a sentence.
        read_predictions: Yields the `predictions` of some of `trials`, a table each, by ascending
            id, as far as they are stored; None where nothing is to be read.
        skipped: Cells of the axes that cannot run, each with the reason.
        failure_meanings: Classes of `failures` in words.
    """

    trials: pd.DataFrame
    epochs: Epochs
    failures: pd.DataFrame
    planned: Sequence[PlannedTrial]
    prices: Prices
    provenance: Provenance
    rule: SelectionRule | None = None
    axis: Sequence[str] = PARTS
    compute: Mapping[str, float] | None = None
    published: Sequence[PublishedTable] = ()
    squares: GaussianSquares | None = None
    embeddings: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    asks_explanations: bool = False
    explained: pd.DataFrame | None = None
    examples: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    point: OperatingPoint = field(default_factory=OperatingPoint)
    damaged: Mapping[str, str] = field(default_factory=dict)
    unverified: int = 0
    readings: Readings = field(default_factory=dict)
    margin: float = 0.02
    tune: Sequence[str] = ()
    notes: Sequence[str] = ()
    mask_of: MaskOf = "abnormality"
    outlines: Mapping[str, float] | None = None
    sample_ids: Sequence[str] | None = None
    searches: Sequence[CellSearch] = ()
    search: str = ""
    search_rule: SelectionRule | None = None
    covariates: Mapping[str, Mapping[str, float | str | None]] = field(default_factory=dict)
    no_covariates: str = ""
    read_predictions: Callable[[Sequence[str]], Iterable[pa.Table]] | None = None
    skipped: Sequence[tuple[Cell, str]] = ()
    failure_meanings: Mapping[str, str] = field(default_factory=dict)


REPORT_TRIALS = parse_columns(f"""
    schema_version | int64 | | version of this schema
    trial_id | string | | the trial
    attempt | string | | the attempt that committed
    dataset | string | | dataset name
    dataset_digest | string | | digest of the dataset
    specificity | string | | label, box, box=image, mask or r=N
    budget | string | | annotated training images asked for, or all
    balance | string | | equal or natural
    method | string | | training method
    model | string | | model name
    seed | int64 | | seed
    rule | string | | rule that chose the epoch
    epoch | int64 | | chosen epoch, from 1; null where the rule is undefined
    undefined | string | | why the epoch or the robust AUROC is undefined; null where it is defined
    {metric_columns("the chosen epoch")}
    {DOLLARS}
    seconds_total | float64 | s | wall time of the attempt
    device | string | | cpu or the GPU's name
    training | string | | diverged, or did not move; null for neither
""")
"""Followed by float64 columns `val_robust_auroc_NAME` and `test_robust_auroc_NAME` per spurious
attribute, sorted by name."""

REPORT_CELLS = parse_columns("""
    schema_version | int64 | | version of this schema
    dataset | string | | dataset name
    dataset_digest | string | | digest of the dataset
    specificity | string | | label, box, box=image, mask or r=N
    budget | string | | annotated training images asked for, or all
    balance | string | | equal or natural; null without a result
    method | string | | training method
    oracle | bool | | whether the method is given the groups that others have to guess
    model | string | | model name; null without a result
    seeds_planned | int64 | | seeds of the plan
    seeds_done | int64 | | seeds with a committed result
    seeds_failed | int64 | | seeds without a result and with a failed attempt
    complete | bool | | whether every planned seed has a defined robust AUROC
    dollars_mean | float64 | USD | the frontier's axis, mean over seeds (abnormalities differ)
    dollars_min | float64 | USD | smallest over seeds
    dollars_max | float64 | USD | largest over seeds
    training_dollars | float64 | USD | mean over seeds, annotation of images trained on
    spurious_label_dollars | float64 | USD | mean over seeds, spurious labels
    validation_dollars | float64 | USD | mean over seeds, annotation of validation images
    compute_dollars | float64 | USD | mean over seeds, compute of a trial; NaN without a price
    robust_auroc_n | int64 | | seeds with a defined robust AUROC on test
    robust_auroc_undefined | int64 | | finished seeds where it is NaN
    robust_auroc_mean | float64 | | mean over seeds
    robust_auroc_sd | float64 | | standard deviation over seeds, ddof = 1
    robust_auroc_low | float64 | | lower 95 % limit for new seeds and new patients; NaN without one
    robust_auroc_high | float64 | | upper 95 % limit, likewise
    robust_auroc_min | float64 | | smallest over seeds
    robust_auroc_max | float64 | | largest over seeds
    auroc_n | int64 | | seeds with a defined AUROC on test
    auroc_mean | float64 | | mean over seeds
    auroc_sd | float64 | | standard deviation over seeds, ddof = 1
    auroc_low | float64 | | lower 95 % limit for new seeds and new patients; NaN without one
    auroc_high | float64 | | upper 95 % limit, likewise
    auroc_min | float64 | | smallest over seeds
    auroc_max | float64 | | largest over seeds
    dice_mean | float64 | | mean Dice on test over seeds; NaN for classifiers
    gap_mean | float64 | | mean over seeds of AUROC minus robust AUROC on test
    on_frontier | bool | | no other cell that learned costs no more and scores no less, one strictly
    frontier_share | float64 | | share of its seeds in which the cell is on that seed's frontier
    gpu_hours | float64 | h | wall time of finished trials on a GPU (a shared GPU counts in full)
    cpu_hours | float64 | h | wall time of finished trials without a GPU
    robust_auroc_interval | string | | two-sided, at least or at most (exact bounds), or none
    robust_auroc_reason | string | | why there is no interval; null where there is one
    auroc_interval | string | | likewise of the overall AUROC
    auroc_reason | string | | likewise
    unlearned | string | | why the cell is not named as an answer; null where it may be
    frontier_probability | float64 | | P(on the frontier), from draws of all cells; else NaN
    best_probability | float64 | | P(highest robust AUROC), from the same draws
    non_inferior_probability | float64 | | P(at most `select.margin` below the best cell), likewise
    expected_regret | float64 | | expected robust AUROC that the best cell has more, likewise
""")

REPORT_ATTAINMENT = parse_columns("""
    schema_version | int64 | | version of this schema
    dollars | float64 | USD | a sum: the cost of a ranked cell
    attained_low | float64 | | highest robust AUROC of cells that cost no more, 2.5 % of draws below
    attained_median | float64 | | likewise, half of the draws below
    attained_high | float64 | | likewise, 97.5 % of the draws below
    specificity | string | | of a cell that costs no more: label, box, box=image, mask or r=N
    budget | string | | likewise: annotated training images asked for, or all
    method | string | | likewise: training method
    best_probability | float64 | | P(highest robust AUROC of cells that cost no more); above 0
    expected_regret | float64 | | expected robust AUROC that the best of these cells has more
""")

REPORT_METRICS = parse_columns("""
    schema_version | int64 | | version of this schema
    trial_id | string | | the trial
    specificity | string | | label, box, box=image, mask or r=N
    budget | string | | annotated training images asked for, or all
    method | string | | training method
    seed | int64 | | seed
    epoch | int64 | | chosen epoch, from 1
    split | string | | train, val or test
    metric | string | | name of the metric; the page says what each means
    attribute | string | | spurious attribute of the metric; null for none, or all together
    value | float64 | | the metric; NaN where undefined
    unit | string | | unit of the value
    better | string | | higher, lower or neither
    n_y0_s0 | int64 | images | label 0 without the attribute (metrics of one attribute only)
    n_y0_s1 | int64 | images | label 0 with the attribute
    n_y1_s0 | int64 | images | label 1 without the attribute
    n_y1_s1 | int64 | images | label 1 with the attribute
""")

REPORT_EXPLANATIONS = parse_columns("""
    schema_version | int64 | | version of this schema
    trial_id | string | | the trial
    specificity | string | | label, box, box=image, mask or r=N
    budget | string | | annotated training images asked for, or all
    method | string | | training method
    seed | int64 | | seed
    robust_auroc | float64 | | robust AUROC on test at the kept epoch, as the explanations
    explanation | string | | saliency, grad-cam or prediction, of the kept epoch
    region | string | | mask, box, or a spurious attribute
    images | int64 | images | test images that have a pixel of the region
    zeros | int64 | images | those of them whose map is zero everywhere, which have no share
    share | float64 | | mean share of the map's sum that lies in the region
    activation_precision | float64 | | mean share of the strongest 5 % of pixels, ties included
    pointing | float64 | | share of images whose map is highest in the region
    chance | float64 | | mean share of the image that the region covers
""")

REPORT_SEARCH = parse_columns("""
    schema_version | int64 | | version of this schema
    specificity | string | | of the sweep's cell
    budget | string | | likewise
    method | string | | likewise, without what was searched
    number | int64 | | place of the configuration in the cell's search, from 0
    options | string | | JSON: searched options with their values
    trial_ids | string | | its trials, one per seed of the search, separated by spaces
    state | string | | finished, stopped (early), failed (no value), or waiting (no result yet)
    value | float64 | | metric on validation, mean over seeds; of a stopped one at its last epoch
    dollars | float64 | USD | annotation, where dollars are searched for, too; else NaN
    stopped_at | int64 | | epoch after which it was stopped; else null
    best | bool | | whether no other configuration is better in every metric
    chosen | bool | | whether the cell's trials have these options
""")

REPORT_PUBLISHED = parse_columns("""
    schema_version | int64 | | version of this schema
    table | string | | the paper's table, PAPER/TABLE
    published_dataset | string | | dataset of the published number
    rule | string | | rule that chose the epochs of both numbers; null for the report's own
    metric | string | | metric, by its name in the epochs table
    specificity | string | | of the sweep's cell, or of the paper's where only that has it
    budget | string | | likewise; null where the number is of any
    method | string | | likewise; null where the number is of any
    counterpart | string | | both, or which side alone has the cell: sweep or paper
    published_mean | float64 | | as printed; NaN where the paper states an order alone, or nothing
    published_sd | float64 | | as printed, over seeds; NaN where none is
    published_seeds | int64 | | training runs behind mean and SD; null where not told
    published_rank | int64 | | place in an order without numbers, 1 for the lowest; else null
    note | string | | where the paper contradicts the number; else null
    measured_n | int64 | | seeds with a defined value
    measured_mean | float64 | | mean over seeds
    measured_sd | float64 | | standard deviation over seeds, ddof = 1
    measured_low | float64 | | lower 95 % limit: of AUROCs for new seeds and patients, else of seeds
    measured_high | float64 | | upper 95 % limit, likewise
    difference | float64 | | measured minus published mean
""")


_BY_ATTRIBUTE = tuple(
    Column(
        f"{split}_robust_auroc_NAME", "float64", "probability", f"robust AUROC of NAME on {words}"
    )
    for split, words in (("val", "validation"), ("test", "test"))
)
REPORT_TABLES = {
    "cells": TableDescription("a cell of the plan", REPORT_CELLS),
    "attainment": TableDescription(
        "a sum of dollars, and a cell that may be the best for it", REPORT_ATTAINMENT
    ),
    "chosen_epochs": TableDescription(
        "a finished trial at the epoch that the report's rule chose", REPORT_TRIALS, _BY_ATTRIBUTE
    ),
    "metrics": TableDescription("a metric of a trial at the chosen epoch", REPORT_METRICS),
    "published": TableDescription(
        "a number of a paper, and its counterpart here", REPORT_PUBLISHED, only="with `published`"
    ),
    "explanation_means": TableDescription(
        "the mean of a trial's maps of one kind in one region",
        REPORT_EXPLANATIONS,
        only="with `explanations: true`",
    ),
    "comparison": TableDescription(
        "a metric of a purchase in two sweeps",
        REPORT_COMPARISON,
        only="that are compared, by `sweeps report FIRST SECOND`",
    ),
    "subgroups": TableDescription(
        "a purchase that is shown, in a subgroup of test images by a covariate",
        REPORT_SUBGROUPS,
        only="on datasets with covariates",
    ),
    "search": TableDescription(
        "a configuration that a search tried", REPORT_SEARCH, only="with `search`"
    ),
}
"""Every Parquet file of a report, by its name; no table of `pull` has the same name."""


def specificity_order(specificity: Specificity) -> tuple[int, int]:
    """Sort from coarse to fine: label, box=image, box, r = 1, 2, ..., mask."""
    if specificity.kind == "r":
        return len(_FIXED), specificity.r or 0
    return (len(_FIXED) + 1 if specificity == _MASK else _FIXED.index(specificity)), 0


def budget_order(budget: Budget) -> float:
    """Sort budgets by their number of images, `all` last."""
    return math.inf if budget.images is None else budget.images
