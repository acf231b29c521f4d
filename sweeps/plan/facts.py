"""What a plan needs to know of a dataset, and the plan against a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np

from cluster.datasets.image_counts import ImageCounts, read_image_counts
from cluster.datasets.manifest import Manifest, find_manifest
from cluster.errors import Corrupt, NotFound
from cluster.stores.base import Store
from spurious.data.attributes import measure_direction
from spurious.data.records import SplitTable
from spurious.data.splits import SPLITS
from spurious.generators import open_generator
from spurious.scoring.annotations import COUNTED, ImageFacts
from spurious.scoring.groups import count_groups
from sweeps.errors import PlanError
from sweeps.plan.exemplars import (
    list_generated_ids,
    read_staged_ids,
    refuse_unknown_exemplars,
)
from sweeps.plan.identity import generator_digest
from sweeps.plan.located import explaining_notes
from sweeps.plan.plan import DatasetFacts, Plan, make_plan
from sweeps.results.checking import check_results
from sweeps.results.reader import ResultReader
from sweeps.results.schemas import DIVERGED
from sweeps.results.tables import read_failures
from sweeps.spec.model import GeneratorDataset, Spec
from sweeps.spec.stored import read_fits, weights_key


def facts_of(manifest: Manifest, images: Mapping[str, ImageCounts] | None = None) -> DatasetFacts:
    """Take from a manifest what planning needs, with the counts per image where there are any."""
    return DatasetFacts(
        name=manifest.name,
        digest=manifest.digest,
        image_shape=manifest.image_shape,
        counts={
            split: {
                "n": c.n,
                "positives": c.positives,
                "abnormalities": c.abnormalities,
                "negative_abnormalities": c.negative_abnormalities,
                **({} if c.drawn is None else asdict(c.drawn)),
            }
            for split, c in manifest.splits.items()
        },
        attributes=manifest.attribute_names,
        unlabelled={
            split: {name: of.y0_unknown + of.y1_unknown for name, of in c.cells.items()}
            for split, c in manifest.splits.items()
        },
        dtype=manifest.dtype,
        images=None if images is None else _image_facts(manifest, images),
        synthetic=manifest.synthetic,
        groups={split: c.cells for split, c in manifest.splits.items()},
        directions={attribute.name: attribute.direction for attribute in manifest.attributes},
        mask_of=manifest.mask_of,
        classes={
            split: dict(zip((each.name for each in manifest.classes), c.classes, strict=True))
            for split, c in manifest.splits.items()
            if c.classes is not None
        },
        positive_classes=tuple(each.name for each in manifest.classes if each.positive),
    )


def _image_facts(manifest: Manifest, images: Mapping[str, ImageCounts]) -> ImageFacts:
    return ImageFacts(
        digest=manifest.digest,
        labels={split: np.array(images[split].labels, np.int64) for split in COUNTED},
        abnormalities={split: np.array(images[split].abnormalities, np.int64) for split in COUNTED},
        attributes=len(manifest.attribute_names),
        drawn={split: np.array(images[split].drawn, np.uint8) for split in COUNTED}
        if manifest.is_partial
        else None,
        mask_of=manifest.mask_of,
    )


def generator_facts(dataset: GeneratorDataset) -> DatasetFacts:
    """Return the facts of a generator's dataset before it is staged, as staging will find them."""
    source = open_generator(dataset.name, dataset.options)
    digest = generator_digest(dataset.name, dataset.options)
    side = getattr(dataset.options, "image_size", None)
    tables = {split: source.split_table(split) for split in SPLITS}
    groups = {
        split: {
            name: count_groups(table.labels, table.attributes[:, column].astype(np.int8))
            for column, name in enumerate(source.attribute_names)
        }
        for split, table in tables.items()
    }
    return DatasetFacts(
        name=dataset.name,
        digest=digest,
        image_shape=None if side is None else (side, side, 1),
        counts={split: _count(table) for split, table in tables.items()},
        attributes=source.attribute_names,
        unlabelled={split: dict.fromkeys(source.attribute_names, 0) for split in SPLITS},
        dtype=dataset.options.DTYPE,
        images=ImageFacts(
            digest=digest,
            labels={split: tables[split].labels for split in COUNTED},
            abnormalities={split: tables[split].abnormalities for split in COUNTED},
            attributes=len(source.attribute_names),
        ),
        synthetic=f"generator {dataset.name}",
        groups=groups,
        directions={
            name: measure_direction(cells) or source.declared_directions[name]
            for name, cells in groups["train"].items()
        },
    )


def _count(table: SplitTable) -> Mapping[str, int]:
    positive = table.labels == 1
    return {
        "n": len(table.labels),
        "positives": int(positive.sum()),
        "abnormalities": int(table.abnormalities.sum()),
        "negative_abnormalities": int(table.abnormalities[~positive].sum()),
    }


def plan_on(spec: Spec, source: Store | ResultReader, *, verify: bool = True) -> Plan:
    """Return the plan against a store's datasets and results.

    Args:
        spec: The spec.
        source: The store, or a reader of its results.
        verify: Look at results, so that damaged ones are not done; else the list alone decides.
    """
    reader = ResultReader.of(source)
    store, listing = reader.store, reader.listing
    dataset = spec.dataset
    if isinstance(dataset, GeneratorDataset):
        digest = generator_digest(dataset.name, dataset.options)
        try:
            manifest = find_manifest(store, dataset.name, digest)
        except (NotFound, Corrupt) as error:
            state = "not staged yet" if isinstance(error, NotFound) else "damaged in the store"
            unknown = f"'{dataset.name}' is {state}; `sweeps run` stages it"
            plan = make_plan(spec, generator_facts(dataset), listing.trials.keys(), unknown)
            refuse_unknown_exemplars(plan, lambda: list_generated_ids(dataset))
            return check_plan(plan, reader, verify=verify)
    else:
        manifest = find_manifest(store, dataset.name, dataset.digest_prefix)
    facts = facts_of(manifest, read_image_counts(store, manifest))
    plan = make_plan(spec, facts, listing.trials.keys())
    plan = replace(plan, explaining=explaining_notes(spec, store, manifest))
    refuse_unknown_exemplars(plan, lambda: read_staged_ids(store, manifest))
    return check_plan(plan, reader, verify=verify)


def check_plan(plan: Plan, reader: ResultReader, *, verify: bool = True) -> Plan:
    """Return the plan without damaged results, and with what diverged; refuse unknown weights."""
    if verify:
        plan = _check_done(plan, reader)
        plan = replace(plan, diverged=_find_diverged(plan, reader))
    _check_weights(plan, reader.store)
    return plan


def _check_weights(plan: Plan, store: Store) -> None:
    """Refuse a plan whose missing trials begin from weights that are missing or do not fit.

    Raises:
        PlanError: they are not there, or are of another architecture as far as staging knows.
    """
    models = {trial.config.model for trial in (*plan.to_run, *plan.searched_next)}
    named = {m for m in models if getattr(m, "weights", None) is not None}
    for digest in sorted({model.weights for model in named}):
        if not store.exists(weights_key(digest)):
            raise PlanError(
                f"weights {digest} are not in {store.url}: stage them first, "
                "`sweeps stage weights FILE` or `sweeps stage weights hub:NAME`"
            )
    for model in sorted(named, key=lambda model: (model.weights, model.released)):
        fits = read_fits(store, model.weights)
        if fits is not None and model.released not in fits:
            shown = ", ".join(fits[:5]) + (f" and {len(fits) - 5} more" if len(fits) > 5 else "")
            raise PlanError(
                f"weights {model.weights} do not fit {model.released}: they fit {shown}; name one "
                "of these as the model, or see what is missing: "
                f"`sweeps stage weights FILE --for {model.released}`"
            )


def refresh_plan(plan: Plan, source: Store | ResultReader) -> Plan:
    """Return the plan with results that were committed or removed since it was made.

    Results that it counted as done were checked then and are not read again. A reader must be one
    that has listed nothing before.
    """
    reader = ResultReader.of(source)
    committed = reader.listing.trials.keys()
    checked = check_results(reader, {trial.id for trial in plan.missing} & committed)
    still_done = plan.done & committed
    refreshed = replace(
        plan.refreshed(still_done | checked.done),
        damaged=checked.damaged,
        unverified=(plan.unverified & still_done) | checked.unverified,
    )
    return replace(refreshed, diverged=_find_diverged(refreshed, reader))


def _find_diverged(plan: Plan, reader: ResultReader) -> frozenset[str]:
    """Find the trials without a result of which an attempt failed for good."""
    ids = {trial.id for trial in plan.missing}
    if not reader.listing.failures(ids):  # most plans have none: no table, no pandas
        return frozenset()
    failures = read_failures(reader, ids)
    columns = (failures.column(name).to_pylist() for name in ("trial_id", "failure_class"))
    return frozenset(key for key, kind in zip(*columns, strict=True) if kind == DIVERGED)


def _check_done(plan: Plan, reader: ResultReader) -> Plan:
    """Take those trials out of the plan's done ones whose result is damaged."""
    checked = check_results(reader, plan.done)
    return replace(
        plan.refreshed(checked.done), damaged=checked.damaged, unverified=checked.unverified
    )
