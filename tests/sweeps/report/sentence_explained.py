"""Claims of what models look at, of embeddings, and of searches."""

from __future__ import annotations

import json

from scipy import stats
from sentence_claims import claim, near, number, plural, record_of, same, table
from sentence_document import Table
from sentence_facts import Facts, noun

KINDS = {"Saliency": "saliency", "Grad-CAM": "grad-cam", "Predicted pixels": "prediction"}


@claim(
    r"(?P<kind>Saliency|Grad-CAM|Predicted pixels) in (?P<region>.+): rank correlation with robust "
    r"AUROC (?P<rho>\S+) over (?P<n>\d+ trials?), (?P<of>\S+) over the means of "
    r"(?P<cells>\d+ purchases?)\."
)
def correlation(f: Facts, kind: str, region: str, rho: str, n: str, of: str, cells: str) -> None:
    """Spearman's, over trials and over purchases."""
    own = f.raw.tables["explanation_means"]
    where = {"boxes": "box"}.get(region, region.removesuffix(" (spurious)"))
    mine = own[(own["explanation"] == KINDS[kind]) & (own["region"] == where)]
    mine = mine.dropna(subset=["share", "robust_auroc"])
    means = mine.groupby(["specificity", "budget", "method"])[["share", "robust_auroc"]].mean()
    for text, count, values, what in ((rho, n, mine, "trial"), (of, cells, means, "purchase")):
        same(count, plural(len(values), what))
        alike = len(values) < 3 or (values[["share", "robust_auroc"]].nunique() < 2).any()
        assert (text == "undefined") == alike, text
        if not alike:
            near(text, float(stats.spearmanr(values["share"], values["robust_auroc"])[0]), 1e-9)


@claim(
    r"(?P<n>[\d,]+) of (?P<all>[\d,]+ trials?) without explanations: finished before any "
    r"were asked "
    r"for, and not run again for it\."
)
def without(f: Facts, n: str, all: str) -> None:
    """So many have none."""
    explained = f.raw.others["explained"]
    known = set() if explained is None else set(explained["trial_id"])
    assert number(n) == sum(t.row["trial_id"] not in known for t in f.trials)
    same(all, plural(len(f.trials), "trial"))


@claim(
    r"(?P<n>\d+ trials?) of (?P<all>[\d,]+) measured no explanation on (?P<name>\S+): no pixels of "
    r"it were known of test images\."
)
def unlocated(f: Facts, n: str, all: str, name: str) -> None:
    """So many have no row of an attribute."""
    of = f.raw.tables["explanation_means"]
    trials = set(of["trial_id"])
    having = set(of.loc[of["region"] == name, "trial_id"])
    same(n, plural(len(trials - having), "trial"))
    assert number(all) == len(trials)


@claim(r"Each purchase: (?P<text>.+)\.")
def searched(f: Facts, text: str) -> None:
    """What was searched, word for word."""
    same(text, f.raw.others["search"])


def tries(f: Facts) -> dict[str, int]:
    """The most configurations that a cell of each method tried."""
    of: dict[str, int] = {}
    for search in f.raw.others["searches"]:
        of[search["method"]] = max(of.get(search["method"], 0), len(search["states"]))
    return of


@claim(r"Every method had the same budget of (?P<n>\d+ configurations?)\.")
def fair(f: Facts, n: str) -> None:
    """All tried as many."""
    assert {plural(count, "configuration") for count in tries(f).values()} == {n}


@claim(r"Methods were not searched with the same number of configurations: (?P<each>.+)\.")
def unfair(f: Facts, each: str) -> None:
    """Some tried more."""
    of = tries(f)
    assert len(set(of.values())) > 1
    same(each, ", ".join(f"{method} {n}" for method, n in of.items()))


@claim(r"(?P<n>\d+ purchases?) without a number, since the search is not over: (?P<names>.+)\.")
def not_over(f: Facts, n: str, names: str) -> None:
    """So many searches go on."""
    of = [s["key"] for s in f.raw.others["searches"] if not s["is_over"]]
    same(n, plural(len(of), "purchase"))
    parts = names.split("; ")
    if len(of) > 4:
        same(parts.pop(), f"{len(of) - 4} more")
    for part, key in zip(parts, of, strict=False):
        assert part.endswith(f"trained with {key[2]}"), part


@claim(r"Every configuration that was searched failed: (?P<names>.+)\.")
def all_failed(f: Facts, names: str) -> None:
    """They all did."""
    of = [s for s in f.raw.others["searches"] if s["is_over"] and s["chosen"] is None]
    of = [s for s in of if s["states"]]
    assert len(names.split("; ")) == len(of)
    assert all(set(s["states"]) <= {"failed"} for s in of)


def search_table(f: Facts, of: Table) -> None:
    """How many configurations of each cell ended how, and which was chosen."""
    assert len(of.rows) == len(f.raw.others["searches"])
    for row, search in zip(map(record_of, of.records()), f.raw.others["searches"], strict=True):
        same(row.get("buy", row.get("annotation")).main, noun(search["key"][0]))  # type: ignore[union-attr]
        same(row["method"].main, search["method"])
        states = search["states"]
        assert int(row["tried"].main) == len(states)
        for column, state in (
            ("finished", "finished"),
            ("stopped early", "stopped"),
            ("failed", "failed"),
        ):
            assert int(row[column].main) == states.count(state)
        value = search["value"]
        near(row["on validation"].main, float("nan") if value is None else value)
        if search["chosen"] is not None:
            for name, chosen in json.loads(search["values"]).items():
                assert f"{name} {chosen:g}" in row["chosen"].main, row["chosen"].main
        else:
            expected = "nothing: all failed" if search["is_over"] else "not over"
            same(row["chosen"].main, expected)


for buy in ("buy", "annotation"):
    table(buy, "images", "method", "chosen", "on validation", "tried")(search_table)
