"""The command line of the linter: `python -m k8s.lint FILE...`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cluster.errors import ClusterError
from k8s.lint import lint as checks
from k8s.lint.documents import ManifestError, read_documents, read_file
from k8s.lint.kuberay import OLDEST, read_version
from k8s.lint.lint import Report, lint
from k8s.lint.schema import load_crds


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status: 0 clean, 1 problems, 2 cannot check."""
    parser = argparse.ArgumentParser(prog="python -m k8s.lint", description=checks.__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE", help="rendered YAML, or - for stdin")
    parser.add_argument(
        "--crds", type=Path, metavar="DIR", help="folder of KubeRay's CRDs (*.yaml)"
    )
    parser.add_argument("--kubernetes", metavar="VERSION", help="for example 1.33; default newest")
    parser.add_argument(
        "--kuberay", metavar="VERSION", help="the operator's, for example 1.7.1; default 1.7.0"
    )
    parser.add_argument(
        "--committed", action="store_true", help="also: no jobs, no secrets, nothing missing"
    )
    options = parser.parse_args(arguments)
    try:
        operator = OLDEST if options.kuberay is None else read_version(options.kuberay)
        if operator < OLDEST:
            raise ManifestError(
                f"--kuberay {options.kuberay}: expected 1.7.0 or later, whose rules are known here"
            )
        crds = load_crds(options.crds) if options.crds else {}
        reports = []
        for name in options.files:
            documents = (
                read_documents(sys.stdin.read(), "-") if name == "-" else read_file(Path(name))
            )
            if not documents:
                raise ManifestError(f"{name}: expected manifests, found nothing")
            reports.append(
                lint(
                    documents,
                    crds,
                    version=options.kubernetes,
                    operator=operator,
                    committed=options.committed,
                )
            )
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 2
    return _print(reports)


def _print(reports: list[Report]) -> int:
    problems = [finding for report in reports for finding in report.problems]
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
