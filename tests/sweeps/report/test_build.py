"""The report's page and files."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from report_tables import (
    PLANTED,
    Made,
    evidence,
    failures,
    report_input,
    small,
    tables,
    with_scores,
)

from spurious.config.options import Prices
from spurious.scoring.selection import parse_rule
from sweeps.errors import ResultError
from sweeps.report.answer import answer
from sweeps.report.build import build_report
from sweeps.report.explore import script
from sweeps.report.tables import (
    REPORT_ATTAINMENT,
    REPORT_CELLS,
    REPORT_TRIALS,
    ReportInput,
)


@pytest.fixture(scope="module")
def made() -> Made:
    """Labels, boxes and masks on 600 and on all images, three seeds each."""
    return small()


def page_of(given_: ReportInput, out: Path) -> str:
    """The page's HTML."""
    return build_report(given_, out).page.read_text()


def test_files_are_written_and_named(made: Made, tmp_path: Path) -> None:
    """These files, nothing else, and the Parquet tables hold what the page shows."""
    files = build_report(report_input(made), tmp_path / "new" / "report")
    found = sorted(path.name for path in (tmp_path / "new" / "report").iterdir())
    assert found == [
        "attainment.parquet",
        *("cells.parquet", "chosen_epochs.parquet", "frontier.pdf", "frontier.png"),
        *("frontier.svg", "metrics.parquet", "purchases.tex", "report.html", "report.md"),
    ]
    table = pd.read_parquet(files.cells)
    priced, expected = tables(made)
    np.testing.assert_allclose(table["robust_auroc_mean"], expected["robust_auroc_mean"])
    assert pd.read_parquet(files.trials)["dollars"].tolist() == priced["dollars"].tolist()


def test_same_input_in_any_order_gives_the_same_bytes(made: Made, tmp_path: Path) -> None:
    """The order of rows in the input tables and in the plan changes no byte of the report."""
    shuffled = Made(
        made.trials.sample(frac=1, random_state=1),
        made.epochs.sample(frac=1, random_state=2),
        made.failures,
        tuple(reversed(made.planned)),
    )
    one = build_report(report_input(made), tmp_path / "one")
    other = build_report(report_input(shuffled), tmp_path / "other")
    for name in ("cells", "attainment", "trials", "figure", "page", "text"):
        assert getattr(one, name).read_bytes() == getattr(other, name).read_bytes(), name


def test_text_from_outside_is_escaped(made: Made, tmp_path: Path) -> None:
    """Markup in a sweep name, spec, failure message or node stays text."""
    attack = "<script>alert(1)</script>"
    given_ = report_input(
        replace(
            made,
            trials=made.trials.iloc[1:],
            failures=failures(
                [{"trial_id": made.trials["trial_id"].iloc[0], "message": attack, "node": attack}]
            ),
        )
    )
    provenance = replace(given_.provenance, sweep=attack, spec_text=attack, dataset=attack)
    page = page_of(replace(given_, provenance=provenance), tmp_path)
    assert attack not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 5


def test_markdown_has_every_purchase_and_its_tables_stay_whole(made: Made, tmp_path: Path) -> None:
    """A row per cell with both intervals as in cells.parquet; foreign text breaks no table."""
    given_ = report_input(made)
    provenance = replace(given_.provenance, sweep="a|b\n<i>c</i>")
    files = build_report(replace(given_, provenance=provenance), tmp_path)
    lines = files.text.read_text().splitlines()
    assert lines[0] == r"# a\|b \<i\>c\</i\>"
    head = lines.index(next(line for line in lines if line.startswith("| annotation |")))
    rows = list(itertools.takewhile(lambda line: line.startswith("|"), lines[head + 2 :]))
    cells = pd.read_parquet(files.cells)
    assert len(rows) == len(cells)
    for row, cell in zip(rows, cells.to_dict("records"), strict=True):
        shown = [part.strip() for part in row.strip("|").split("|")]
        assert shown[4:6] == [
            f"{cell[f'{name}_mean']:.3f} ({cell[f'{name}_low']:.3f} to {cell[f'{name}_high']:.3f})"
            for name in ("robust_auroc", "auroc")
        ]
        assert shown[2] == cell["method"]
        assert shown[7] == ("yes" if cell["on_frontier"] else "no")
        share = cell["frontier_probability"]
        limit = "below 0.01" if 0 < share < 0.005 else "above 0.99"
        assert shown[8] == (limit if 0 < share < 0.005 or 0.995 <= share < 1 else f"{share:.2f}")


def test_page_is_self_contained(made: Made, tmp_path: Path) -> None:
    """One script, which the policy names by its hash; nothing is loaded but figures inside it."""
    page = page_of(report_input(made), tmp_path)
    assert re.findall(r"<script([^>]*)>", page) == [' type="application/json" id="data"', ""]
    assert f"<script>{script()}</script>" in page
    digest = base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in page
    assert len(script().splitlines()) <= 400
    assert re.findall(r"""(?:src|href)=["'](?!data:image/png;base64,|#)""", page) == []
    assert "://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "url(" not in page
    assert "default-src &#39;none&#39;" in page
    assert "prefers-color-scheme: dark" in page


def test_page_says_what_it_must(made: Made, tmp_path: Path) -> None:
    """Answer, alt text, prices, groups, spec, digest and file names are on the page."""
    planted = with_scores(made, PLANTED)
    page = page_of(report_input(planted, prices=replace(Prices(), mask=37.5)), tmp_path)
    _, table, rests_on = evidence(planted, prices=replace(Prices(), mask=37.5))
    for expected in (
        answer(table, rests_on, 0.02),
        'alt="Scatter plot of robust AUROC against annotation cost',
        "37.5",
        "80 *",
        "dataset: siim-acr",
        made.trials["dataset_digest"].iloc[0],
        "cells.parquet",
        "None is missing: every planned trial has a result.",
        "the epoch that each trial kept",
        "torch 2.13.0",
    ):
        assert expected in page, expected
    assert "ORACLE" not in page


def test_page_marks_oracles_and_unfinished_trials(made: Made, tmp_path: Path) -> None:
    """An oracle rule, a failure with class and message, a missing and an undefined trial show."""
    gone = made.trials["trial_id"].iloc[[0, 1]].tolist()
    failed = failures(
        [{"trial_id": gone[0], "failure_class": "out_of_memory", "message": "CUDA: no room"}]
    )
    partial = replace(
        made, trials=made.trials[~made.trials["trial_id"].isin(gone)], failures=failed
    )
    page = page_of(report_input(partial, rule=parse_rule("best test.dice")), tmp_path)
    for expected in (
        "ORACLE, reads the test split.",
        "out_of_memory",
        "CUDA: no room",
        gone[0],
        "Missing trials",
        "the metric is NaN or absent in all 8 epochs",
        "22 of 24 trials finished",
    ):
        assert expected in page.replace("&#39;", "'"), expected


def test_no_finished_trial_says_so(made: Made, tmp_path: Path) -> None:
    """Nothing committed: an error that says what to do, and no file."""
    with pytest.raises(ResultError, match=r"no finished trial yet \(24 planned, 0 failed\)"):
        build_report(report_input(replace(made, trials=made.trials.iloc[:0])), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_failed_write_leaves_nothing_behind(made: Made, tmp_path: Path) -> None:
    """A file that cannot be put in place leaves no half-written one; a later try succeeds."""
    in_the_way = tmp_path / "report.html"
    in_the_way.mkdir()
    with pytest.raises(OSError, match=r"report\.html"):
        build_report(report_input(made), tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    in_the_way.rmdir()
    assert build_report(report_input(made), tmp_path).page.read_text().endswith("</html>")


GOLDEN_TRIALS = """schema_version int64|trial_id string|attempt string|dataset string|
dataset_digest string|specificity string|budget string|balance string|method string|model string|
seed int64|rule string|epoch int64|undefined string|val_auroc double|val_robust_auroc double|
val_dice double|test_auroc double|test_robust_auroc double|test_dice double|
training_dollars double|spurious_label_dollars double|validation_dollars double|
compute_dollars double|dollars double|
seconds_total double|device string|training string|test_robust_auroc_tube double|
val_robust_auroc_tube double"""
GOLDEN_CELLS = """schema_version int64|dataset string|dataset_digest string|specificity string|
budget string|balance string|method string|oracle bool|model string|seeds_planned int64|
seeds_done int64|
seeds_failed int64|complete bool|dollars_mean double|dollars_min double|dollars_max double|
training_dollars double|spurious_label_dollars double|validation_dollars double|
compute_dollars double|
robust_auroc_n int64|robust_auroc_undefined int64|robust_auroc_mean double|robust_auroc_sd double|
robust_auroc_low double|robust_auroc_high double|robust_auroc_min double|robust_auroc_max double|
auroc_n int64|auroc_mean double|auroc_sd double|auroc_low double|auroc_high double|
auroc_min double|auroc_max double|dice_mean double|gap_mean double|on_frontier bool|
frontier_share double|gpu_hours double|cpu_hours double|robust_auroc_interval string|
robust_auroc_reason string|auroc_interval string|auroc_reason string|unlearned string|
frontier_probability double|best_probability double|
non_inferior_probability double|expected_regret double"""

GOLDEN_ATTAINMENT = """schema_version int64|dollars double|attained_low double|
attained_median double|attained_high double|specificity string|budget string|method string|
best_probability double|expected_regret double"""


def test_schemas_are_golden(made: Made, tmp_path: Path) -> None:
    """The Parquet columns are these; changing them means a new REPORT_SCHEMA_VERSION."""
    files = build_report(report_input(made), tmp_path)
    for path, golden in (
        (files.trials, GOLDEN_TRIALS),
        (files.cells, GOLDEN_CELLS),
        (files.attainment, GOLDEN_ATTAINMENT),
    ):
        schema = pq.read_schema(path)
        found = [f"{field.name} {field.type}" for field in schema]
        assert found == golden.replace("\n", "").split("|")
    assert all(column.meaning for column in (*REPORT_TRIALS, *REPORT_CELLS, *REPORT_ATTAINMENT))


def test_importing_is_light() -> None:
    """The entry point loads no heavy library, and no module of the report loads Ray or torch."""
    script = (
        "import sys, sweeps.report.build as b\n"
        "heavy = {'pandas', 'matplotlib', 'jinja2', 'scipy', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "import sweeps.report.page, sweeps.report.figure\n"
        "bad = {'torch', 'ray', 'boto3', 'optuna', 'matplotlib.pyplot'} & set(sys.modules)\n"
        "bad |= {name for name in sys.modules if name.startswith('cluster.')}\n"
        "bad -= {'cluster.common', 'cluster.common.wording'}  # numbers in messages\n"
        "assert not bad, bad\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
