"""`sweeps report FIRST SECOND`: how the purchases of one sweep differ from those of another."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sweeps.commands.context import (
    SpecSource,
    choose_store_url_of,
    note_damaged,
    open_results,
    read_spec_and_plan,
    store_session,
)
from sweeps.commands.output import note, print_json
from sweeps.commands.report import read_report_input
from sweeps.driver.progress import count_progress, make_console
from sweeps.errors import ResultError


def compare(
    first: SpecSource,
    second: SpecSource,
    store_url: str | None,
    out: Path | None,
    *,
    as_json: bool = False,
) -> int:
    """Write the files of a comparison here.

    Raises:
        ResultError: a sweep has no finished trial.
    """
    from sweeps.report.comparison.build import build_comparison

    inputs = []
    with store_session(choose_store_url_of(first, store_url)) as store:
        reader = open_results(store)
        for source in (first, second):
            spec, plan = read_spec_and_plan(source, reader)
            note_damaged(plan, source, store_url)
            if not plan.done:
                raise ResultError(
                    f"sweep '{spec.name}' has no finished trial in {store.url}; run it first: "
                    f"sweeps run {source.target}"
                )
            inputs.append(read_report_input(spec, plan, reader))
        url = store.url
    sweeps = [each.provenance.sweep for each in inputs]
    folder = out or Path(f"{sweeps[1]}-against-{sweeps[0]}")
    created_at = datetime.now(UTC).isoformat(timespec="seconds")
    with count_progress("writing the comparison", "steps", make_console()) as progress:
        files = build_comparison(inputs[0], inputs[1], folder, created_at, progress)
    if as_json:
        answer = {"answer": files.answer, "caveats": list(files.caveats)}
        paths = {"page": str(files.page), "paths": [str(path) for path in files.paths]}
        print_json({"sweep": sweeps[0], "against": sweeps[1], "store": url, **paths, **answer})
        return 0
    for path in files.paths:
        print(path)
    note(files.answer)
    note(f"page: {files.page.absolute().as_uri()}")
    return 0
