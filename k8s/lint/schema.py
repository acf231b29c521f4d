"""Manifests against schemas: Kubernetes' own strict ones, and those of custom resources (CRDs).

An API server fills in defaults before it validates a custom resource, and drops what the schema
does not know; here unknown fields are problems, because what is dropped was meant.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from kubernetes_validate import utils as kubernetes
from referencing import Registry, Resource

from k8s.lint.documents import Document, LintFinding, ManifestError, pod_templates

Schemas = dict[tuple[str, str], dict[str, Any]]

_CUSTOM = ("x-kubernetes-", "description", "format")  # no concern of a JSON schema's validator


def load_crds(folder: Path) -> Schemas:
    """Return the schemas of all CustomResourceDefinitions in a folder's YAML files.

    Returns:
        (apiVersion, kind) -> openAPIV3Schema.

    Raises:
        ManifestError: the folder holds none, or a file is not YAML.
    """
    schemas: Schemas = {}
    for path in sorted(folder.glob("*.yaml")):
        try:  # a megabyte of YAML each: the C loader takes a tenth of the time
            documents = list(yaml.load_all(path.read_bytes(), yaml.CSafeLoader))
        except yaml.YAMLError as error:
            raise ManifestError(f"{path}: not YAML: {error}") from error
        for crd in documents:
            if not isinstance(crd, dict) or crd.get("kind") != "CustomResourceDefinition":
                continue
            spec = crd["spec"]
            for version in spec["versions"]:
                key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
                schemas[key] = version["schema"]["openAPIV3Schema"]
    if not schemas:
        raise ManifestError(
            f"{folder}: no CustomResourceDefinition in its *.yaml files: give the folder of "
            "KubeRay's CRDs (helm-chart/kuberay-operator/crds of its release)"
        )
    return schemas


def schema_problems(
    document: Document, crds: Schemas, version: str
) -> tuple[list[LintFinding], bool]:
    """What a document's schemas find wrong, and whether any schema knows its kind.

    Metadata and pod templates of custom resources are checked even where their kind is unknown.

    Args:
        document: the object.
        crds: schemas of custom resources, of `load_crds`.
        version: the Kubernetes version, for example 1.37.
    """
    findings: dict[tuple[str, str], LintFinding] = {}
    known = _core_validator(document.api_version, document.kind, version)
    if known:
        errors = list(_locate(known.iter_errors(document.body), ""))
        return [LintFinding(path, message) for _, path, message in errors], True
    crd = crds.get((document.api_version, document.kind))
    checks = [_pod_problems(document, version), _metadata_problems(document, version)]
    if crd:
        body = with_defaults(document.body, crd)
        errors = list(Draft202012Validator(strict(crd)).iter_errors(body))
        checks.insert(0, _locate(errors, ""))
    for check in checks:
        for keyword, path, message in check:
            findings.setdefault((keyword, path), LintFinding(path, message))
    return list(findings.values()), crd is not None


def with_defaults(value: Any, schema: dict[str, Any]) -> Any:
    """A copy of a value with the schema's defaults, as an API server sees it; nulls are absent."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        extra = schema.get("additionalProperties")
        below = extra if isinstance(extra, dict) else {}
        filled = {
            key: with_defaults(entry, properties.get(key, below))
            for key, entry in value.items()
            if entry is not None or properties.get(key, below).get("nullable")
        }
        for key, entry in properties.items():
            if key not in filled and "default" in entry:
                filled[key] = with_defaults(copy.deepcopy(entry["default"]), entry)
        return filled
    if isinstance(value, list):
        return [with_defaults(entry, schema.get("items", {})) for entry in value]
    return value


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a CRD's schema as a JSON schema that refuses unknown fields."""
    kept: dict[str, Any] = {k: v for k, v in schema.items() if not k.startswith(_CUSTOM)}
    if schema.get("x-kubernetes-int-or-string"):
        kept.pop("anyOf", None)
        kept["type"] = ["integer", "string"]
    if kept.pop("nullable", False) and isinstance(kept.get("type"), str):
        kept["type"] = [kept["type"], "null"]
    if "properties" in kept:
        kept["properties"] = {name: strict(entry) for name, entry in kept["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            kept.setdefault("additionalProperties", False)
    if isinstance(kept.get("items"), dict):
        kept["items"] = strict(kept["items"])
    if isinstance(kept.get("additionalProperties"), dict):
        kept["additionalProperties"] = strict(kept["additionalProperties"])
    return kept


@lru_cache(maxsize=64)
def _core_validator(api_version: str, kind: str, version: str) -> Draft202012Validator | None:
    """Return the strict validator of one of Kubernetes' own kinds, or None."""
    available = [v for v in kubernetes.all_versions() if kubernetes.major_minor(v) == version]
    if not available:
        every = ", ".join(kubernetes.major_minor(v) for v in kubernetes.all_versions())
        raise ManifestError(f"no schemas of Kubernetes {version}: expected one of {every}")
    folder = f"kubernetes-json-schema/v{available[0]}-local-strict"
    group, _, short = api_version.rpartition("/")
    name = f"{group.split('.')[0]}-{short}" if group else short
    if group.count(".") and not group.endswith(".k8s.io"):
        return None  # somebody else's group: `apps.example.com/v1` is not `apps/v1`
    try:
        schema = kubernetes.schema_contents(f"{folder}/{kind.lower()}-{name}.json", version)
    except FileNotFoundError:
        return None
    definitions = _definitions(folder, version)
    return Draft202012Validator(schema, registry=definitions)


@lru_cache(maxsize=2)
def _definitions(folder: str, version: str) -> Any:
    contents = kubernetes.schema_contents(f"{folder}/_definitions.json", version)
    return Resource.from_contents(contents) @ Registry()


def _pod_problems(document: Document, version: str) -> Iterator[tuple[str, str, str]]:
    """Yield a custom resource's pod templates, each as the Pod that will be made of it."""
    validator = _core_validator("v1", "Pod", version)
    assert validator is not None
    for template in pod_templates(document):
        pod = {**template.body, "apiVersion": "v1", "kind": "Pod"}
        yield from _locate(validator.iter_errors(pod), template.path)


def _metadata_problems(document: Document, version: str) -> Iterator[tuple[str, str, str]]:
    """Check an object's metadata, which CRDs leave open."""
    validator = _core_validator("v1", "ConfigMap", version)
    assert validator is not None
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": document.body.get("metadata")}
    yield from _locate(validator.iter_errors(body), "")


def _locate(
    errors: Iterator[ValidationError] | list[ValidationError], prefix: str
) -> Iterator[tuple[str, str, str]]:
    """Keyword, JSON path and message of every error; unknown fields one by one."""
    for error in errors:
        path = prefix + error.json_path.removeprefix("$")
        path = path.removeprefix(".")
        known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
        if error.validator == "additionalProperties" and error.validator_value is False:
            for name in sorted(set(error.instance) - set(known)):
                yield "unknown", f"{path}.{name}".removeprefix("."), _unknown(name, known)
        elif error.context:
            reasons = "; or ".join(sorted({e.message for e in error.context}))
            yield str(error.validator), path, f"expected one of several forms: {reasons}"
        else:
            yield str(error.validator), path, error.message


def _unknown(name: str, known: dict[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(sorted(known))}"
    return f"unknown field '{name}': {hint}"
