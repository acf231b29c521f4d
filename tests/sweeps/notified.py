"""Real HTTP servers on loopback that take what is posted, or behave badly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Posts:
    """What a server was sent.

    Attributes:
        url: Its address, with a path and a query that are secrets.
        bodies: Of every POST.
        headers: Of every request.
        methods: Of every request.
    """

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)


@contextmanager
def posts_here(status: int = 200, *, trickle: bool = False) -> Iterator[Posts]:
    """Serve on loopback; answers with a status, and with `trickle` one byte a second for ever."""
    posts, over = Posts(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            posts.methods.append(self.command)
            posts.headers.append(dict(self.headers))
            posts.bodies.append(body)
            if trickle:
                self.wfile.write(b"HTTP/1.0 200 OK\r\nX: ")
                while not over.wait(0.2):
                    self.wfile.write(b"x")
                    self.wfile.flush()
                return
            self.send_response(status)
            self.send_header("Location", posts.url)
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *told: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    posts.url = f"http://127.0.0.1:{server.server_port}/services/secret-path?key=secret-query"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield posts
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()
