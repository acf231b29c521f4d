"""`sweeps export`: write a trial's kept model as one file."""

from __future__ import annotations

import shlex
from pathlib import Path

from cluster.common.atomic import write_atomic
from sweeps.commands.context import (
    SpecSource,
    choose_store_url_of,
    open_results,
    read_spec_and_plan,
    store_session,
)
from sweeps.commands.output import note, print_json


def export(
    source: SpecSource,
    store_url: str | None,
    cell: str,
    seed: int | None,
    out: Path | None,
    *,
    as_json: bool = False,
) -> int:
    """Write the model of a cell and seed, by default to NAME-CELL-sSEED.safetensors.

    Raises:
        SweepError: no such cell or seed, no result, or no model was kept.
    """
    from sweeps.catalogue.exported.choose import find_trial
    from sweeps.catalogue.exported.export import export_model

    with store_session(choose_store_url_of(source, store_url)) as store:
        reader = open_results(store)
        spec, plan = read_spec_and_plan(source, reader)
        trial = find_trial(plan, cell, seed)
        data = export_model(spec, plan, trial, reader)
        url = store.url
    path = out or Path(f"{spec.name}-{trial.label}.safetensors")
    write_atomic(path, data, mode=0o644)
    if as_json:
        names = {"sweep": spec.name, "store": url, "trial": trial.id, "label": trial.label}
        print_json({**names, "path": str(path), "size_bytes": len(data)})
        return 0
    print(f"{path}: {trial.label} {trial.id}, {len(data) / 1e6:,.1f} MB")
    dataset = f"{trial.dataset}@{trial.dataset_digest[:12]}"
    options = [] if store_url is None else ["--store", store_url]
    command = shlex.join(["sweeps", "evaluate", str(path), dataset, *options])
    note(f"next: {command}  # or any other staged dataset")
    return 0
