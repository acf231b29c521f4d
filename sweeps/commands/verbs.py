"""The verbs of the command line in one table: for `--help`, the parser and the documents.

Light on purpose: `sweeps --help` and shell completion import this and nothing heavy.
"""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.commands.model_verbs import MODEL_VERBS
from sweeps.commands.store_verbs import STORE_VERBS
from sweeps.commands.table_verbs import TABLE_VERBS
from sweeps.commands.verb import Verb as Verb

GROUPS = ("data", "run", "cluster", "results", "store", "more")
"""Headings that verbs are listed under, in this order."""


_SWEEP = {"sweep": "name of the sweep"}
_STORE = {"store": "URL of the store"}
_COUNTS = {
    "trials": "trials of the sweep",
    "done": "trials with a result",
    "failed": "trials without a result of which an attempt failed",
    "missing": "all other trials: still to run",
}
_DAMAGED = {"damaged": "trials whose result is damaged and does not count: id, label, reason"}
_JOB = {
    "address": "URL of the cluster's dashboard, or of the Kubernetes API",
    "job_id": "id of the job, or name of the RayJob",
    "state": "state of the job, in the cluster's words",
}

VERBS: Sequence[Verb] = (
    Verb(
        "stage",
        "data",
        "put a dataset or pretrained weights into the store",
        "sweeps stage siim-acr siim-acr-release --set image_size=512",
        "Reads a release in its original folders, scales its images and writes them to the store "
        "as shards with a manifest. A generator takes no folder; sweeps stage their generators "
        "themselves. A staging that was stopped or killed continues where it was, with the same "
        "command. `stage weights` stores a weights file, the one of an installed package "
        "(package:NAME) or the weights of hub:NAME, under the SHA-256 that a sweep's YAML names, "
        "and says which architectures they fit; what fits none is refused.",
        {
            "name": "name of the dataset in the store",
            "digest": "digest of this version of the dataset",
            **_STORE,
            "skipped": "images that were left out with --on-error skip",
            "splits": "by split: images (n), positives, abnormalities",
            "sha256": "of `stage weights` instead of name, digest and splits",
            "fits": "of `stage weights`: encoders and timm:NAME that can begin from them",
            "dry_run": "true with --dry-run, which has no digest and store, and has, too:",
            "robust": "list of attribute, split, positives, negatives, half_width: the images that "
            "a robust AUROC rests on, and the expected half-width of its interval",
            "problems": "what keeps the dataset from being staged, a list of sentences",
        },
    ),
    Verb(
        "data list",
        "data",
        "list the datasets of a store",
        "sweeps data list",
        "One line per version of a dataset; damaged ones are listed, too.",
        {
            **_STORE,
            "datasets": "name, digest, images, image_shape, size_bytes, staged_at and synthetic of "
            "each; name, digest and problem of one that cannot be read",
        },
    ),
    Verb(
        "data show",
        "data",
        "show what a dataset holds, before money is spent on it",
        "sweeps data show gaussian-squares --sheet squares.png",
        "Counts per split, class and group, correlation of each attribute with the label, the "
        "AUROC that the attributes alone reach, how many images each robust AUROC rests on, "
        "variance and area of the targets of each specificity, overlaps, covariates and "
        "provenance. --sheet writes a "
        "picture of 24 training images with what is drawn on them; --croissant prints a Croissant "
        "description of the shards instead.",
        {
            "name": "name of the dataset",
            "digest": "digest of this version",
            **_STORE,
            "synthetic": "what drew the images, or null",
            "image_shape": "height, width, channels",
            "dtype": "type of a pixel",
            "mask_of": "what the masks are of: abnormality, lungs, heart, region or circle",
            "size_bytes": "of all shards",
            "provenance": "where the images came from",
            "splits": "by split: n, positives, patients, abnormalities, masks_y1, masks_y0, "
            "own_boxes_y1, own_boxes_y0",
            "classes": "of each class: name, positive, images by split; empty for labels alone",
            "attributes": "of each: name, direction, direction_source and splits: groups, "
            "correlation, robust_positives, robust_negatives, robust_half_width",
            "attribute_only_auroc": "auroc and images by split, or null",
            "targets": "by specificity: images, variance, area, times_mask",
            "outlines": "medians of vertices_2px, vertices_5px, components, area",
            "overlaps": "by attribute: images, in_mask, in_boxes",
            "covariates": "by name: known, and commonest or lowest and highest",
            "contact_sheet": "path, where --sheet asks for one",
        },
    ),
    Verb(
        "data check",
        "data",
        "read all of a dataset and compare it with its hashes",
        "sweeps data check gaussian-squares",
        "Reads every shard, the counts and the table of images. Exit status 1 where any is "
        "damaged; staging again replaces it.",
        {
            "name": "name of the dataset",
            "digest": "digest of this version",
            "damage": "kind, label, problem, cost and keys of each damaged part",
        },
    ),
    Verb(
        "data remove",
        "data",
        "remove a dataset from a store; results on it stay",
        "sweeps data remove gaussian-squares --yes",
        "Removes one version: its manifest first, then its shards that no other version names. "
        "Asks at a terminal; elsewhere --yes is needed.",
        {
            "name": "name of the dataset",
            "digest": "digest of the version that was removed",
            "objects": "objects removed",
            "size_bytes": "of shards removed",
        },
    ),
    Verb(
        "data template",
        "data",
        "write a small complete folder of your own images, to fill with yours",
        "sweeps data template my-images",
        "Writes drawn images, a table with every column that `sweeps stage folder` takes, masks "
        "and boxes of some images, and a README.txt that explains them.",
        {"folder": "the folder written", "paths": "files and folders in it"},
    ),
    Verb(
        "plan",
        "run",
        "show cells, trials, hours and dollars before anything runs",
        "sweeps plan sweeps/specs/quickstart.yaml",
        "Checks the YAML, expands it to cells and trials, prices their annotation, and says what "
        "is done already. Hours and dollars of compute are estimated from results in the store "
        "that compare, with a 95 % interval; --calibrate measures what nothing compares with. "
        "Works without a cluster, and without a store that can be reached.",
        {
            **_SWEEP,
            "dataset": "name, digest and synthetic (what drew the images, or null), or null",
            "unknown": "why ids or counts are missing, or null",
            "notes": "what axes and prices do not hold apart, a sentence each",
            "cells": "list of specificity, budget, method and cost (dollars, low, high, exact, "
            "validation; null before the dataset is staged)",
            "seeds": "list of seeds",
            "skipped": "cells that cannot run, each with its reason",
            "trials": "list of id, specificity, budget, method, seed, done",
            "older": "trials with a result of an older revision: id, older_id, subject, reason",
            **_DAMAGED,
            "unverified": "trials with a result from before results had checksums",
            "diverged": "ids of trials that became NaN or infinite in an earlier run",
            "compute": "what is left to compute, null where no trial is known: trials, estimated, "
            "gpu_hours, cpu_hours, dollars and wall_hours (each value, low, high or null), "
            "at_once, used, sources, warnings",
            "searches": "settings of the search and, per cell, what was tried, with values, ids, "
            "state and value, and the number of the chosen one; null without a search",
        },
    ),
    Verb(
        "run",
        "run",
        "run the trials that have no result yet",
        "sweeps run sweeps/specs/quickstart.yaml --set train.epochs=2",
        "Stages a generator's dataset where needed, then trains on this machine, or on the Ray "
        "cluster of RAY_ADDRESS. Interrupt it at any time: the same command continues from "
        "checkpoints. Exit status 1 says that trials failed. --notify posts how it ended, as one "
        "JSON line, to a URL.",
        {
            **_SWEEP,
            **_STORE,
            **_COUNTS,
            "seconds": "wall-clock seconds of this command",
            "cpu_hours": "CPU-hours of this run's trials, also of those that did not end",
            "gpu_hours": "the same in GPU-hours",
            "dollars": "the same in dollars, null where nodes have no price (`cost.compute`)",
        },
    ),
    Verb(
        "submit",
        "cluster",
        "have a Ray cluster run the trials that have no result yet",
        "sweeps submit sweeps/specs/quickstart.yaml --store s3://sweeps/research --dry-run",
        "Puts the YAML into the store and asks a cluster to run it, or attaches to the job that "
        "does so already, and follows its log; Ctrl-C detaches. With --dry-run the request alone "
        "is printed. A RayJob whose head is lost continues where KubeRay submits it again; with "
        "--retries it does under every version of KubeRay, and failed trials are tried again.",
        {
            **_SWEEP,
            **_STORE,
            **_JOB,
            "attached": "true where the job existed already; with --dry-run the document is the "
            "request or RayJob itself",
            "left": "trials left to run, null where the dataset is not staged; 0: no job is sent, "
            "and address, job_id, state and attached are null",
        },
    ),
    Verb(
        "status",
        "cluster",
        "show what is done, failed and missing",
        "sweeps status quickstart",
        "Counts results that the store lists, so that it works without the cluster and reads no "
        "result; --check reads them, leaves damaged ones out, and lists trials whose numbers say "
        "little. With an address the newest job is named, too.",
        {
            **_SWEEP,
            **_COUNTS,
            "last_result_at": "when the newest result was written to this store, ISO 8601, or null",
            "failures": "failed attempts by class",
            "cells": "the same counts by specificity, budget, method",
            "cautions": "with --check, else null: kind, meaning, trials: finished trials whose "
            "numbers say little",
            "search": "cells, cells_over, and configurations to_try, finished, stopped and failed, "
            "and repeated: with the values of an earlier one; null without a search",
            "job": "id, state, exit_code, message of the newest job, or null",
        },
    ),
    Verb(
        "failures",
        "cluster",
        "list what failed, by class, with a command that reproduces it",
        "sweeps failures quickstart",
        "Reads the failed attempts in the store, also those of trials that succeeded later: their "
        "class, what the same run does about it, on which nodes they were, and the last one's "
        "message. It works without the cluster.",
        {
            **_SWEEP,
            **_STORE,
            "attempts": "attempts that failed",
            "trials": "trials that they are of",
            "without_result": "those of them that have no result",
            "classes": "list of class, meaning, policy, attempts, trials, without_result, nodes, "
            "last (trial, label, at, node, line) and command, which runs one of them in this "
            "process, or null where all have a result",
        },
    ),
    Verb(
        "logs",
        "cluster",
        "show the log of a sweep, here or on a cluster",
        "sweeps logs quickstart --address http://localhost:8265 --follow",
        "Prints the driver's log, or the lines of one trial or worker. Without a cluster these are "
        "the workers' lines of the run on this machine, while it goes on or where --keep-logs kept "
        "them; else --trial prints what the store keeps of a failed trial.",
    ),
    Verb(
        "stop",
        "cluster",
        "end a submitted sweep; its trials save checkpoints",
        "sweeps stop quickstart --address http://localhost:8265",
        "Asks the sweep's job to end and waits until it has. Submitting the sweep again continues "
        "it.",
        {**_SWEEP, **_JOB},
    ),
    Verb(
        "report",
        "results",
        "write the cost-robustness frontier as HTML, Markdown and Parquet",
        "sweeps report quickstart",
        "Reads the results in the store, also those of an unfinished sweep, and writes the report "
        "here and next to them. With two sweeps of one store it writes how the second's purchases "
        "differ from the first's: paired by seed and test image where these are the same. --set "
        "is of both.",
        {
            **_SWEEP,
            "against": "name of the second of two sweeps; null for a report of one",
            **_STORE,
            "page": "path of the HTML page",
            "paths": "paths of all files written",
            "answer": "the report's answer, as text",
            "caveats": "what limits it, a list of sentences",
        },
    ),
    Verb(
        "pull",
        "results",
        "write a sweep's tables as Parquet files",
        "sweeps pull quickstart --out quickstart-tables",
        "Writes trials, epochs, predictions and failures; where trials have them also embeddings, "
        "explanations and examples, and of a sweep with a search what each cell tried. What is "
        "undefined is null, trials have the prices that the report has, and the files' metadata "
        "describe every column, as `sweeps tables` does.",
        {
            **_SWEEP,
            **_STORE,
            "tables": "by table: path and rows",
            **_DAMAGED,
        },
    ),
    *TABLE_VERBS,
    *MODEL_VERBS,
    *STORE_VERBS,
    Verb(
        "phantom",
        "more",
        "write a synthetic release in the format of a real one",
        "sweeps phantom isic phantom-release --set n_train=200 --set n_val=60 --set n_test=80",
        "Draws images with spurious features and writes them in the folders and files of a real "
        "release, to try the whole path from `stage` on.",
        {
            "name": "the format, which `sweeps stage` takes as the name",
            "folder": "the folder written",
            "paths": "files and folders in it",
        },
    ),
    Verb(
        "schema",
        "more",
        "print the JSON Schema of the sweep YAML, for editors",
        "sweeps schema > sweep.schema.json",
        "Editors complete and check a sweep's YAML with it. Standard output is the schema.",
    ),
    Verb(
        "serve",
        "more",
        "run the embedded S3 server until interrupted",
        "sweeps serve --port 8333",
        "Commands without a store start this server themselves and stop it; `serve` keeps it up, "
        "and prints its address and the file with its keys.",
    ),
)


def list_verbs(verbs: Sequence[Verb]) -> str:
    """List verbs under their headings, one line each."""
    wide = max(len(verb.name) for verb in verbs)
    lines = []
    for group in GROUPS:
        members = [verb for verb in verbs if verb.group == group]
        if members:
            lines += ["", f"{group}:"]
            lines += [f"  {verb.name:<{wide}}  {verb.summary}" for verb in members]
    return "\n".join(lines[1:])
