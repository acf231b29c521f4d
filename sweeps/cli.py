"""The command line: parse options, run the verb, turn errors into one line and an exit status.

Verbs stand in `sweeps.commands.verbs`, their options in `sweeps.commands.parser`. Every option
overrides a field of the specification or says where output goes; nothing else.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.common.redaction import RedactingFormatter, redact
from cluster.errors import ClusterError
from spurious.errors import SpuriousError
from sweeps.commands.parser import build_parser, parse_options
from sweeps.errors import SweepError

if TYPE_CHECKING:
    from sweeps.commands.context import SpecSource

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0 done, 1 some trials failed, 2 an error that the user can mend, 130 interrupted.
    """
    parser = build_parser()
    if "_ARGCOMPLETE" in os.environ:  # set by the shell's completion alone
        from sweeps.commands.completion import complete

        complete(parser)
    options = parse_options(parser, arguments)
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("%(levelname)s %(name)s: %(message)s"))
    level = logging.INFO if options.verbose else logging.WARNING
    logging.basicConfig(level=level, handlers=[handler])
    try:
        status = HANDLERS[options.verb](options)
        sys.stdout.flush()  # here, where a closed pipe can still be caught
        return status
    except BrokenPipeError:  # as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (SweepError, SpuriousError, ClusterError, OSError) as error:
        logging.getLogger(__name__).info("where it came from", exc_info=True)
        print(f"sweeps: error: {redact(_format_error(error))}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("sweeps: interrupted; the same command continues", file=sys.stderr)
        return EXIT_INTERRUPTED


def _format_error(error: Exception) -> str:
    """Format an error as one line; the system's own errors as ours, the path first."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _parse_overrides(options: argparse.Namespace) -> Mapping[str, Any]:
    from sweeps.spec.model import parse_override

    return dict(parse_override(pair) for pair in options.set)


def _read_source(options: argparse.Namespace, name: str = "spec") -> SpecSource:
    from sweeps.commands.context import SpecSource

    return SpecSource(getattr(options, name), tuple(getattr(options, "set", ())))


def _stage(options: argparse.Namespace) -> int:
    from sweeps.commands.stage import DatasetRequest, stage, stage_weights
    from sweeps.staging.sources import keep_texts

    overrides = _parse_overrides(options)
    if options.name == "weights":
        if options.origin is None:
            raise SweepError(
                "the weights are missing: sweeps stage weights FILE, or hub:NAME such as "
                "hub:resnet50"
            )
        if options.dry_run:
            raise SweepError("--dry-run is for datasets; weights are checked when they are staged")
        return stage_weights(
            options.origin,
            options.store,
            architecture=options.architecture,
            as_json=options.json,
        )
    if options.architecture is not None:
        raise SweepError("--for is for `sweeps stage weights`; leave it out for a dataset")
    folder = None if options.origin is None else Path(options.origin)
    overrides = {**keep_texts(options.name, options.set, overrides), **_stage_flags(options)}
    request = DatasetRequest(
        options.name, folder, options.dataset_name, overrides, options.on_error
    )
    if options.dry_run:
        from sweeps.commands.dry_run import dry_run

        return dry_run(request, as_json=options.json)
    return stage(request, options.store, keep_logs=options.keep_logs, as_json=options.json)


def _data_list(options: argparse.Namespace) -> int:
    from sweeps.commands.data import list_staged

    return list_staged(options.store, as_json=options.json)


def _data_show(options: argparse.Namespace) -> int:
    from sweeps.commands.data import show

    return show(
        options.dataset,
        options.store,
        sheet=options.sheet,
        croissant=options.croissant,
        as_json=options.json,
    )


def _data_check(options: argparse.Namespace) -> int:
    from sweeps.commands.data import check

    return check(options.dataset, options.store, as_json=options.json)


def _data_remove(options: argparse.Namespace) -> int:
    from sweeps.commands.data import remove

    return remove(options.dataset, options.store, yes=options.yes, as_json=options.json)


def _stage_flags(options: argparse.Namespace) -> Mapping[str, Any]:
    """Return flags of `stage` as the options of a dataset that they stand for."""
    flags = {
        "table": options.table,
        "split_shares": options.split,
        "keep_patient_ids": options.keep_patient_ids or None,
    }
    return {name: value for name, value in flags.items() if value is not None}


def _data_template(options: argparse.Namespace) -> int:
    from sweeps.commands.data_template import write_data_template

    return write_data_template(options.folder, as_json=options.json)


def _phantom(options: argparse.Namespace) -> int:
    from sweeps.commands.phantom import write_phantom

    overrides = _parse_overrides(options)
    return write_phantom(options.name, options.folder, overrides, as_json=options.json)


def _plan(options: argparse.Namespace) -> int:
    from sweeps.commands.plan import plan

    source = _read_source(options)
    return plan(source, options.store, calibrate=options.calibrate, as_json=options.json)


def _run(options: argparse.Namespace) -> int:
    source = _read_source(options)
    if options.debug is not None:
        return _debug(options, source)
    if options.pdb:
        raise SweepError("--pdb needs a trial: sweeps run SPEC --debug TRIAL --pdb")
    from sweeps.commands.run import run

    return run(
        source,
        options.store,
        keep_logs=options.keep_logs,
        quiet=options.quiet,
        notify_url=options.notify,
        is_limit_ok=options.limit_ok,
        retry_numerical=options.retry_numerical,
        as_json=options.json,
    )


def _debug(options: argparse.Namespace, source: SpecSource) -> int:
    if options.keep_logs:
        raise SweepError("--debug runs without Ray, whose logs --keep-logs keeps; leave it out")
    if options.notify is not None:
        raise SweepError("--debug runs one trial, and --notify tells of a whole run; leave it out")
    if options.limit_ok:
        raise SweepError("--debug runs one trial, and --limit-ok is of a whole run; leave it out")
    if options.retry_numerical:
        raise SweepError("--debug runs any trial, one that became NaN too; leave the option out")
    if options.json:
        raise SweepError("--debug runs one trial, and --json sums up a whole run; leave it out")
    from sweeps.commands.debug import debug

    return debug(source, options.store, options.debug, post_mortem=options.pdb)


def _submit(options: argparse.Namespace) -> int:
    from sweeps.commands.submit import Submission, submit

    if options.rayjob is not None and options.address is not None:
        raise SweepError("--rayjob makes a cluster of its own; leave --address out")
    if options.rayjob is None and options.retries is not None:
        raise SweepError(
            "--retries is for --rayjob, whose operator makes clusters; on a cluster that runs "
            "already give the command again"
        )
    source = _read_source(options)
    submission = Submission(
        source,
        options.store,
        options.address,
        options.rayjob,
        options.retries or 0,
        options.notify,
    )
    wait = not options.no_wait
    return submit(submission, dry_run=options.dry_run, wait=wait, as_json=options.json)


def _status(options: argparse.Namespace) -> int:
    from sweeps.commands.status import status

    source = _read_source(options)
    return status(source, options.store, options.address, check=options.check, as_json=options.json)


def _failures(options: argparse.Namespace) -> int:
    from sweeps.commands.failures import failures

    return failures(_read_source(options), options.store, as_json=options.json)


def _logs(options: argparse.Namespace) -> int:
    from sweeps.commands.logs import LineFilter, logs

    lines = LineFilter(options.trial, options.worker)
    source = _read_source(options)
    return logs(source, options.store, options.address, lines, follow=options.follow)


def _stop(options: argparse.Namespace) -> int:
    from sweeps.commands.stop import stop

    return stop(_read_source(options), options.address, as_json=options.json)


def _report(options: argparse.Namespace) -> int:
    if options.other is not None:
        from sweeps.commands.compare import compare

        sides = _read_source(options), _read_source(options, "other")
        return compare(*sides, options.store, options.out, as_json=options.json)
    from sweeps.commands.report import report

    return report(_read_source(options), options.store, options.out, as_json=options.json)


def _pull(options: argparse.Namespace) -> int:
    from sweeps.commands.pull import pull

    return pull(_read_source(options), options.store, options.out, as_json=options.json)


def _list(options: argparse.Namespace) -> int:
    from sweeps.commands.list_sweeps import show_sweeps

    return show_sweeps(options.store, as_json=options.json)


def _tables(options: argparse.Namespace) -> int:
    from sweeps.commands.tables import show_tables

    return show_tables(options.names, as_json=options.json)


def _sql(options: argparse.Namespace) -> int:
    from sweeps.commands.sql import CSV, JSON, TEXT, sql

    if options.csv + options.json + (options.parquet is not None) > 1:
        raise SweepError("--csv, --json and --parquet exclude each other; give one of them")
    form = CSV if options.csv else JSON if options.json else TEXT
    source = _read_source(options)
    return sql(options.query, source, options.store, form=form, parquet=options.parquet)


def _export(options: argparse.Namespace) -> int:
    from sweeps.commands.export import export

    source, choice = _read_source(options), (options.cell, options.seed, options.out)
    return export(source, options.store, *choice, as_json=options.json)


def _evaluate(options: argparse.Namespace) -> int:
    from sweeps.commands.evaluate import evaluate

    return evaluate(
        options.file,
        options.dataset,
        options.store,
        options.out,
        splits=options.split,
        device=options.device,
        as_json=options.json,
    )


def _store_check(options: argparse.Namespace) -> int:
    from sweeps.commands.store_check import check

    return check(options.store, repair=options.repair, as_json=options.json)


def _store_du(options: argparse.Namespace) -> int:
    from sweeps.commands.store_content import show_usage

    return show_usage(options.store, as_json=options.json)


def _store_compact(options: argparse.Namespace) -> int:
    from sweeps.commands.store_content import compact_store

    return compact_store(options.store, as_json=options.json)


def _store_copy(options: argparse.Namespace) -> int:
    from sweeps.commands.store_content import copy_sweep

    return copy_sweep(options.sweep, options.store, options.target, as_json=options.json)


def _store_prune(options: argparse.Namespace) -> int:
    from sweeps.commands.store_content import prune_store

    return prune_store(
        options.store,
        days=options.days,
        results=options.results,
        yes=options.yes,
        as_json=options.json,
    )


def _schema(options: argparse.Namespace) -> int:
    from sweeps.commands.schema import schema

    return schema()


def _serve(options: argparse.Namespace) -> int:
    from sweeps.commands.serve import serve

    return serve(options.port)


HANDLERS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "stage": _stage,
    "data list": _data_list,
    "data show": _data_show,
    "data check": _data_check,
    "data remove": _data_remove,
    "data template": _data_template,
    "plan": _plan,
    "run": _run,
    "submit": _submit,
    "status": _status,
    "failures": _failures,
    "logs": _logs,
    "stop": _stop,
    "report": _report,
    "pull": _pull,
    "list": _list,
    "tables": _tables,
    "sql": _sql,
    "export": _export,
    "evaluate": _evaluate,
    "store check": _store_check,
    "store du": _store_du,
    "store compact": _store_compact,
    "store copy": _store_copy,
    "store prune": _store_prune,
    "phantom": _phantom,
    "schema": _schema,
    "serve": _serve,
}
"""What runs each verb, by its name; a verb's heavy imports are made only then."""
