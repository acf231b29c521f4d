"""The command line: `sweeps stage | plan | run | submit | status | logs | stop | pull | ...`.

Every option overrides a field of the specification or says where output goes; nothing else.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.common.redaction import RedactingFormatter, redact
from cluster.errors import ClusterError
from spurious.errors import SpuriousError
from sweeps.errors import SweepError

if TYPE_CHECKING:
    from sweeps.commands.context import SpecSource

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="sweeps",
        description="What to buy with annotation money: sweeps over spatial specificity, label "
        "budget and training method, for robustness to spurious features.",
    )
    parser.add_argument("--verbose", action="store_true", help="log what the program does")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    stage = commands.add_parser("stage", help="put a dataset or pretrained weights into the store")
    stage.add_argument("name", help="siim-acr, isic, gaussian-squares, or weights")
    stage.add_argument(
        "origin", nargs="?", help="folder of the release, or weights file or hub:NAME"
    )
    stage.add_argument(
        "--name", dest="dataset_name", help="name in the store; default: the dataset's"
    )
    _add_set(stage, "an option of the dataset, e.g. image_size=256")
    _add_store(stage)
    _add_keep_logs(stage)

    phantom = commands.add_parser("phantom", help="write a synthetic release in a real format")
    phantom.add_argument("name", choices=["isic", "siim-acr"], help="the format")
    phantom.add_argument("folder", type=Path, help="where to; must not exist or be empty")
    _add_set(phantom, "an option of the phantom, e.g. n_train=200")

    plan = commands.add_parser("plan", help="show cells, trials and dollars before anything runs")
    _add_spec(plan, "the sweep YAML")
    plan.add_argument("--json", action="store_true", help="print JSON")

    run = commands.add_parser("run", help="run what has no result yet")
    _add_spec(run, "the sweep YAML, or stored:SHA256 of one in the store")
    _add_keep_logs(run)
    run.add_argument(
        "--debug",
        metavar="TRIAL",
        help="run one trial in this process, without Ray: the first digits of its id, or its "
        "label, e.g. mask-600-erm-s0",
    )
    run.add_argument("--pdb", action="store_true", help="with --debug: enter pdb where it raises")

    _add_cluster_commands(commands)

    pull = commands.add_parser("pull", help="write a sweep's tables as one Parquet file each")
    _add_spec(pull, "the sweep YAML, or the name of a sweep that was run")
    pull.add_argument("--out", type=Path, help="folder; default: NAME-tables")

    report = commands.add_parser("report", help="write the cost-robustness frontier report")
    _add_spec(report, "the sweep YAML, or the name of a sweep that was run")
    report.add_argument("--out", type=Path, help="folder; default: NAME-report")

    serve = commands.add_parser("serve", help="run the embedded S3 server until interrupted")
    serve.add_argument("--port", type=int, help="S3 port; default: any free one")

    commands.add_parser("schema", help="print the JSON Schema of the sweep YAML, for editors")
    return parser


def _add_cluster_commands(commands: Any) -> None:
    """What acts on a cluster elsewhere."""
    named = "the name of a sweep, or its YAML"
    submit = commands.add_parser("submit", help="have a Ray cluster run what has no result yet")
    _add_spec(submit, "the sweep YAML")
    _add_address(submit)
    submit.add_argument(
        "--rayjob",
        type=Path,
        metavar="RAYCLUSTER.yaml",
        help="have Kubernetes make such a cluster for the sweep alone (a KubeRay RayJob)",
    )
    submit.add_argument(
        "--dry-run", action="store_true", help="print the request; write and send nothing"
    )
    submit.add_argument("--no-wait", action="store_true", help="do not follow the log to the end")

    status = commands.add_parser("status", help="show what is done, failed and missing")
    _add_spec(status, named)
    _add_address(status)
    status.add_argument("--json", action="store_true", help="print JSON")

    logs = commands.add_parser("logs", help="show the log of a submitted sweep")
    _add_spec(logs, named)
    _add_address(logs)
    logs.add_argument("--trial", metavar="ID", help="lines of one trial; its first digits will do")
    logs.add_argument("--worker", metavar="IP-OR-PID", help="lines of one worker, or of one node")
    logs.add_argument("--follow", action="store_true", help="go on until the job ends")

    stop = commands.add_parser("stop", help="end a submitted sweep, with its checkpoints saved")
    stop.add_argument("spec", help=named)
    _add_address(stop)


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--address",
        metavar="URL",
        help="the cluster's dashboard, http://HOST:8265; default: RAY_API_SERVER_ADDRESS",
    )


def _add_keep_logs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep-logs",
        action="store_true",
        help="keep the logs of the local Ray session, and print where they are",
    )


def _add_spec(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("spec", help=text)
    _add_set(parser, "override a field of the specification, e.g. train.epochs=2")
    _add_store(parser)


def _add_set(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store",
        help="a folder or s3://BUCKET/PREFIX (endpoint and keys from AWS_* variables); "
        "default: the specification's, else SWEEPS_STORE, else the embedded server",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status.

    0 done, 1 some trials failed, 2 an error that the user can mend, 130 interrupted.
    """
    options = build_parser().parse_args(arguments)
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("%(levelname)s %(name)s: %(message)s"))
    level = logging.INFO if options.verbose else logging.WARNING
    logging.basicConfig(level=level, handlers=[handler])
    try:
        status = _dispatch(options)
        sys.stdout.flush()  # here, where a reader that went away can still be told apart
        return status
    except BrokenPipeError:  # as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (SweepError, SpuriousError, ClusterError, OSError) as error:
        logging.getLogger(__name__).info("where it came from", exc_info=True)
        print(f"sweeps: error: {redact(_told(error))}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("sweeps: interrupted; the same command continues", file=sys.stderr)
        return EXIT_INTERRUPTED


def _told(error: Exception) -> str:
    """The message of an error; the system's own are told as ours are, the place first."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _overrides(pairs: Sequence[str]) -> Mapping[str, Any]:
    from sweeps.spec.model import parse_override

    return dict(parse_override(pair) for pair in pairs)


def _dispatch(options: argparse.Namespace) -> int:
    from sweeps.commands.context import SpecSource

    settings = tuple(getattr(options, "set", ()))
    if options.command == "serve":
        from sweeps.commands.serve import serve

        return serve(options.port)
    if options.command == "schema":
        from sweeps.commands.schema import schema

        return schema()
    if options.command == "phantom":
        from sweeps.commands.phantom import write_phantom

        return write_phantom(options.name, options.folder, _overrides(settings))
    if options.command == "stage":
        return _stage(options, _overrides(settings))
    source = SpecSource(options.spec, settings)
    if options.command == "plan":
        from sweeps.commands.plan import plan

        return plan(source, options.store, as_json=options.json)
    if options.command == "run":
        return _run(options, source)
    if options.command in ("submit", "status", "logs", "stop"):
        return _on_cluster(options, source)
    if options.command == "pull":
        from sweeps.commands.pull import pull

        return pull(source, options.store, options.out)
    from sweeps.commands.report import report

    return report(source, options.store, options.out)


def _run(options: argparse.Namespace, source: SpecSource) -> int:
    if options.debug is not None:
        if options.keep_logs:
            raise SweepError("--debug runs without Ray, whose logs --keep-logs keeps; leave it out")
        from sweeps.commands.debug import debug

        return debug(source, options.store, options.debug, post_mortem=options.pdb)
    if options.pdb:
        raise SweepError("--pdb needs a trial: sweeps run SPEC --debug TRIAL --pdb")
    from sweeps.commands.run import run

    return run(source, options.store, keep_logs=options.keep_logs)


def _on_cluster(options: argparse.Namespace, source: SpecSource) -> int:
    if options.command == "submit":
        from sweeps.commands.submit import Submission, submit

        if options.rayjob is not None and options.address is not None:
            raise SweepError("--rayjob makes a cluster of its own; leave --address out")
        given = Submission(source, options.store, options.address, options.rayjob)
        return submit(given, dry_run=options.dry_run, wait=not options.no_wait)
    if options.command == "status":
        from sweeps.commands.status import status

        return status(source, options.store, options.address, as_json=options.json)
    if options.command == "stop":
        from sweeps.commands.stop import stop

        return stop(source, options.address)
    from sweeps.commands.logs import Wanted, logs

    wanted = Wanted(options.trial, options.worker)
    return logs(source, options.store, options.address, wanted, follow=options.follow)


def _stage(options: argparse.Namespace, overrides: Mapping[str, Any]) -> int:
    from sweeps.commands.stage import stage, stage_weights

    if options.name == "weights":
        if options.origin is None:
            raise SweepError("sweeps stage weights FILE, or hub:NAME such as hub:resnet50")
        return stage_weights(options.origin, options.store)
    folder = None if options.origin is None else Path(options.origin)
    return stage(
        options.name,
        folder,
        options.dataset_name,
        overrides,
        options.store,
        keep_logs=options.keep_logs,
    )
