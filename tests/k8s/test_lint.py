"""The linter as it is called: typos are found, unknown kinds named, the exit status tells."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from kube_manifests import (
    CRDS,
    MISSING,
    WITHOUT_CRDS,
    crds,
    one,
    place,
    raycluster,
    rayjob,
    render,
)

from k8s.lint.__main__ import main
from k8s.lint.documents import Document
from k8s.lint.lint import lint
from k8s.lint.schema import schema_problems, strict, with_defaults

needs_crds = pytest.mark.skipif(not CRDS.exists(), reason=WITHOUT_CRDS)
POD = "template/spec/containers/0"
VERSION = "1.37"


def found(body: dict[str, Any], schemas: Any = None) -> list[str]:
    """What the schemas say of an object: `path: message`."""
    problems, _ = schema_problems(Document("x.yaml", body), schemas or {}, VERSION)
    return [f"{problem.path}: {problem.message}" for problem in problems]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (f"spec/headGroupSpec/{POD}/imagePullPolcy", "Never", "did you mean 'imagePullPolicy'?"),
        (f"spec/workerGroupSpecs/0/{POD}/resources/limit", {}, "did you mean 'limits'?"),
        ("spec/workerGroupSpecs/0/template/spec/tolerations", {}, "is not of type 'array'"),
        ("spec/workerGroupSpecs/0/template/metadata", {"lables": {}}, "did you mean 'labels'?"),
        (f"spec/workerGroupSpecs/0/{POD}/ports", [{"containerPort": "x"}], "not of type 'integer'"),
        ("metadata/lables", {}, "did you mean 'labels'?"),
    ],
)
def test_typos_in_pods_and_metadata_are_found_without_a_crd(
    path: str, value: Any, expected: str
) -> None:
    """Pod templates are checked as pods, so that most typos need no file of KubeRay's."""
    body = raycluster()
    place(body, path, value)
    problems = found(body)
    assert [problem for problem in problems if expected in problem], problems
    assert all("/" not in problem.split(":")[0] for problem in problems)


@needs_crds
@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("spec/workerGroupSpec", [], "spec.workerGroupSpec: unknown field"),
        ("spec/workerGroupSpecs/0/maxReplica", 3, "did you mean 'maxReplicas'?"),
        ("spec/autoscalerOptions/idleTimeoutSecond", 3, "did you mean 'idleTimeoutSeconds'?"),
        ("spec/authOptions/mode", "tokn", "'tokn' is not one of ['disabled', 'token']"),
        ("spec/workerGroupSpecs/0/groupName", MISSING, "'groupName' is a required property"),
        ("spec/headGroupSpec/rayStartParams/num-cpus", 0, "0 is not of type 'string'"),
        ("spec/headGroupSpec", MISSING, "'headGroupSpec' is a required property"),
        (f"spec/workerGroupSpecs/0/{POD}/imagePullPolcy", "x", "did you mean 'imagePullPolicy'?"),
    ],
)
def test_typos_in_a_raycluster_are_found(path: str, value: Any, expected: str) -> None:
    """The CRD knows the fields that are no pod's; each typo is told once."""
    body = raycluster()
    place(body, path, value)
    problems = found(body, crds())
    assert len([problem for problem in problems if expected in problem]) == 1, problems


@needs_crds
def test_typos_in_a_rayjob_are_found() -> None:
    """A job's own fields, and those of the cluster in it."""
    body = rayjob()
    assert found(body, crds()) == []
    body["spec"]["shutDownAfterJobFinishes"] = True
    body["spec"]["rayClusterSpec"]["rayVerson"] = "2.60.0"
    assert sorted(found(body, crds())) == [
        "spec.rayClusterSpec.rayVerson: unknown field 'rayVerson': did you mean 'rayVersion'?",
        "spec.shutDownAfterJobFinishes: unknown field 'shutDownAfterJobFinishes': did you mean "
        "'shutdownAfterJobFinishes'?",
    ]


@needs_crds
def test_defaults_come_before_validation() -> None:
    """An API server fills in what is required and has a default; nulls count as absent."""
    body = raycluster()
    group = body["spec"]["workerGroupSpecs"][0]
    del group["minReplicas"], group["maxReplicas"]
    group["template"]["metadata"] = None
    assert found(body, crds()) == []
    filled = with_defaults(body, crds()["ray.io/v1", "RayCluster"])
    assert filled["spec"]["workerGroupSpecs"][0]["maxReplicas"] == 2**31 - 1
    assert "minReplicas" not in group


def test_a_custom_schema_becomes_strict() -> None:
    """Unknown fields are refused, open maps stay open, quantities are numbers or text."""
    size = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
    schema = {
        "type": "object",
        "properties": {
            "limits": {"type": "object", "additionalProperties": size},
            "free": {
                "type": "object",
                "properties": {"a": {"type": "string", "nullable": True}},
                "x-kubernetes-preserve-unknown-fields": True,
            },
        },
    }
    made = strict(schema)
    assert made["additionalProperties"] is False
    limits = made["properties"]["limits"]["additionalProperties"]
    assert limits == {"type": ["integer", "string"]}
    assert "additionalProperties" not in made["properties"]["free"]
    assert made["properties"]["free"]["properties"]["a"]["type"] == ["string", "null"]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("spec/podSelecter", {}, "did you mean 'podSelector'?"),
        ("spec/ingress", [{"form": []}], "did you mean 'from'?"),
        ("spec/policyTypes", "Ingress", "is not of type 'array'"),
    ],
)
def test_typos_in_a_network_policy_are_found(path: str, value: Any, expected: str) -> None:
    """A policy with a field that nobody reads would open or close nothing."""
    body = one(render("base"), "NetworkPolicy", "default-deny").body
    place(body, path, value)
    assert [problem for problem in found(body) if expected in problem]


def write(folder: Path, *bodies: dict[str, Any]) -> str:
    """A file of these objects."""
    path = folder / "manifests.yaml"
    path.write_text(yaml.safe_dump_all(bodies))
    return str(path)


def test_the_command_prints_every_problem_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """File, kind and name, JSON path, what was expected; exit status 1."""
    body = raycluster()
    place(body, f"spec/headGroupSpec/{POD}/image", "spurious-sweeps:latest")
    place(body, f"spec/workerGroupSpecs/0/{POD}/enviroment", [])
    place(body, "spec/rayVersion", "2.50.0")
    path = write(tmp_path, body)
    assert main([path]) == 1
    lines = capsys.readouterr().out.splitlines()
    where = f"{path}: RayCluster/sweeps: spec."
    for expected in (
        "headGroupSpec.template.spec.containers[0].image: 'spurious-sweeps:latest': expected a tag",
        "workerGroupSpecs[0].template.spec.containers[0].enviroment: unknown field",
        "rayVersion: expected 2.52.0 or later",
    ):
        assert [line for line in lines if line.startswith(where + expected)], lines
    assert lines[-2] == f"{path}: RayCluster/sweeps: unchecked: no schema here for ray.io/v1"
    assert lines[-1].startswith("0 objects checked, 1 unchecked, ")


@needs_crds
def test_clean_manifests_from_standard_input_exit_with_zero(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kinds without a schema are named, not passed over in silence."""
    text = yaml.safe_dump_all(document.body for document in render("overlays/gpu-pool"))
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert main(["--crds", str(CRDS), "--committed", "-"]) == 0
    lines = capsys.readouterr().out.splitlines()
    unchecked = "unchecked: no schema here for monitoring.coreos.com/v1"
    assert lines[:-1] == [
        f"-: PodMonitor/ray-head: {unchecked}",
        f"-: PodMonitor/ray-workers: {unchecked}",
        f"-: PrometheusRule/sweeps: {unchecked}",
    ]
    assert lines[-1].endswith(" objects checked, 3 unchecked, 0 problems")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [", "not YAML"),
        ("- 1\n---\n- 2", "expected Kubernetes objects"),
        ("", "expected manifests, found nothing"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_manifest_exits_with_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, expected: str
) -> None:
    """An empty rendering is no success."""
    path = tmp_path / "manifests.yaml"
    if text is not None:
        path.write_text(text)
    assert main([str(path)]) == 2
    assert expected in capsys.readouterr().err


def test_missing_schemas_exit_with_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without CRDs, or an unknown Kubernetes, is told and not skipped."""
    path = write(tmp_path, raycluster())
    assert main(["--crds", str(tmp_path / "none"), path]) == 2
    assert "no CustomResourceDefinition" in capsys.readouterr().err
    assert main(["--kubernetes", "1.99", path]) == 2
    assert "expected one of 1.25" in capsys.readouterr().err
    for version in ("1.6.2", "newest"):
        assert main(["--kuberay", version, path]) == 2
        assert f"--kuberay {version}: expected 1.7.0 or later" in capsys.readouterr().err


def test_an_older_kubernetes_can_be_chosen() -> None:
    """Fields that a version does not know are found when it is named."""
    resources = {"limits": {"cpu": "1", "memory": "1Gi"}}  # of a whole pod, since 1.32
    pod = Document("x", {"apiVersion": "v1", "kind": "Pod", "spec": {"resources": resources}})
    paths = {
        version: [problem.path for _, problem in lint([pod], {}, version=version).problems]
        for version in ("1.30", "1.37")
    }
    assert "spec.resources" in paths["1.30"]
    assert "spec.resources" not in paths["1.37"]


def test_an_object_given_twice_is_a_problem() -> None:
    """The second would overwrite the first."""
    body = one(render("base"), "Namespace").body
    twice = lint([Document("a", body), Document("b", body)], {}).problems
    assert [(problem.path, problem.message) for _, problem in twice] == [
        ("metadata.name", "given twice")
    ]


def test_another_groups_kind_is_not_taken_for_kubernetes_own() -> None:
    """`apps.example.com/v1` Deployment is not `apps/v1`."""
    body = {"apiVersion": "apps.example.com/v1", "kind": "Deployment", "metadata": {"name": "x"}}
    report = lint([Document("x", body)], {})
    assert [d.kind for d in report.unchecked] == ["Deployment"]
