"""The parser of the command line: what each verb of the table takes."""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NoReturn

from sweeps.commands.arguments import (
    add_address,
    add_keep_logs,
    add_notify,
    add_set,
    add_spec,
    add_store,
)
from sweeps.commands.model_verbs import MODEL_ARGUMENTS
from sweeps.commands.store_verbs import STORE_ARGUMENTS
from sweeps.commands.table_verbs import TABLE_ARGUMENTS
from sweeps.commands.verbs import VERBS, Verb, list_verbs

PURPOSE = (
    "Find out what annotation money buys: sweeps over spatial specificity, label budget and "
    "training method, reported as cost against robustness to spurious features."
)
FOOTER = """\
examples:
  sweeps plan sweeps/specs/quickstart.yaml   # cells, trials and dollars; runs nothing
  sweeps run sweeps/specs/quickstart.yaml    # again: runs only what has no result
  sweeps report quickstart                   # quickstart-report/report.html

`sweeps VERB --help` explains a verb; docs/yaml.md has the sweep YAML and all verbs.
Shell completion: eval "$(register-python-argcomplete sweeps)"
Exit status: 0 done, 1 trials failed, 2 an error with its remedy, 3 stopped by a limit,
130 interrupted."""
_WIDTH = 80
_SWEEP_BY_NAME = "the sweep's YAML, or the name of a sweep that was run"


class _Parser(argparse.ArgumentParser):
    """A parser whose errors name the nearest word, and the help of the verb in question."""

    def error(self, message: str) -> NoReturn:
        """Print the usage, the error and what to do, and exit with status 2."""
        match = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)$", message)
        if match:
            words = re.findall(r"'([^']*)'", match[2])
            near = difflib.get_close_matches(match[1], words, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(words)}"
            message = f"'{match[1]}' is unknown: {hint}"
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: error: {message}\nSee: {self.prog} --help\n")


def parse_options(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> argparse.Namespace:
    """Parse a command; what the verb does not take is its own parser's error, with a suggestion."""
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        leaf: argparse.ArgumentParser = options.leaf
        flags = [flag for action in leaf._actions for flag in action.option_strings]
        near = difflib.get_close_matches(unknown[0].partition("=")[0], flags, n=1)
        hint = f": did you mean {near[0]}?" if near else ""
        leaf.error(f"unrecognized arguments: {shlex.join(unknown)}{hint}")
    return options


def build_parser(verbs: Sequence[Verb] = VERBS) -> argparse.ArgumentParser:
    """Build the parser of all verbs; parsed options have the verb's name as `verb`."""
    parser = _Parser(
        prog="sweeps",
        usage="sweeps [--verbose] VERB ...",
        description=f"{_wrap(PURPOSE)}\n\n{list_verbs(verbs)}",
        epilog=FOOTER,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    parser.add_argument("--verbose", action="store_true", help="log what the program does")
    _add_verbs(parser, verbs)
    return parser


class _Version(argparse.Action):
    """Print the installed version; package metadata is read only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print it and exit with status 0."""
        from importlib.metadata import version

        print(f"sweeps {version('spurious-sweeps')}")
        parser.exit()


def _add_verbs(parser: argparse.ArgumentParser, verbs: Sequence[Verb], depth: int = 0) -> None:
    """Add a parser per verb; those of several words stand below a parser of their first one."""
    prog = " ".join(["sweeps", *verbs[0].name.split()[:depth]])
    level = parser.add_subparsers(required=True, metavar="VERB", help=argparse.SUPPRESS, prog=prog)
    for word, members in groupby(verbs, key=lambda verb: verb.name.split()[depth]):
        below = list(members)
        if below[0].name.split()[depth:] != [word]:
            nested = level.add_parser(
                word,
                usage=f"{prog} {word} VERB ...",
                description=list_verbs(below),
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            _add_verbs(nested, below, depth + 1)
            continue
        [verb] = below
        leaf = level.add_parser(
            word,
            description=f"{_wrap(_sentence(verb.summary))}\n\n{_wrap(verb.details)}",
            epilog=_describe_use(verb),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        leaf.set_defaults(verb=verb.name, leaf=leaf)
        ARGUMENTS[verb.name](leaf)
        if verb.json_fields:
            leaf.add_argument("--json", action="store_true", help="print one JSON document")


def _describe_use(verb: Verb) -> str:
    """Describe what follows the options in a verb's help: its example, and the JSON's fields."""
    lines = ["example:", f"  {verb.example}"]
    if verb.json_fields:
        wide = max(map(len, verb.json_fields)) + 4
        lines += ["", "fields of --json:"]
        for name, meaning in verb.json_fields.items():
            lines += textwrap.wrap(
                meaning,
                _WIDTH,
                initial_indent=f"  {name}".ljust(wide),
                subsequent_indent=" " * wide,
            )
    return "\n".join(lines)


def _wrap(text: str) -> str:
    return textwrap.fill(text, _WIDTH)


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _add_stage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="a dataset such as siim-acr (see docs/data.md), or weights")
    parser.add_argument(
        "origin",
        nargs="?",
        help="folder of the release, or weights file, package:NAME or hub:NAME",
    )
    parser.add_argument(
        "--for",
        dest="architecture",
        metavar="ARCHITECTURE",
        help="what weights are for: an encoder such as resnet50 or tu-resnet50, or timm:NAME; "
        "default: what they fit",
    )
    parser.add_argument(
        "--name", dest="dataset_name", help="name in the store; default: the dataset's"
    )
    add_set(parser, "an option of the dataset, e.g. image_size=256")
    parser.add_argument(
        "--table", help="of folder: the table with a row per image; same as --set table=FILE"
    )
    parser.add_argument(
        "--split",
        metavar="SHARES",
        help="of folder: split by patient into train/val/test, e.g. 0.7/0.1/0.2, or take val out "
        "of train, e.g. 0.85/0.15; same as --set split_shares=...",
    )
    parser.add_argument(
        "--keep-patient-ids",
        action="store_true",
        help="store patient ids as they are instead of as salted hashes",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="decode everything, count it and name every problem; write nothing",
    )
    parser.add_argument(
        "--on-error",
        choices=["stop", "skip"],
        default="stop",
        help="what bad images do: stop the staging, or stay out of the dataset; default: stop",
    )
    add_store(parser, "SWEEPS_STORE, else the embedded server")
    add_keep_logs(parser)


def _add_data_list(parser: argparse.ArgumentParser) -> None:
    add_store(parser, "SWEEPS_STORE, else the embedded server")


def _add_dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="NAME", help="NAME, or NAME@DIGEST of one version")
    add_store(parser, "SWEEPS_STORE, else the embedded server")


def _add_data_show(parser: argparse.ArgumentParser) -> None:
    _add_dataset(parser)
    parser.add_argument("--sheet", type=Path, metavar="FILE.png", help="write a contact sheet")
    parser.add_argument(
        "--croissant", action="store_true", help="print a Croissant description of the shards"
    )


def _add_data_remove(parser: argparse.ArgumentParser) -> None:
    _add_dataset(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _add_data_template(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="where to; must be new or empty")


_PHANTOMS = (
    "candid-ptx",
    "chexlocalize",
    "covid-radiography",
    "isic",
    "msd",
    "nih-chexmask",
    "nih-padchest",
    "rsna-pneumonia",
    "siim-acr",
    "vindr-cxr",
)
"""Formats of `sweeps.commands.phantom.PHANTOMS`, whose import would slow every command down."""


def _add_phantom(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=_PHANTOMS, help="the format")
    parser.add_argument("folder", type=Path, help="where to; must be new or empty")
    add_set(parser, "an option of the phantom, e.g. n_train=200")


def _add_plan(parser: argparse.ArgumentParser) -> None:
    add_spec(parser, "the sweep's YAML")
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="train a little of each kind of trial that no result compares with, on Ray, at most a "
        "minute a kind, to estimate hours and dollars; commits no result",
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    add_spec(
        parser,
        "the sweep's YAML, the name of a sweep that was run, or stored:SHA256 of one in the store",
    )
    add_keep_logs(parser)
    add_notify(parser)
    parser.add_argument(
        "--debug",
        metavar="TRIAL",
        help="run one trial in this process, without Ray: the first digits of its id, or its "
        "label, e.g. mask-600-erm-s0; not with --json or --keep-logs",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="print failures, warnings and the end alone"
    )
    parser.add_argument(
        "--limit-ok",
        action="store_true",
        help="end with status 0, not 3, where a limit of the sweep stopped it: for whatever would "
        "run a failed command again, such as a RayJob with retries",
    )
    parser.add_argument(
        "--retry-numerical",
        action="store_true",
        help="run those trials again, too, that became NaN or infinite in an earlier run",
    )
    parser.add_argument("--pdb", action="store_true", help="with --debug: enter pdb where it fails")


def _add_submit(parser: argparse.ArgumentParser) -> None:
    add_spec(parser, "the sweep's YAML")
    add_address(parser)
    parser.add_argument(
        "--rayjob",
        type=Path,
        metavar="RAYCLUSTER.yaml",
        help="have Kubernetes make such a cluster for the sweep alone (a KubeRay RayJob)",
    )
    parser.add_argument(
        "--retries",
        type=_whole_number,
        metavar="N",
        help="with --rayjob: up to N further clusters, one after the other, where the job fails "
        "or its head is lost; default: 0",
    )
    add_notify(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="print the request; write and send nothing"
    )
    parser.add_argument("--no-wait", action="store_true", help="do not follow the log to the end")


def _add_status(parser: argparse.ArgumentParser) -> None:
    add_spec(parser, _SWEEP_BY_NAME)
    add_address(parser)
    parser.add_argument(
        "--check", action="store_true", help="read the results, too: damaged ones, and cautions"
    )


def _add_failures(parser: argparse.ArgumentParser) -> None:
    add_spec(parser, _SWEEP_BY_NAME)


def _add_logs(parser: argparse.ArgumentParser) -> None:
    add_spec(parser, _SWEEP_BY_NAME)
    add_address(parser)
    parser.add_argument("--trial", metavar="ID", help="lines of a trial; its first digits will do")
    parser.add_argument("--worker", metavar="IP-OR-PID", help="lines of one worker, or of one node")
    parser.add_argument("--follow", action="store_true", help="go on until the job or run ends")


def _add_stop(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", help=_SWEEP_BY_NAME)
    add_address(parser)


def _add_report(parser: argparse.ArgumentParser) -> None:
    add_spec(parser, _SWEEP_BY_NAME)
    parser.add_argument(
        "other",
        nargs="?",
        help="another sweep: how its purchases differ from the first one's is written instead",
    )
    parser.add_argument(
        "--out", type=Path, help="folder; default: NAME-report, or OTHER-against-NAME"
    )


def _add_pull(parser: argparse.ArgumentParser) -> None:
    add_spec(parser, _SWEEP_BY_NAME)
    parser.add_argument("--out", type=Path, help="folder; default: NAME-tables")


def _add_schema(parser: argparse.ArgumentParser) -> None:
    """Add nothing: `schema` has no arguments."""


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, help="S3 port; default: any free one")


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}': expected a whole number, 0 or more")
    return int(text)


ARGUMENTS: Mapping[str, Callable[[argparse.ArgumentParser], None]] = {
    "stage": _add_stage,
    "data list": _add_data_list,
    "data show": _add_data_show,
    "data check": _add_dataset,
    "data remove": _add_data_remove,
    "data template": _add_data_template,
    "plan": _add_plan,
    "run": _add_run,
    "submit": _add_submit,
    "status": _add_status,
    "failures": _add_failures,
    "logs": _add_logs,
    "stop": _add_stop,
    "report": _add_report,
    "pull": _add_pull,
    **TABLE_ARGUMENTS,
    **MODEL_ARGUMENTS,
    **STORE_ARGUMENTS,
    "phantom": _add_phantom,
    "schema": _add_schema,
    "serve": _add_serve,
}
"""What each verb takes, by its name; `--json` follows from the table of verbs."""
