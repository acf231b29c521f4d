"""What `sweeps submit` asks for, and how a cluster finds the YAML: without any cluster."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from kubernetes_here import KubernetesHere, kubernetes_here
from tiny_sweeps import TEXT, read_json, run_here, tiny

from cluster.embedded.server import Endpoint
from cluster.stores.folder import FolderStore
from sweeps.cli import main
from sweeps.commands.context import SpecSource, name_again
from sweeps.commands.logs import LineFilter
from sweeps.errors import SweepError
from sweeps.spec.stored import get_spec, put_spec, stored_spec_key

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
DIGEST = hashlib.sha256(TEXT.encode()).hexdigest()
S3 = ("--store", "s3://sweeps/research")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with `tiny.yaml` in it, and a user whose environment has secrets."""
    (tmp_path / "tiny.yaml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, f"secret-{name}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://secret-host:8333")
    return tmp_path


@pytest.fixture
def kubernetes(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesHere]:
    """A server that acts as the Kubernetes API, to which KUBECONFIG leads."""
    with kubernetes_here(here) as found:
        monkeypatch.setenv("KUBECONFIG", str(found.kubeconfig))
        monkeypatch.setattr("cluster.jobs.kuberay_api._POLL_S", 0.01)
        yield found


def asked(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> tuple[str, str]:
    """Standard output and error of a command, which must have this exit status."""
    assert main(arguments) == status
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_a_dry_run_prints_the_golden_request(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole request, from the sweep's file on; nothing of the user's environment is in it."""
    command = ["submit", "tiny.yaml", *S3, "--set", "axes.seed=[0, 1]", "--dry-run"]
    out, errors = asked(capsys, *command)
    assert json.loads(out) == json.loads((GOLDEN / "submit_request.json").read_text())
    assert errors == ""
    assert "secret" not in out
    assert sorted(path.name for path in here.iterdir()) == ["tiny.yaml"]


def test_equal_sweeps_have_equal_ids_and_others_other_ones(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The YAML and the overrides count, not how one was written or what address is asked."""

    def made(*more: str) -> str:
        out, _ = asked(capsys, "submit", "tiny.yaml", *S3, "--dry-run", *more)
        found: str = json.loads(out)["submission_id"]
        return found

    plain = made()
    assert made("--address", "http://elsewhere:8265") == plain
    assert made("--set", "axes.seed=[0,1]") == made("--set", "axes.seed=[ 0, 1 ]") != plain
    (here / "tiny.yaml").write_text(f"{TEXT}# changed\n")
    assert made() != plain


def test_a_dry_run_prints_a_rayjob(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For `kubectl create -f -`: the same work, in the cluster that was given."""
    (here / "cluster.yaml").write_text((GOLDEN / "raycluster.yaml").read_text())
    command = ["submit", "tiny.yaml", *S3, "--dry-run"]
    request = json.loads(asked(capsys, *command)[0])
    rayjob = yaml.safe_load(asked(capsys, *command, "--rayjob", "cluster.yaml")[0])
    assert json.loads(asked(capsys, *command, "--rayjob", "cluster.yaml", "--json")[0]) == rayjob
    assert rayjob["kind"] == "RayJob"
    assert rayjob["metadata"]["name"] == request["submission_id"]
    assert rayjob["spec"]["entrypoint"] == f"{request['entrypoint']} --limit-ok"
    assert "secret-" not in str(rayjob)


def test_a_rayjob_is_sent_and_its_outcome_is_the_status(
    kubernetes: KubernetesHere, capsys: pytest.CaptureFixture[str]
) -> None:
    """To a server that acts as the Kubernetes API and plays the operator.

    The YAML is in the store by then. A second time the live RayJob is attached to.
    """
    Path("cluster.yaml").write_text((GOLDEN / "raycluster.yaml").read_text())
    command = ["submit", "tiny.yaml", "--store", "store", "--rayjob", "cluster.yaml"]
    out, errors = asked(capsys, *command, "--no-wait", "--json")
    [name] = kubernetes.jobs
    document = read_json("submit", out)
    assert (document["job_id"], document["address"]) == (name, kubernetes.url)
    assert (document["attached"], document["left"]) == (False, 4)
    assert f"created RayJob {name} -n spurious-sweeps at {kubernetes.url}" in errors
    assert f"stop: kubectl delete rayjob {name} -n spurious-sweeps" in errors
    assert get_spec(FolderStore(Path("store")), DIGEST) == TEXT.encode()
    kubernetes.states = [
        {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"},
        {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "message": "it broke"},
    ]
    _, errors = asked(capsys, *command, status=1)
    assert f"attached to RayJob {name}" in errors
    assert errors.splitlines()[-1] == f"RayJob {name}: Failed FAILED it broke"
    assert "note: the job goes on as" not in errors


def test_a_rayjob_may_be_retried(
    kubernetes: KubernetesHere, capsys: pytest.CaptureFixture[str]
) -> None:
    """--retries is the operator's limit; a job that lives already keeps its own, and it is said."""
    Path("cluster.yaml").write_text((GOLDEN / "raycluster.yaml").read_text())
    command = ["submit", "tiny.yaml", "--store", "store", "--rayjob", "cluster.yaml", "--no-wait"]
    asked(capsys, *command, "--retries", "2")
    [created] = kubernetes.jobs.values()
    assert created["spec"]["backoffLimit"] == 2
    _, errors = asked(capsys, *command, "--retries", "2")
    assert "note: the job goes on as" not in errors
    _, errors = asked(capsys, *command, "--retries", "5", "--notify", "https://example.com/x")
    assert "with another --notify and --retries than this command's" in errors
    assert list(kubernetes.jobs.values()) == [created]
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--retries", "-1"])
    assert "'-1': expected a whole number, 0 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("submit tiny.yaml --address http://10.0.0.1:8265", "no store is named: a cluster"),
        ("submit tiny.yaml --address http://localhost:8265", "no store is named: a cluster"),
        ("submit tiny.yaml --rayjob tiny.yaml", "no store is named: a cluster cannot reach"),
        ("submit tiny.yaml --dry-run", "one that both can, --store s3://BUCKET/PREFIX, or set"),
        ("submit tiny.yaml --store store", "no cluster is named: give --address"),
        ("submit tiny.yaml --store store --address ray://h:1", "bad address 'ray://h:1'"),
        ("submit tiny.yaml --store store --rayjob nowhere.yaml", "nowhere.yaml: No such file"),
        ("submit tiny.yaml --store store --rayjob tiny.yaml", "0 documents of kind RayCluster"),
        ("submit tiny.yaml --rayjob x --address http://h", "a cluster of its own; leave --address"),
        ("submit tiny.yaml --store store --retries 1", "--retries is for --rayjob"),
        ("submit nowhere.yaml --store store", "nowhere.yaml: cannot be read"),
        ("submit tiny.yaml --set train.epochs=0 --store s3://x", "train.epochs"),
        ("status unknown --store store", "no sweep 'unknown' in"),
        ("logs never-run", "no run of sweep 'never-run' goes on here, and none has kept its logs"),
        ("logs tiny --trial x/y", "--trial x/y: expected a trial's id"),
        ("stop tiny", "no cluster is named: give --address"),
        ("run stored:abc --store store", "stored:abc: expected 64 hexadecimal digits"),
        (f"run stored:{DIGEST} --store store", f"no specs/{DIGEST}.yaml in"),
    ],
)
def test_an_error_is_one_clear_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    """Status 2, on standard error alone, before anything is sent."""
    out, errors = asked(capsys, *arguments.split(), status=2)
    assert out == ""
    assert errors.startswith("sweeps: error: ")
    assert message in errors


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--store store --rayjob cluster.yaml", True),
        ("--store store --address http://10.0.0.1:8265", True),
        ("--store store --address http://localhost:8265", False),
        ("--store s3://sweeps --rayjob cluster.yaml", False),
    ],
)
def test_a_folder_for_a_cluster_elsewhere_is_told(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: str, told: bool
) -> None:
    """One line on standard error: a node without that folder would have a store of its own."""
    (here / "cluster.yaml").write_text((GOLDEN / "raycluster.yaml").read_text())
    _, errors = asked(capsys, "submit", "tiny.yaml", "--dry-run", *arguments.split())
    line = f"note: the store is a folder: every node must have {here / 'store'} mounted\n"
    assert errors == (line if told else "")


def test_the_embedded_server_is_told_by_that_word(
    here: Path, s3_environment: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its URL may be that of the very store that was meant: s3://sweeps."""
    for command in (["status", "unknown"], ["logs", "unknown", "--trial", "ab"]):
        _, errors = asked(capsys, *command, status=2)
        assert errors.startswith("sweeps: error: no sweep 'unknown' in the embedded server of this")
        assert "give --store" in errors
        assert "s3://" not in errors
        _, errors = asked(capsys, *command, "--store", "s3://sweeps/other", status=2)
        assert "no sweep 'unknown' in s3://sweeps/other; expected" in errors


def test_a_bad_spec_has_the_errors_of_plan(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All problems at once, with their lines, before a cluster is asked."""
    (here / "tiny.yaml").write_text(TEXT.replace("erm", "irm").replace("epochs: 3", "epochs: -3"))
    address = ("--address", "http://127.0.0.1:9")
    _, planned = asked(capsys, "plan", "tiny.yaml", status=2)
    _, submitted = asked(capsys, "submit", "tiny.yaml", *S3, *address, status=2)
    assert submitted == planned
    assert submitted.count("tiny.yaml:") == 2


def test_a_stored_spec_runs_as_a_file_does(
    folder_store: FolderStore, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its hash, with overrides, and with the YAML archived under its name."""
    run_here(folder_store, tiny(axes__seed=[3]), here / "cache")
    capsys.readouterr()
    digest = put_spec(folder_store, TEXT)
    assert digest == DIGEST
    store = ("--store", folder_store.url)
    _, errors = asked(capsys, "run", f"stored:{digest}", "--set", "axes.seed=[3]", *store)
    assert errors == (
        "sweep 'tiny': all 2 trials have a result; nothing to run\n"
        f"next: sweeps report tiny --store {folder_store.url}\n"
    )
    assert folder_store.get("sweeps/tiny/spec.yaml").decode() == TEXT


def test_a_stored_spec_that_was_changed_is_refused(folder_store: FolderStore) -> None:
    """A hash stands for one text."""
    digest = put_spec(folder_store, TEXT)
    folder_store.put(stored_spec_key(digest), b"name: other\n")
    with pytest.raises(SweepError, match=r"is damaged \(its SHA-256 is .*submit it again"):
        get_spec(folder_store, digest)


def test_status_counts_cells_from_the_store_alone(
    folder_store: FolderStore, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By file as by name; of the cells of a sweep that was extended, half are missing."""
    run_here(folder_store, tiny(axes__seed=[0]), here / "cache")
    command = ["status", "tiny.yaml", "--store", folder_store.url]
    lines = asked(capsys, *command)[0].splitlines()
    assert lines[0] == "sweep tiny: 4 trials, 2 done, 0 failed, 2 missing"
    assert lines[1].startswith("last result: 20")
    assert [line.split() for line in lines[3:6]] == [
        ["specificity", "budget", "method", "done", "failed", "missing"],
        ["label", "20", "erm", "1", "0", "1"],
        ["mask", "20", "erm", "1", "0", "1"],
    ]
    told = read_json("status", asked(capsys, *command, "--json")[0])
    assert (told["done"], told["missing"], told["failures"], told["job"]) == (2, 2, {}, None)
    assert [cell["done"] for cell in told["cells"]] == [1, 1]


LINES = """\
sweep 'tiny': 4 trials, 0 done, 4 to run, 2 at once
\x1b[36m(tiny pid=31)\x1b[0m label-20-erm-s0 0123456789abcdef: INFO sweeps.trial.run: begins
\x1b[36m(tiny pid=32, ip=10.0.0.3)\x1b[0m mask-20-erm-s0 fedcba9876543210: INFO sweeps.trial.run: x
(tiny pid=32, ip=10.0.0.3) it is about 0123456789abcdef: no line of that trial
(tiny pid=31) a line of a library
     6 s  [1/4] 01234567 label-20-erm-s0 robust AUROC 0.000 in 1.2 s
""".splitlines()


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (LineFilter(), [0, 1, 2, 3, 4, 5]),
        (LineFilter(trial="0123456789abcdef"), [1]),
        (LineFilter(trial="fedc"), [2]),
        (LineFilter(trial="bcdef"), []),
        (LineFilter(worker="31"), [1, 4]),
        (LineFilter(worker="3"), []),
        (LineFilter(worker="10.0.0.3"), [2, 3]),
        (LineFilter(trial="01", worker="31"), [1]),
    ],
)
def test_lines_are_told_apart_by_their_prefixes(wanted: LineFilter, numbers: list[int]) -> None:
    """Ray's own prefix names the worker, ours the trial; colours do not matter."""
    assert [number for number, line in enumerate(LINES) if wanted(line)] == numbers


def test_commands_on_a_cluster_import_ray_only_when_they_ask_it(here: Path) -> None:
    """Ray reads its mode when it is imported, and a dry run answers at once."""
    code = (
        "import sys; from sweeps.cli import main; status = main(sys.argv[1:]);"
        "print(status, [m for m in ('ray', 'torch', 'lightkube') if m in sys.modules])"
    )
    command = ["submit", "tiny.yaml", *S3, "--dry-run"]
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0 []"


def test_what_finds_a_job_again_is_what_was_typed() -> None:
    """But for overrides, which `stop` does not take: the name follows from them."""
    assert name_again(SpecSource("my sweeps/tiny.yaml"), "tiny") == "'my sweeps/tiny.yaml'"
    assert name_again(SpecSource("tiny.yaml", ("name=other",)), "other") == "other"
