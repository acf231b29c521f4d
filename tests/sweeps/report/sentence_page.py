"""Claims of the page's other texts: what was run, by which rule, at which prices, by what."""

from __future__ import annotations

import json
import re
from collections import Counter

import yaml
from sentence_claims import CONSTANT, claim, money, near, number, plural, same
from sentence_facts import Facts, noun
from sentence_tables import hours

STATUS = (
    r"(?P<done>[\d,]+) of (?P<all>[\d,]+ trials?) finished, (?P<cells>\d+ purchases?) of "
    r"(?P<seeds>\d+ seeds?); (?P<hours>.+) hours\."
)


@claim(STATUS)
def status(f: Facts, done: str, all: str, cells: str, seeds: str, **said: str) -> None:
    """How many trials of how many purchases, and their wall time."""
    assert number(done) == len(f.trials)
    same(all, plural(len(f.raw.planned), "trial"))
    same(cells, plural(len(f.cells), "purchase"))
    same(seeds, plural(max(len(c.planned) for c in f.cells), "seed"))
    hours(said["hours"], f.cells)


@claim(r"(Dataset|What to buy for robust AUROC on) (?P<name>[^ ,]+?)(, digest (?P<digest>\w+))?\.")
def dataset(f: Facts, name: str, digest: str | None) -> None:
    """Which images."""
    row = f.trials[0].row
    same(name, row["dataset"])
    if digest:
        assert str(row["dataset_digest"]).startswith(digest)


@claim(r"Made (?P<at>\S+)\.")
def made(f: Facts, at: str) -> None:
    """When."""
    same(at, f.raw.others["created_at"])


@claim(r"(ORACLE, reads the test split\. )?(The epoch whose metrics count: )(?P<rule>.+)\.")
def rule(f: Facts, rule: str) -> None:
    """One rule for all, or each trial's own, with how many have it."""
    if f.raw.rule is not None:
        assert rule.startswith(f"'{f.raw.rule}', the same rule for every trial")
        return
    used = Counter(t.row["keep_rule"] for t in f.trials)
    of = ", ".join(f"'{name}' ({plural(n, 'trial')})" for name, n in sorted(used.items()))
    same(rule, f"the epoch that each trial kept, by its own rule: {of}")


@claim(r"ORACLE, reads the test split\.")
def oracle_rule(f: Facts) -> None:
    """The rule does."""
    assert f.raw.rule is not None
    assert f.raw.rule.startswith("best test.")


def axis_words(f: Facts) -> str:
    """What the dollar axis counts and what not."""
    words = {
        "training": "training annotation",
        "spurious_labels": "spurious labels",
        "validation": "validation annotation",
        "compute": "compute",
    }
    counted = [text for part, text in words.items() if part in f.raw.axis]
    left = [text for part, text in words.items() if part not in f.raw.axis]
    return " plus ".join(counted) + (f", without {' and '.join(left)}" if left else "")


@claim(
    r"(Cost is (?P<axis>.+)\.|The dollar axis is (?P<other>.+): counts times clicks "
    r"times seconds per "
    r"click times wage\.)"
)
def axis(f: Facts, axis: str | None, other: str | None) -> None:
    """What is counted."""
    same(axis or other or "", axis_words(f))


@claim(
    r"A cheaper purchase is named where the lower 95 % limit of its paired difference "
    r"to the best one is "
    r"above \N{MINUS SIGN}(?P<margin>\S+) \(select\.margin\); none where the best one's own "
    r"interval is wider than "
    r"0\.5\."
)
def margin(f: Facts, margin: str) -> None:
    """The margin in force."""
    assert float(margin) == f.raw.margin


@claim(
    r"It carries (?P<n>[\d,]+) draws of all ranked purchases(?P<few>, fewer than the "
    r"4,000 behind the "
    r"tables below)?\."
)
def carried(f: Facts, n: str, few: str | None) -> None:
    """As many as the page's data hold."""
    assert number(n) == f.raw.others["carried"]
    assert (few is not None) == (number(n) < 4000)


@claim(
    r"Scatter plot of robust AUROC against annotation cost in US dollars, one point for each of "
    r"(?P<n>\d+ purchases?)\."
)
def points(f: Facts, n: str) -> None:
    """Those with a robust AUROC."""
    same(n, plural(sum(bool(c.values("robust_auroc")) for c in f.cells), "purchase"))


@claim(r"The frontier from cheap to dear: (?P<points>.+)\.")
def front_points(f: Facts, points: str) -> None:
    """Each with dollars and AUROC."""
    front = sorted(f.front(), key=lambda c: c.dollars)
    parts = [] if points == "empty" else points.split("; ")
    assert len(parts) == len(front)
    seen = set()
    for part in parts:
        name, dollars, mean = re.fullmatch(r"(.+), (\$[\d.,]+), ([\d.]+)", part).groups()  # type: ignore[union-attr]
        cell = f.named[name]
        assert cell in front
        money(dollars, cell.dollars)
        near(mean, cell.robust.mean)
        seen.add(cell.key)
    assert len(seen) == len(front)


@claim(r"No purchase has a defined robust AUROC, so there is no frontier\.")
def no_defined(f: Facts) -> None:
    """None at all."""
    assert not any(c.values("robust_auroc") for c in f.cells)


@claim(r"No ranked purchase has a defined robust AUROC, so there is no frontier\.")
def no_front(f: Facts) -> None:
    """None that is ranked."""
    assert not f.front()


@claim(
    r"(?P<n>[\d,]+ trials?) of (?P<all>[\d,]+) (?P<verb>has|have) no stored "
    r"predictions at the epoch that "
    r"counts, which is neither the kept nor the last one, or (?P<whose>its|their) "
    r"predictions were "
    r"removed: what only predictions give is undefined there\."
)
def lacking(f: Facts, n: str, all: str, verb: str, whose: str) -> None:
    """So many have none."""
    count = sum(
        t.epoch is None
        or t.epoch not in set(f.raw.predictions.get(str(t.row["trial_id"]), {}).get("epoch", ()))
        for t in f.trials
    )
    same(n, plural(count, "trial"))
    assert number(all) == len(f.trials)
    same(verb, "has" if count == 1 else "have")
    same(whose, "its" if count == 1 else "their")


@claim(r"(?P<n>\d+ trials?) on (?P<device>[^:]+): (?P<versions>.+)", whole=True)
def software(f: Facts, n: str, device: str, versions: str) -> None:
    """Trials of one device and one set of versions."""
    of: Counter[tuple[str, str]] = Counter()
    for t in f.trials:
        parts = ", ".join(f"{k} {v}" for k, v in json.loads(t.row["versions"]).items())
        of[str(t.row["device"]), parts] += 1
    same(n, plural(of[device, versions], "trial"))


@claim(r"(?P<pairs>[a-z_]+(?:\.[a-z_]+)*=.+)", whole=True)
def overrides(f: Facts, pairs: str) -> None:
    """Every entry that was replaced, with its value as YAML."""
    known = f.raw.others["overrides"]
    names = "|".join(map(re.escape, known))
    parts = re.split(rf"(?:^| )({names})=", pairs)
    shown = dict(zip(parts[1::2], map(yaml.safe_load, parts[2::2]), strict=True))
    assert parts[0] == ""
    assert shown == known


def says_replaced(f: Facts) -> None:
    """Something was."""
    assert f.raw.others["overrides"]


CONSTANT["Entries of it that were replaced"] = says_replaced


@claim(r"(?P<name>\S+) (?P<digest>[0-9a-f]{64})", whole=True)
def digest(f: Facts, name: str, digest: str) -> None:
    """The dataset's."""
    same(name, f.trials[0].row["dataset"])
    same(digest, f.trials[0].row["dataset_digest"])


@claim(r"cells (?P<cells>\d+), trials (?P<trials>\d+)(?P<more>, .+)?", whole=True)
def plan(f: Facts, cells: str, trials: str, more: str | None) -> None:
    """Counts of the plan."""
    assert int(cells) == len(f.cells)
    assert int(trials) == len(f.raw.planned)
    done = re.search(r"done (\d+)", more or "")
    assert done is None or int(done[1]) == len(f.trials)


@claim(r"spurious-sweeps [\d.]+(, Python [\d.]+)?", whole=True)
def made_with(f: Facts) -> None:
    """The software that makes the report."""
    same(f.raw.others["made_with"]["spurious-sweeps"][:1], "0")


@claim(r"(?P<files>[\w-]+\.(?:parquet|png|svg|pdf|tex|md)(?:, [\w.-]+)+)", whole=True)
def files(f: Facts, files: str) -> None:
    """All files are there, and no other one."""
    assert set(files.split(", ")) == f.raw.others["files"] - {"report.html"}


@claim(
    r"Threshold: (?P<point>.+?)(; sensitivity and specificity are those of the test "
    r"images at that "
    r"threshold)?\."
)
def threshold(f: Facts, point: str) -> None:
    """How it was fixed."""
    same(point, f.raw.others["point"])


@claim(r"(?P<word>(?!saliency$)[a-z][\w-]*(?:\([^)]*\))?|boxes \(one per image\)|coarse masks)")
def named_word(f: Facts, word: str) -> None:
    """A legend's entry, or the sweep's name: something that is in the sweep."""
    kinds = {noun(c.key[0]).partition(" (r")[0] for c in f.cells}
    assert word in kinds | {c.key[2] for c in f.cells} | {f.raw.others["sweep"]}, word


@claim(r"(?P<n>\d+ more cautions?) below the purchases\.")
def more_cautions(f: Facts, n: str) -> None:
    """The first four stand above."""
    same(n, plural(f.raw.others["cautions"] - 4, "more caution"))
