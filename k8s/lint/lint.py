"""Check Kubernetes manifests before a cluster sees them: `python -m k8s.lint FILE...`.

Takes rendered manifests (`kubectl kustomize DIR | python -m k8s.lint -`). Kinds that no
schema here knows are named as unchecked, with their number at the end.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from kubernetes_validate import latest_version

from k8s.lint.documents import Document, LintFinding
from k8s.lint.kuberay import OLDEST, Version
from k8s.lint.rules import committed_problems, rule_problems, unmet_settings
from k8s.lint.schema import Schemas, schema_problems


@dataclass
class Report:
    """What a check found.

    Attributes:
        checked: how many objects a schema was found for.
        problems: what is wrong, and in which object.
        unchecked: objects of a kind that no schema knows; rules and pod templates are checked.
    """

    checked: int = 0
    problems: list[tuple[Document, LintFinding]] = field(default_factory=list)
    unchecked: list[Document] = field(default_factory=list)


def lint(
    documents: list[Document],
    crds: Schemas,
    *,
    version: str | None = None,
    operator: Version = OLDEST,
    committed: bool = False,
) -> Report:
    """Check objects that are applied together.

    Args:
        documents: the objects.
        crds: schemas of custom resources, of `k8s.lint.schema.load_crds`; may be empty.
        version: the Kubernetes version, `1.33` say; default the newest with schemas here.
        operator: KubeRay's version; default the strictest of 1.7.
        committed: hold what a repository of manifests must too: no jobs, no secrets, and what pods
            name is there.

    Raises:
        ManifestError: there are no schemas of that Kubernetes version.
    """
    report = Report()
    chosen = version or ".".join(latest_version().split(".")[:2])
    for document in documents:
        problems, known = schema_problems(document, crds, chosen)
        problems += rule_problems(document, documents, operator)
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
    report.problems += [(d, LintFinding("metadata.name", "given twice")) for d in twice.values()]
    return report
