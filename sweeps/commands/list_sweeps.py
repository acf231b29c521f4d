"""`sweeps list`: the sweeps that a store knows by name."""

from __future__ import annotations

from dataclasses import asdict

from sweeps.commands.context import choose_store_url, store_session
from sweeps.commands.output import note, print_json


def show_sweeps(store_url: str | None, *, as_json: bool = False) -> int:
    """Print the named sweeps of a store, a line each."""
    from sweeps.catalogue.sweep_list import list_sweeps

    with store_session(choose_store_url(store_url)) as store:
        sweeps, url = list_sweeps(store), store.url
    if as_json:
        print_json({"store": url, "sweeps": [asdict(sweep) for sweep in sweeps]})
        return 0
    if not sweeps:
        note(f"store {url} has no sweep yet; run one: sweeps run SPEC.yaml")
        return 0
    wide = max(len("sweep"), *(len(sweep.name) for sweep in sweeps)) + 2
    of = max(len("dataset"), *(len(sweep.dataset) for sweep in sweeps)) + 2
    print(f"{'sweep':<{wide}}{'dataset':<{of}}{'cells':>6}{'done':>16}  {'last result':<26}report")
    for sweep in sweeps:
        done = f"{sweep.done:,} of {sweep.trials:,}"
        print(
            f"{sweep.name:<{wide}}{sweep.dataset:<{of}}{sweep.cells:>6}{done:>16}  "
            f"{sweep.last_result_at or 'none yet':<26}{'yes' if sweep.has_report else 'no'}"
        )
    return 0
