"""Where a secret of a run could have got to, and which ports of a Ray session obey without one."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from port_probes import RAY_GRPC, RAY_HTTP, ask_grpc, ask_http, is_exporter, listeners

from cluster.stores.base import Store

STATE = ("actors", "tasks", "jobs", "nodes", "workers", "runtime_envs", "placement_groups")
HTTP_REFUSED = {0, 401, 403, 404, 405}
GRPC_REFUSED = {"UNAUTHENTICATED", "UNIMPLEMENTED", "UNAVAILABLE"}
ENDING = re.compile(r"(ShutdownRaylet|Exit|PushTask|DrainNode|Put|Del|Init|Schedule)$")
"""Calls that a test makes without the token only."""

Secrets = Mapping[str, str]
"""What a secret is, to the secret."""


def found_in(text: str, secrets: Secrets) -> list[str]:
    """Which secrets a text holds."""
    return [name for name, secret in secrets.items() if secret in text]


def found_in_files(places: Iterable[Path], secrets: Secrets) -> list[str]:
    """Files, also below folders, that hold a secret, and which; each place holds something."""
    found = []
    for place in places:
        files = [p for p in (place, *place.rglob("*")) if p.is_file() and not p.is_symlink()]
        assert files, place
        for path in files:
            text = path.read_bytes().decode("latin-1")
            found += [f"{name}: {path}" for name in found_in(text, secrets)]
    return found


def found_in_store(store: Store, secrets: Secrets) -> list[str]:
    """Keys of objects that hold a secret, and which; the store has results."""
    keys = list(store.list(""))
    assert any(key.startswith("results/trials/") for key in keys)
    found = []
    for key in keys:
        text = key + store.get(key).decode("latin-1")
        found += [f"{name}: {key}" for name in found_in(text, secrets)]
    return found


def found_in_dashboard(url: str, token: str, secrets: Secrets) -> list[str]:
    """What the state API and the dashboard tell the token's owner that holds a secret."""
    paths = [f"/api/v0/{kind}?detail=1&limit=1000" for kind in STATE]
    found = []
    for path in (*paths, "/api/jobs/", "/nodes?view=summary"):
        request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.read().decode()[:2000]}") from error
        found += [f"{name}: {path}" for name in found_in(text, secrets)]
    return found


def assert_closed(pids: Collection[int], token: str) -> dict[int, str]:
    """Every port of a Ray session is on loopback and asks for the token; returns what each is.

    With the token the same calls arrive, so that it is the token that was missing.
    """
    kinds = {}
    for each in listeners(pids):
        assert each.on_loopback, each
        grpc = ask_grpc(each.port, RAY_GRPC)
        assert set(grpc.values()) <= GRPC_REFUSED, (each, grpc)
        guarded = [method for method, code in grpc.items() if code == "UNAUTHENTICATED"]
        if guarded:
            harmless = [method for method in guarded if not ENDING.search(method)]
            assert harmless, (each, grpc)
            assert "UNAUTHENTICATED" not in ask_grpc(each.port, harmless, token).values(), each
            kinds[each.port] = "gRPC"
        elif is_exporter(each.port):
            kinds[each.port] = "metrics"
        else:
            http = ask_http(each.port, RAY_HTTP)
            assert set(http.values()) <= HTTP_REFUSED, (each, http)
            assert set(http.values()) & {401, 403}, (each, http)
            kinds[each.port] = "HTTP"
    return kinds
