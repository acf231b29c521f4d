"""A small HTTP server that acts as Ray's Jobs API; no cluster is behind it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NO_AGENT = (500, "No available agent to submit job, please try again later.")
"""Word for word what Ray 2.60 answers, `ray/dashboard/modules/job/job_head.py`."""
NO_AGENT_TO_STOP = (
    500,
    "Traceback (most recent call last):\n  ...\nTimeoutError: Failed to get head node agent within "
    "10 seconds. The last exception is 'Agent info not found in internal KV for node 4e'\n",
)


@dataclass
class RayJobsHere:
    """What the server has been asked, and how it answers.

    Attributes:
        url: Its address.
        jobs: Submitted jobs by id.
        requests: Method and path of every request.
        outages: Answers by method and path: the next ones, instead of what a cluster would say.
        outcome: Fields of every job that is submitted from now on, as of one that ended at once.
        lost_answers: Statuses of a proxy that passes a submission on and loses the answer.
    """

    url: str = ""
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    outages: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    outcome: dict[str, Any] = field(default_factory=dict)
    lost_answers: list[int] = field(default_factory=list)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, str]:
        """Status and text, as Ray's dashboard has them."""
        request = f"{method} {path}"
        self.requests.append(request)
        if self.outages.get(request):
            return self.outages[request].pop(0)
        if path == "/api/version":
            return 200, json.dumps({"ray_version": "2.60.0", "version": "4"})
        if request == "POST /api/jobs/":
            return self._submit(body)
        if path == "/api/jobs/":
            return 200, json.dumps(list(self.jobs.values()))
        name = path.split("/")[3]
        if name not in self.jobs:
            return 404, f"Job {name} does not exist"
        if path.endswith("/stop"):
            self.jobs[name]["status"] = "STOPPED"
            return 200, json.dumps({"stopped": True})
        if path.endswith("/logs"):
            return 200, json.dumps({"logs": "/bin/sh: 1: sweeps: not found\n"})
        return 200, json.dumps(self.jobs[name])

    def _submit(self, body: Any) -> tuple[int, str]:
        name = body["submission_id"]
        if name in self.jobs:
            return 500, f"Traceback ...\nValueError: Job with submission_id {name} already exists\n"
        self.jobs[name] = {
            **{key: body[key] for key in ("submission_id", "entrypoint", "metadata")},
            "type": "SUBMISSION",
            "status": "PENDING",
            "start_time": int(time.time() * 1000),
            **self.outcome,
        }
        if self.lost_answers:
            return self.lost_answers.pop(0), "<html>\n<h1>Gateway Time-out</h1>\n</html>"
        return 200, json.dumps({"job_id": name, "submission_id": name})


@contextmanager
def ray_jobs_here() -> Iterator[RayJobsHere]:
    """Serve on loopback."""
    here = RayJobsHere()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(None)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._reply(json.loads(body) if body else None)

        def _reply(self, body: Any) -> None:
            status, text = here.answer(self.command, self.path, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *told: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
