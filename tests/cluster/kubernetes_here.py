"""A small HTTP server that acts as the Kubernetes API for RayJobs; no cluster is behind it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "a-user-of-the-tests"
_PATH = re.compile(r"/apis/ray\.io/v1/namespaces/([a-z-]+)/rayjobs(?:/([a-z0-9-]+))?")


@dataclass
class KubernetesHere:
    """What the server has been asked, and how it answers.

    Attributes:
        url: Its address.
        kubeconfig: File that leads there.
        namespaces: Those that exist.
        jobs: RayJobs by name.
        requests: Method and path of every request.
        states: What the operator would make of a job, one at every look, the last one for good.
        broken: Answer every request with this body and status 200, where it is not None.
    """

    url: str = ""
    kubeconfig: Path = Path()
    namespaces: tuple[str, ...] = ("spurious-sweeps",)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    states: list[dict[str, str]] = field(default_factory=list)
    broken: str | None = None

    def answer(self, method: str, path: str, token: str, body: Any) -> tuple[int, Any]:
        """Status and JSON, as the API server has them."""
        self.requests.append(f"{method} {path}")
        found = _PATH.fullmatch(path.partition("?")[0])
        if token != f"Bearer {TOKEN}":
            return _status(403, 'rayjobs.ray.io is forbidden: User "nobody" cannot create it')
        if found is None or found[1] not in self.namespaces:
            return _status(404, "namespaces not found")
        if method == "POST":
            name = body["metadata"]["name"]
            if name in self.jobs:
                return _status(409, f'rayjobs.ray.io "{name}" already exists')
            self.jobs[name] = body
            return 201, body
        if found[2] not in self.jobs:
            return _status(404, f'rayjobs.ray.io "{found[2]}" not found')
        if self.states:
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            self.jobs[found[2]]["status"] = state
        return 200, self.jobs[found[2]]


def _status(code: int, message: str) -> tuple[int, dict[str, Any]]:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {}}
    return code, {**body, "message": message, "code": code}


@contextmanager
def kubernetes_here(folder: Path) -> Iterator[KubernetesHere]:
    """Serve on loopback, with a kubeconfig in the folder."""
    here = KubernetesHere(kubeconfig=folder / "kubeconfig")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(None)

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, body: Any) -> None:
            if here.broken is not None:
                status, text = 200, here.broken
            else:
                token = self.headers.get("Authorization", "")
                status, answer = here.answer(self.command, self.path, token, body)
                text = json.dumps(answer)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *told: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here.url = f"http://127.0.0.1:{server.server_port}"
    write_kubeconfig(here.kubeconfig, here.url)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write_kubeconfig(path: Path, url: str, token: str = TOKEN) -> None:
    """A kubeconfig of one cluster, one user and one context."""
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "here", "cluster": {"server": url}}],
                "users": [{"name": "me", "user": {"token": token}}],
                "contexts": [{"name": "c", "context": {"cluster": "here", "user": "me"}}],
                "current-context": "c",
            }
        )
    )
