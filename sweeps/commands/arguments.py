"""Arguments that several verbs take."""

from __future__ import annotations

import argparse


def add_address(parser: argparse.ArgumentParser) -> None:
    """Add the cluster's address."""
    parser.add_argument(
        "--address",
        metavar="URL",
        help="the cluster's dashboard, http://HOST:8265; default: RAY_API_SERVER_ADDRESS",
    )


def add_keep_logs(parser: argparse.ArgumentParser) -> None:
    """Add the flag that keeps Ray's logs."""
    parser.add_argument(
        "--keep-logs",
        action="store_true",
        help="keep the logs of the local Ray session, and print where they are",
    )


def add_notify(parser: argparse.ArgumentParser) -> None:
    """Add where the end of a run is posted."""
    parser.add_argument(
        "--notify",
        metavar="URL",
        help="post one JSON line there when the run ends; default: SWEEPS_NOTIFY, else nothing",
    )


def add_spec(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the sweep, its overrides and its store."""
    parser.add_argument("spec", help=text)
    add_set(parser, "override a field of the specification, e.g. train.epochs=2")
    add_store(parser)


def add_set(parser: argparse.ArgumentParser, text: str) -> None:
    """Add overrides."""
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)


def add_store(
    parser: argparse.ArgumentParser,
    default: str = "the specification's, else SWEEPS_STORE, else the embedded server",
) -> None:
    """Add the store."""
    parser.add_argument(
        "--store",
        help="a folder or s3://BUCKET/PREFIX (endpoint and keys from AWS_* variables); "
        f"default: {default}",
    )
