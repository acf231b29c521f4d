"""Sentences that say the same in every report: what things are called, and how they are defined.

A sentence that is neither here nor known to a checker fails, so that a new one needs its checker.
Those that state a number stand in `STATED` with what the number is held to.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from sentence_claims import CONSTANT
from sentence_facts import Facts
from sentence_statistics import Read

DOCS = Path(__file__).resolve().parents[3] / "docs" / "statistics.md"

TEXTS = (
    "A difference whose interval includes 0 is not established.",
    "A number tells how many training images were annotated, where there is room for it.",
    "A purchase is one specificity, one budget and one training method.",
    (
        "A purchase whose models are not shown to have learned the abnormality: AUROC or "
        "Dice on validation at chance or undefined, the overall AUROC's "
        "lower limit "
        "at or below 0.5, training that diverged or did not move."
    ),
    "A seed sets the annotated images, the initial weights and the order of training.",
    "AUROC on all test images; the gap is overall minus robust AUROC, seed by seed.",
    (
        "AUROC on the images whose spurious attribute contradicts their label: abnormal "
        "without it, "
        "and normal with it."
    ),
    "All purchases",
    "An arrow says which values are better.",
    "Annotated images by label (y) and spurious attribute (s), as recorded.",
    "At which prices the choice changes",
    "Boxes or masks on the same images",
    "Cost",
    "Dataset",
    "Dice is the mean overlap of predicted and annotated masks; classifiers have none.",
    "Each marker is one purchase: the mean over seeds.",
    (
        "Each method minus erm on the same annotation, paired by seed on the same "
        "images, with 95 % "
        "intervals."
    ),
    "Exemplary explanations",
    (
        "Faint dots are the single seeds, bars the 95 % interval for new seeds and new patients, "
        "where there is one."
    ),
    "Faint marks are not ranked.",
    "Files beside this page",
    "Finished trials without a defined robust AUROC",
    (
        "From each sum on, the purchase with the highest mean robust AUROC of those that cost no "
        "more, until the next row."
    ),
    (
        "From learning curves of several families (power law, power law with an offset, "
        "logit), each "
        "fitted to all draws; an interval holds 95 % of the fits of each."
    ),
    "Frontier",
    "Frontier, from cheap to dear",
    "Further metrics",
    "Hollow markers lack a planned seed.",
    "How the numbers are defined",
    "How well they cover: docs/statistics.md.",
    "Images behind each robust AUROC",
    "Intervals",
    "Intervals of other metrics are Student-t over seeds alone.",
    (
        "It stays the cheapest of them while one price is between the two values and all "
        "others are "
        "as they are; beyond, the purchase named there is."
    ),
    (
        "Long names of methods are shortened in the middle, and numbered in alphabetical "
        "order where "
        "they then look alike."
    ),
    (
        "Mean robust AUROC on the test split against the price; lines are 95 % intervals for new "
        "seeds and new patients, the numbers beside marks are annotated images, the line "
        "joins what "
        "nothing else beats on both."
    ),
    (
        "Means over seeds on the test split, with 95 % intervals for new seeds and new "
        "patients, or "
        "the seeds themselves and why there is none."
    ),
    (
        "Means over seeds on the test split; below an AUROC its 95 % interval for new "
        "seeds and new "
        "patients, or the seeds themselves and why there is none; below the SD the smallest to "
        "largest seed, below the cost its range over seeds where it differs."
    ),
    "Measures",
    "Methods against ERM",
    "More cautions",
    "More images",
    "No deployed model can be chosen so.",
    (
        "No other ranked purchase costs no more and scores no less, one of the two "
        "strictly; of exact "
        "equals, all."
    ),
    "No whole result and no failure recorded: not started yet, running, lost, or damaged.",
    "Not inferior",
    "Not named, not ranked",
    "Nothing is told beyond 2 times the largest budget.",
    (
        "On the test split at the epoch that counts, means over seeds with 95 % t-intervals over "
        "seeds alone, none where seeds do not differ."
    ),
    (
        "On the test split at the epoch that counts; means over seeds, below them 95 % t-intervals "
        "over seeds alone, which say nothing of other images (none where seeds do not differ), and "
        "how many seeds are undefined."
    ),
    "Other prices, other sums",
    "Overall AUROC, gap, Dice",
    (
        "P(on the frontier) is a share of draws of all ranked purchases together, for "
        "new seeds and "
        "new patients."
    ),
    (
        "Pale ones are not ranked: they are not shown to have learned the abnormality, or lost "
        "on validation."
    ),
    "Plan",
    "Prices without a row never change it.",
    "Projected embeddings",
    "Provenance",
    (
        "Published numbers are as printed, mean ± SD; measured ones are means over seeds with 95 % "
        "intervals, of AUROCs for new seeds and new patients, of other metrics for new "
        "seeds alone; "
        "the difference is measured minus published."
    ),
    "Purchases at one price are drawn side by side; the table has the exact dollars.",
    "Purchases that are not ranked are marked with the reason.",
    (
        "Purchases that nothing else beats on both dollars and mean robust AUROC, among those that "
        "are ranked."
    ),
    "Report made with",
    (
        "Ringed markers on the line are the frontier: no other ranked purchase costs no more and "
        "scores no less."
    ),
    "Robust AUROC",
    (
        "Robust AUROC is judged with Holm's correction over the table: above or below, "
        "or not decided "
        "and what would decide it alone."
    ),
    (
        "Robust AUROC of masks minus that of boxes, paired by seed on the same images, "
        "with its 95 % "
        "interval; judged together, with Holm's correction."
    ),
    (
        "Robust AUROC of masks minus that of boxes, paired by seed on the same images, "
        "with its 95 % "
        "interval; orders are judged together, with Holm's correction."
    ),
    "Running the sweep again starts what is missing.",
    (
        "Scores are in [0, 1]: a classifier's probability, or a segmenter's read-out of its "
        "probability map, which need not be calibrated."
    ),
    "Seeds are counted on these test images; images at 30 seeds.",
    (
        "Seeds are readers and test images are cases of a crossed design: 95 % intervals of AUROCs "
        "are for new seeds and new patients (Obuchowski and Rockette 1995, Hillis 2007, "
        "DeLong 1988, "
        "Obuchowski 1997), computed as logits from the stored predictions, and stay inside 0 and 1."
    ),
    "Selection rule",
    "Specificity and budget",
    "Spurious labels are charged where the method, the selection rule or a search reads them.",
    "Such a model may have learned the spurious attribute.",
    "Sweep as it was run",
    "The chart above and all that is below follow these; nothing leaves the page.",
    "The cheapest ranked one is always among them, however poor.",
    "The epochs table has no counts per group.",
    "The frontier is set in bold.",
    "The grey line at 0.5 is chance.",
    "The robust AUROC compares the two groups in which s contradicts y.",
    "The robust AUROC compares the two groups that are marked.",
    (
        "The shaded band holds the highest robust AUROC for the money in 95 % of the draws of new "
        "seeds and new patients."
    ),
    "These differences are over seeds alone and say nothing of other images.",
    "They do not cover the picking of the best among many.",
    "Trials ran with",
    "Undefined, and left out, where one of the two groups is empty.",
    "Variance and information in the model of squares",
    (
        "What an annotator draws on a training image (a label, a box, a coarse mask, "
        "which is a mask "
        "widened to resolution r, or a mask), and on how many training images."
    ),
    "What the models look at",
    "What the next 100 images are worth",
    "What the next 100 images are worth:",
    "What was searched",
    "Where an attribute goes against the label in training, it is turned round first.",
    (
        "With several attributes, on the images for which more attributes contradict the "
        "label than "
        "agree with it."
    ),
    "With your money, buy this",
    "`sweeps run` computes them again.",
)


def attribute_alone(_: Facts) -> None:
    """Scores of the attribute on images that contradict it order every pair wrongly;
    none is 0.5.
    """
    labels = np.array([0, 1] * 6)
    names, nobody = tuple("abcdefghijkl"), np.arange(12)
    assert Read(names, labels, 1.0 - labels, nobody).auroc == 0.0
    assert Read(names, labels, 1.0 * labels, nobody).auroc == 1.0
    assert Read(names, labels, np.zeros(12), nobody).auroc == 0.5


def draws(f: Facts) -> None:
    """Every share is a whole number of 4,000."""
    for name in ("frontier_probability", "best_probability", "non_inferior_probability"):
        of = f.raw.tables["cells"][name].dropna().to_numpy() * 4000
        assert np.allclose(of, np.rint(of), atol=1e-6)


def ranges(_: Facts) -> None:
    """As the document of the simulations has it."""
    assert "read them as 0.91 to 0.94" in DOCS.read_text()


def weak_corners(_: Facts) -> None:
    """The lowest that the document of the simulations names of three seeds."""
    lowest = re.search(r"three seeds that differ much \(tau 0.5; lowest (0\.\d+)", DOCS.read_text())
    assert lowest is not None
    assert 0.905 <= float(lowest[1]) < 0.915


def all_prices(f: Facts) -> None:
    """The price table has nine prices."""
    assert len(f.raw.prices) == 9


def abstentions(f: Facts) -> None:
    """Cells with a result and no interval have one of these reasons."""
    for cell in f.cells:
        for of in (cell.robust, cell.overall):
            assert of.kind != "none" or of.reason.startswith(
                ("fewer than", "no stored", "seeds were", "seeds fall", "neither")
            )


STATED = {
    "A model that reads only the attribute scores 0, chance is 0.5.": attribute_alone,
    (
        "From the 4,000 draws behind P(best): the share in which it is the highest of "
        "them; how much "
        "it misses the highest by on average (expected regret); the highest that the sum "
        "reaches, as "
        "the median and the range of 95 % of the draws; and the purchase with the next "
        "highest mean, "
        "with its share."
    ): draws,
    "In simulations these ranges hold the truth in about 91 to 94 %.": ranges,
    (
        "None is printed, but the seeds themselves, with fewer than 3 seeds, without stored "
        "predictions of the same images, with fewer than 10 images of a class, with "
        "seeds more than "
        "0.5 apart, or where neither seeds nor images differ; a mean of exactly 0 or 1 has a "
        "one-sided exact bound."
    ): abstentions,
    (
        "P(on the frontier) and P(best) are shares of 4,000 draws of all ranked purchases' robust "
        "AUROCs for new seeds and new patients."
    ): draws,
    (
        "Robust AUROC alone does not tell: a model that ranks by the attribute the wrong way round "
        "has 1."
    ): attribute_alone,
    (
        "Somewhat too narrow, 91 to 95 % in simulations: three seeds where training "
        "differs much from "
        "seed to seed, and an AUROC of 0.95 or more on 20 images of a class or fewer."
    ): weak_corners,
    "Version 1 of the price table:": all_prices,
}
CONSTANT.update(dict.fromkeys(TEXTS))
CONSTANT.update(STATED)
