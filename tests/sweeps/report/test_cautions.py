"""What trials noted about their training stands beside the report's answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from report_tables import EPOCHS_TRAINED, Made, make, plan, report_input, tables

from sweeps.report.build import build_report
from sweeps.report.cautions import MEANINGS, NO_ERRORS, cautions
from sweeps.report.epochs import Epochs
from sweeps.report.soundness import find_events


def noted(made: Made, metric: str, value: float = 1.0, **only: Any) -> Made:
    """The same tables where the trials of a cell, a seed or a method noted something."""
    mine = made.trials
    for column, wanted in only.items():
        mine = mine[mine[column] == wanted]
    rows = pd.DataFrame({"trial_id": mine["trial_id"], "attempt": mine["attempt"]})
    rows = rows.assign(
        schema_version=1, epoch=EPOCHS_TRAINED, split="train", metric=metric, value=value
    )
    return replace(made, epochs=pd.concat([made.epochs, rows.reindex(columns=made.epochs.columns)]))


def told(made: Made) -> list[str]:
    """The cautions of a report on these tables."""
    priced, cells = tables(made)
    epochs = Epochs.of(made.trials, made.epochs)
    return cautions(cells, priced, epochs, find_events(priced, epochs))


def test_trials_whose_method_could_not_do_its_part_are_named() -> None:
    """Per method: how many trials, and which purchases; nothing where all is well."""
    made = make(plan(("label", "mask"), methods=("erm", "jtt", "group-dro")))
    assert told(made) == told(noted(made, "absent_groups", value=0.0)) == []
    some = noted(made, "jtt_wrong_classes", method="jtt", budget="1100", seed=1)
    some = noted(some, "jtt_wrong_classes", method="jtt", budget="600")
    some = noted(some, "absent_groups", method="group-dro")
    assert told(some) == [
        "group-dro, 24 of 24 trials (labels on 600 images; labels on 1,100 images; labels on "
        "2,200 images; labels on all images; 4 more): " + MEANINGS["absent_groups"] + ".",
        "jtt, 4 of 12 trials (labels on 600 images; labels on 1,100 images): "
        + MEANINGS["jtt_wrong_classes"]
        + ".",
    ]


def test_steering_by_nothing_is_told() -> None:
    """With how many trials and which purchases; a method that steers is trained on labels then."""
    made = make(plan(("mask",), methods=("erm", "gradmask")))
    assert told(made) == []
    some = noted(made, "covering_regions", value=21.0, method="gradmask", seed=0)
    [sentence] = told(some)
    assert sentence.startswith("gradmask, 4 of ")
    assert sentence.endswith("outside them and it is ERM on labels there.")


def test_a_first_model_without_errors_is_told() -> None:
    """Only where no class has any; a class without errors beside another with some is usual."""
    made = make(plan(("label",), methods=("jtt",)))
    made = noted(made, "jtt_errors_y0", value=3.0, budget="600")
    made = noted(made, "jtt_errors_y0", value=0.0, budget="1100")
    made = noted(made, "jtt_errors_y1", value=0.0)
    assert told(replace(made, epochs=made.epochs[made.epochs["metric"] != "jtt_errors_y0"])) == [
        f"jtt, 12 of 12 trials (labels on 600 images; labels on 1,100 images; labels on 2,200 "
        f"images; labels on all images): {NO_ERRORS}."
    ]
    [sentence] = told(made)
    assert sentence.startswith("jtt, 9 of 12 trials (labels on 1,100 images; labels on 2,200")


def test_other_attempts_say_nothing_and_the_page_prints_the_rest(tmp_path: Path) -> None:
    """An attempt that lost the commit may have noted what the committed one did not."""
    made = make(plan(("label",), methods=("jtt",)))
    made = noted(made, "jtt_wrong_classes", budget="600")
    other = made.epochs.assign(attempt="lost")
    assert told(replace(made, epochs=pd.concat([made.epochs, other]))) == told(made)
    files = build_report(report_input(made), tmp_path)
    for path in (files.page, files.text):
        assert "jtt, 3 of 12 trials (labels on 600 images): nearly all images" in path.read_text()
