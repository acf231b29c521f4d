"""Refuse examples that are named and are not training images, before anything trains."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cluster.datasets.manifest import Manifest
from cluster.stores.base import Store
from spurious.config.exemplars import Exbl
from spurious.generators import open_generator
from sweeps.errors import PlanError
from sweeps.plan.plan import Plan
from sweeps.spec.model import GeneratorDataset


@dataclass(frozen=True)
class ImageIds:
    """Ids of a dataset's images, ascending, and the split of each."""

    ids: Sequence[str]
    split_of: Callable[[str], str]


def refuse_unknown_exemplars(plan: Plan, read_ids: Callable[[], ImageIds | None]) -> None:
    """Refuse a plan with `good` or `bad` that is not the id of a training image.

    Args:
        plan: The plan.
        read_ids: Reads the dataset's ids, if any is named; None where they are not known before a
            trial opens the dataset, which then refuses them.

    Raises:
        PlanError: all of them at once.
    """
    named: dict[tuple[str, str], None] = {}  # ordered, without repeats
    for cell in plan.cells:
        options = cell.method.options
        if isinstance(options, Exbl) and options.named is not None:
            named |= dict.fromkeys(zip(("good", "bad"), options.named, strict=True))
    images = read_ids() if named else None
    if images is None or plan.facts is None:
        return
    problems = [text for option, name in named if (text := _find_problem(option, name, images))]
    if problems:
        raise PlanError(
            f"sweep '{plan.name}' does not fit dataset '{plan.facts.name}':\n  "
            + "\n  ".join(problems)
        )


def _find_problem(option: str, name: str, images: ImageIds) -> str | None:
    if name not in images.ids:
        nearest = difflib.get_close_matches(name, images.ids, n=1)
        hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
        return f"{option}: the dataset has no image '{name}'{hint}"
    if (split := images.split_of(name)) != "train":
        return f"{option}: image '{name}' is of {split}; expected the id of a training image"
    return None


def read_staged_ids(store: Store, manifest: Manifest) -> ImageIds | None:
    """Read the ids of a staged dataset; None where it was staged before they were kept apart."""
    from cluster.datasets.image_table import read_image_table  # imports pyarrow

    table = read_image_table(store, manifest)
    if table is None:
        return None
    ids = table.column("sample_id").to_pylist()
    splits: Mapping[str, str] = dict(zip(ids, table.column("split").to_pylist(), strict=True))
    return ImageIds(ids, splits.__getitem__)


def list_generated_ids(dataset: GeneratorDataset) -> ImageIds:
    """List the ids that a generator's dataset will have; asking for a split draws the image."""
    source = open_generator(dataset.name, dataset.options)
    return ImageIds(source.index(), lambda name: source.load(name).split)
