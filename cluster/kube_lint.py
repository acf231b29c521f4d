"""Check Kubernetes manifests before a cluster sees them: `python -m cluster.kube_lint FILE...`.

Takes rendered manifests (`kubectl kustomize DIR | python -m cluster.kube_lint -`). Kinds that no
schema here knows are named as unchecked, with their number at the end.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from kubernetes_validate import latest_version

from cluster.errors import ClusterError
from cluster.kube_documents import Document, ManifestError, Problem, read_documents, read_file
from cluster.kube_rules import committed_problems, rule_problems, unmet_settings
from cluster.kube_schema import Schemas, load_crds, schema_problems


@dataclass
class Report:
    """What a check found.

    Attributes:
        checked: how many objects a schema was found for.
        problems: what is wrong, and in which object.
        unchecked: objects of a kind that no schema knows; rules and pod templates are checked.
    """

    checked: int = 0
    problems: list[tuple[Document, Problem]] = field(default_factory=list)
    unchecked: list[Document] = field(default_factory=list)


def lint(
    documents: list[Document],
    crds: Schemas,
    *,
    version: str | None = None,
    committed: bool = False,
) -> Report:
    """Check objects that are applied together.

    Args:
        documents: the objects.
        crds: schemas of custom resources, of `cluster.kube_schema.load_crds`; may be empty.
        version: the Kubernetes version, `1.33` say; default the newest with schemas here.
        committed: hold what a repository of manifests must too: no jobs, no secrets, and what pods
            name is there.

    Raises:
        ManifestError: there are no schemas of that Kubernetes version.
    """
    report = Report()
    chosen = version or ".".join(latest_version().split(".")[:2])
    for document in documents:
        problems, known = schema_problems(document, crds, chosen)
        problems += rule_problems(document, documents)
        if committed:
            problems += committed_problems(document)
        report.problems += [(document, problem) for problem in problems]
        report.checked += known
        if not known:
            report.unchecked.append(document)
    if committed:
        report.problems += unmet_settings(documents)
    times = Counter(document.identity for document in documents)
    twice = {document.identity: document for document in documents if times[document.identity] > 1}
    report.problems += [(d, Problem("metadata.name", "given twice")) for d in twice.values()]
    return report


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns its exit status: 0 clean, 1 problems, 2 cannot check."""
    parser = argparse.ArgumentParser(prog="python -m cluster.kube_lint", description=__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE", help="rendered YAML, or - for stdin")
    parser.add_argument(
        "--crds", type=Path, metavar="DIR", help="folder of KubeRay's CRDs (*.yaml)"
    )
    parser.add_argument("--kubernetes", metavar="VERSION", help="for example 1.33; default newest")
    parser.add_argument(
        "--committed", action="store_true", help="also: no jobs, no secrets, nothing missing"
    )
    options = parser.parse_args(arguments)
    try:
        crds = load_crds(options.crds) if options.crds else {}
        reports = []
        for name in options.files:
            documents = (
                read_documents(sys.stdin.read(), "-") if name == "-" else read_file(Path(name))
            )
            if not documents:
                raise ManifestError(f"{name}: expected manifests, found nothing")
            reports.append(
                lint(documents, crds, version=options.kubernetes, committed=options.committed)
            )
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 2
    return _print(reports)


def _print(reports: list[Report]) -> int:
    problems = [found for report in reports for found in report.problems]
    unchecked = [document for report in reports for document in report.unchecked]
    for document, problem in problems:
        print(f"{document}: {problem.path}: {problem.message}")
    for document in unchecked:
        print(f"{document}: unchecked: no schema here for {document.api_version}")
    checked = sum(report.checked for report in reports)
    print(f"{checked} objects checked, {len(unchecked)} unchecked, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
