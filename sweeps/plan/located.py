"""What a plan says where trials are to explain, and pixels of spurious features are not known."""

from __future__ import annotations

from cluster.datasets.manifest import Manifest
from cluster.stores.base import Store
from sweeps.spec.model import GeneratorDataset, Spec


def explaining_notes(spec: Spec, store: Store, manifest: Manifest) -> tuple[str, ...]:
    """Return sentences on spurious attributes that explanations cannot be measured on.

    None on a generator's dataset: `sweeps run` stages it again where its table lacks anything.
    """
    is_generated = isinstance(spec.dataset, GeneratorDataset)
    if not spec.explanations or is_generated or not manifest.attribute_names:
        return ()
    from cluster.datasets.image_table import list_unlocated, read_image_table  # imports pyarrow

    table = read_image_table(store, manifest)
    if table is None:
        return (
            f"explanations: dataset '{manifest.name}' has no readable table of its images, which "
            "has the pixels of spurious features, and trials that explain fail without it: stage "
            "it again, which adds it and keeps the digest",
        )
    if not (names := list_unlocated(table)):
        return ()
    return (
        f"explanations: no pixels of {' and '.join(names)} are known in this dataset's table of "
        "images, so that explanations are not measured on them; datasets that know them "
        "(CANDID-PTX, CheXlocalize) get them by staging again, which keeps the digest",
    )
