"""Sentences of measures and explanations that say the same in every report."""

from __future__ import annotations

from sentence_claims import CONSTANT

TEXTS = (
    "AUROC and robust AUROC on the test images of each subgroup by what staging carried along, "
    "means over seeds with 95 % intervals for new seeds and new patients of that subgroup.",
    "AUROC and robust AUROC on the test images of each subgroup, means over seeds with 95 % "
    "intervals for new seeds and new patients of that subgroup.",
    "Contradicting: images whose spurious attributes contradict the label, which robust AUROC is "
    "of.",
    "Example images",
    "Failed attempts by class",
    "Failed trials without a result",
    "Missing trials",
    "Numbers with more than six values are divided into quarters of the test images.",
    "Purchases share their test images, so that chance shows in all of them at once.",
    "Refused where there are fewer than 10 images of a class.",
    "Subgroups also differ in how hard their images are: a lower AUROC is a reason to look closer "
    "and not yet an effect of the covariate.",
    "Subgroups of patients",
    "The metric that chose the epoch (AUROC on validation where the rule has none for every epoch) "
    "and the training loss, by epoch; a line a seed, a dot at the epoch that counts.",
    "Training curves",
    "What failed, was skipped, stopped or never converged",
    "The same `sweeps run` continues.",
    "Trials of a search are compared on validation alone and are not among the purchases; those of "
    "the chosen configuration are, on every seed.",
    "A map without preference has the region's share of the image, which is the chance.",
    "AUROC gap: AUROC on the test images with the attribute minus AUROC on those without.",
    "Accuracy",
    (
        "Alignment: mean cosine similarity of the kept model's embeddings between a label's test "
        "images without and with the attribute, 1 where the attribute leaves no trace."
    ),
    "Chance is the region's share of the image.",
    "Explanations of test images by each trial's kept model, and how much of them lies where.",
    (
        "Explanations of test images by each trial's kept model: the share of the map, of its "
        "strongest 5 % of pixels (precision) and of its maxima (pointing) that lies in a region, "
        "all of the kept epoch."
    ),
    "Further metrics",
    "Grad-CAM: of the predicted class on a classifier's last feature maps, enlarged.",
    "It has no interval where every seed has the same images.",
    "Means over images and seeds with 95 % t-intervals over seeds alone.",
    "Means over images and seeds, below them 95 % t-intervals over seeds alone.",
    "Means over seeds with 95 % t-intervals over seeds alone.",
    "Means over seeds, below them 95 % t-intervals over seeds alone.",
    (
        "Neighbours in a panel are alike to the model; axes have no unit, and distances between "
        "clusters little meaning."
    ),
    "Pointing: how often the map is highest there.",
    "Precision: of the map's strongest 5 % of pixels, ties included.",
    "Predicted pixels: a segmenter's probabilities.",
    (
        "Robust AUROC is judged with Holm's correction over the table: above or below, or not "
        "decided and what would decide it alone."
    ),
    (
        "Saliency: the absolute gradient by the image of a classifier's log-odds or of the mean of "
        "a segmenter's probabilities."
    ),
    (
        "Scatter plots of the share of explanations in regions against robust AUROC, one point per "
        "trial."
    ),
    (
        "Share of each map that lies in the region against robust AUROC on test, both of the kept "
        "epoch, a point per trial; the dotted line is the chance of a map without preference."
    ),
    "Share: of the map's sum.",
    (
        "Trials share their test images, and trials of one purchase all but the seed, so that a "
        "correlation here describes these trials and tests nothing."
    ),
    (
        "Variance of the pixels that the annotation calls abnormal, standardised by all training "
        "images; mean cosine similarity of embeddings between a label's test images without and "
        "with the attribute; AUROC with the attribute minus AUROC without."
    ),
    (
        "Variance: of the pixels that the annotation calls abnormal, standardised by all training "
        "images; of labels these are the whole positive images."
    ),
)
CONSTANT.update(dict.fromkeys(TEXTS))
