"""Refuse trials whose rule could choose no epoch: their first one would be kept whatever it is."""

from __future__ import annotations

from collections.abc import Mapping

from spurious.config.fields import SupervisionKind
from spurious.config.options import FitConfig
from spurious.scoring.choices import SplitFacts, find_obstacle
from spurious.scoring.selection import parse_rule
from sweeps.errors import PlanError
from sweeps.plan.plan import DatasetFacts, Plan


def refuse_impossible_choices(plan: Plan) -> None:
    """Refuse a plan with trials to run whose rule cannot choose an epoch on its dataset.

    Trials that have a result are left alone: reports mark them.

    Raises:
        PlanError: there are some; all reasons at once.
    """
    facts = plan.facts
    if facts is None or facts.counts is None:
        return
    problems: dict[str, None] = {}  # ordered, without repeats
    for trial in (*plan.to_run, *plan.searched_next):
        for option, obstacle in _obstacles(trial.config, facts, facts.counts):
            problems[f"{option} of {trial.cell}: {obstacle}; use {option}: last"] = None
    if problems:
        raise PlanError(
            f"sweep '{plan.name}' does not fit dataset '{facts.name}':\n  " + "\n  ".join(problems)
        )


def _obstacles(
    config: FitConfig, facts: DatasetFacts, counts: Mapping[str, Mapping[str, int]]
) -> list[tuple[str, str]]:
    """Return options with why the rule of each cannot choose."""
    obstacles = []
    for option, text in config.method.choices(config.train.keep).items():
        rule = parse_rule(text)
        if rule.split is None:
            continue
        of = counts[rule.split]
        on_negatives = of.get("negative_abnormalities", 0)
        is_lesion = config.negatives == "lesion"
        split = SplitFacts(
            n=of["n"],
            positives=of["positives"],
            drawn=_count_drawn(of, config.specificity.kind) + (on_negatives if is_lesion else 0)
            if facts.is_partial
            else of["abnormalities"] - (0 if is_lesion else on_negatives),
            groups=facts.groups.get(rule.split, {}),
            directions=facts.directions,
            classes=facts.classes.get(rule.split, {}),
        )
        needs_groups = bool(facts.attributes) and not split.groups
        obstacle = (
            None if rule.needs_spurious_labels and needs_groups else find_obstacle(rule, split)
        )
        if obstacle is not None:
            obstacles.append((option, f"'{rule}' cannot choose an epoch: {obstacle}"))
    return obstacles


def _count_drawn(of: Mapping[str, int], kind: SupervisionKind) -> int:
    """Regions that masks mark, or positive images with boxes, where only some images have them."""
    return of["boxes_y1"] if kind == "box" else of["regions_y1"]
