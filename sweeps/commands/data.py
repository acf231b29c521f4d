"""`sweeps data`: list, show, check and remove the datasets of a store."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cluster.common.atomic import open_atomic
from cluster.common.wording import count_of
from sweeps.catalogue.listing import find_dataset, iterate_datasets
from sweeps.commands.context import choose_store_url, store_session
from sweeps.commands.output import keep_stdout_for_json, note, print_json
from sweeps.errors import SweepError

_NO_DATASET = "no dataset is staged; docs/data.md says how: sweeps stage folder DIR, for instance"


def list_staged(store_url: str | None, *, as_json: bool = False) -> int:
    """Print every version of every dataset of a store."""
    from sweeps.catalogue.render import align

    with store_session(choose_store_url(store_url)) as store:
        listed = list(iterate_datasets(store))
        url = store.url
    documents: list[dict[str, Any]] = []
    rows = [["dataset", "images", "shape", "MB", "staged", "drawn by"]]
    for of in listed:
        label = f"{of.name}@{of.digest[:12]}"
        if of.manifest is None:
            rows.append([label, "damaged", "", "", "", ""])
            documents.append({"name": of.name, "digest": of.digest, "problem": of.problem})
            continue
        size = sum(entry.size_bytes for entry in of.manifest.shards)
        staged_at = of.manifest.provenance.get("staged_at", "")
        shape = "x".join(map(str, of.manifest.image_shape))
        synthetic = of.manifest.synthetic
        images, megabytes = f"{of.manifest.rows:,}", f"{size / 1e6:,.1f}"
        rows.append([label, images, shape, megabytes, staged_at[:10], synthetic or ""])
        documents.append(
            {
                "name": of.name,
                "digest": of.digest,
                "images": of.manifest.rows,
                "image_shape": list(of.manifest.image_shape),
                "size_bytes": size,
                "staged_at": staged_at or None,
                "synthetic": synthetic,
            }
        )
    if as_json:
        print_json({"store": url, "datasets": documents})
    elif listed:
        print("\n".join(align(rows)))
    else:
        note(f"{url}: {_NO_DATASET}")
    return 0


def show(
    label: str,
    store_url: str | None,
    *,
    sheet: Path | None = None,
    croissant: bool = False,
    as_json: bool = False,
) -> int:
    """Print what a dataset holds, and write a contact sheet where asked for."""
    from sweeps.catalogue.croissant import describe
    from sweeps.catalogue.image_facts import load_image_columns
    from sweeps.catalogue.overview import build_overview
    from sweeps.catalogue.render import render_overview
    from sweeps.catalogue.targets import measure_targets
    from sweeps.driver.progress import count_progress, make_console

    with store_session(choose_store_url(store_url)) as store:
        manifest = find_dataset(store, label)
        if croissant:
            print_json(describe(manifest, store.url))
            return 0
        with keep_stdout_for_json(as_json):
            columns = load_image_columns(store, manifest)
            text = f"reading {manifest.name}"
            with count_progress(text, "images", make_console()) as progress:
                targets = measure_targets(store, manifest, progress)
            overview = build_overview(manifest, columns, targets, store.url)
            if sheet is not None:
                from sweeps.catalogue.contact_sheet import draw_contact_sheet

                picture = draw_contact_sheet(store, manifest, columns)
                with open_atomic(sheet) as file:
                    picture.save(file, format="PNG")
                overview["contact_sheet"] = str(sheet)
        if as_json:
            print_json(overview)
        else:
            print(render_overview(overview))
            if sheet is not None:
                print(f"\ncontact sheet: {sheet}")
    return 0


def check(label: str, store_url: str | None, *, as_json: bool = False) -> int:
    """Read all of a dataset and compare it with its hashes.

    Returns:
        The exit status: 1 where anything is damaged.
    """
    from sweeps.catalogue.store_check.datasets import check_version
    from sweeps.driver.progress import count_progress, make_console

    with store_session(choose_store_url(store_url)) as store:
        name, _, prefix = label.partition("@")
        digests = [of.digest for of in iterate_datasets(store) if of.name == name]
        digests = [digest for digest in digests if digest.startswith(prefix)]
        if len(digests) != 1:
            digests = [find_dataset(store, label).digest]  # raises, with what there is
        console = make_console()
        with (
            keep_stdout_for_json(as_json),
            count_progress(f"checking {name}", "images", console) as progress,
        ):
            findings = list(
                check_version(store, name, digests[0], lambda _, done, total: progress(done, total))
            )
    if as_json:
        damage = [asdict(finding) for finding in findings]
        print_json({"name": name, "digest": digests[0], "damage": damage})
    else:
        for finding in findings:
            print(f"{finding.name}: {finding.problem}; costs: {finding.cost}")
        if not findings:
            print(f"{name}@{digests[0]}: every shard, count and table is as it was staged")
    return int(bool(findings))


def remove(label: str, store_url: str | None, *, yes: bool = False, as_json: bool = False) -> int:
    """Remove a version of a dataset; results on it stay.

    Raises:
        SweepError: nobody confirmed it.
    """
    from sweeps.catalogue.removal import plan_removal
    from sweeps.catalogue.removal import remove as remove_objects

    with store_session(choose_store_url(store_url)) as store:
        manifest = find_dataset(store, label)
        removal = plan_removal(store, manifest)
        full = f"{manifest.name}@{manifest.digest}"
        what = (
            f"{full}: {count_of(manifest.rows, 'image')}, "
            f"{count_of(1 + len(removal.keys), 'object')}, "
            f"{removal.size_bytes / 1e6:,.1f} MB of shards"
        )
        if removal.kept_shards:
            stay = "stays" if removal.kept_shards == 1 else "stay"
            kept = f"{count_of(removal.kept_shards, 'shard')} {stay}"
            what += f" ({kept}, since other versions have the same)"
        if not yes and not _confirm(what):
            raise SweepError(f"{full} was not removed; to remove it, add --yes")
        remove_objects(store, removal)
        if as_json:
            print_json(
                {
                    "name": manifest.name,
                    "digest": manifest.digest,
                    "objects": 1 + len(removal.keys),
                    "size_bytes": removal.size_bytes,
                }
            )
        else:
            print(f"removed {what}; results of sweeps on it stay")
    return 0


def _confirm(what: str) -> bool:
    """Ask at a terminal; elsewhere nobody can answer."""
    note(f"remove {what}")
    if not sys.stdin.isatty():
        return False
    return input("Type yes to remove it: ").strip().lower() == "yes"
