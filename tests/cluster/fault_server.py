"""A small S3 server with faults, on loopback: what servers, proxies and policies have done.

Faults are words; a server has any number of them. Objects are in memory, and requests are noted.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

ACCESS_KEY, SECRET_KEY = "AKIAFAULTSERVERKEY", "secretoffaultserver"
Serve = Callable[..., AbstractContextManager["FaultServer"]]
"""What the fixture `serve` is: called with faults, it serves S3 with them."""

PAGE = b"<html><body>Sign in to the network</body></html>"


class FaultServer(ThreadingHTTPServer):
    """S3 with faults.

    Attributes:
        faults: Words, each looked for where it matters below.
        objects: By key, as stored.
        requests: Method, key and query of each request.
    """

    daemon_threads = True

    def __init__(self, faults: set[str], page_size: int = 1000) -> None:
        self.faults, self.page_size = faults, page_size
        self.objects: dict[str, bytes] = {}
        self.part = b""
        self.requests: list[tuple[str, str, Mapping[str, str]]] = []
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultServer

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _answer(self) -> None:
        url = urlsplit(self.path)
        _, _, self.key = unquote(url.path).lstrip("/").partition("/")
        self.query = {k: v[0] for k, v in parse_qs(url.query, keep_blank_values=True).items()}
        self.body = self._read_body()
        with self.server.lock:
            self.server.requests.append((self.command, self.key, self.query))
            self._dispatch()

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = _answer

    def _read_body(self) -> bytes:
        """The body as it was sent, less the transfer's own chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _dispatch(self) -> None:
        faults = self.server.faults
        for fault in faults:
            kind, _, status = fault.partition(":")
            if kind == self.command.lower():  # put:501 and the like: that request, always
                return self._fail(int(status), "Refused")
        if "portal" in faults:
            return self._send(200, PAGE, content_type="text/html")
        if "portal-etag" in faults:
            return self._send(200, PAGE, content_type="text/html", ETag='"abc"')
        if "uploads-501" in faults and self.command == "GET" and "uploads" in self.query:
            return self._fail(501, "NotImplemented")
        if "parts" in faults and ("uploads" in self.query or "uploadId" in self.query):
            return self._upload_in_parts()
        if self.command == "PUT":
            return self._put()
        if self.command == "DELETE":
            return self._delete()
        if self.command == "POST":
            return self._fail(501, "NotImplemented")
        if not self.key:
            return self._list()
        return self._get()

    def _put(self) -> None:
        faults, objects, body = self.server.faults, self.server.objects, self.body
        headers = {name.lower() for name in self.headers}
        is_framed = "aws-chunked" in self.headers.get("Content-Encoding", "")
        if is_framed and "framing-400" in faults:
            return self._fail(400, "XAmzContentSHA256Mismatch")
        if is_framed and "framing-411" in faults:
            return self._fail(411, "MissingContentLength")
        if is_framed and "framing-kept" not in faults:
            body = _unframe(body)
        if "checksums-501" in faults and any("checksum" in name for name in headers):
            return self._fail(501, "NotImplemented")
        if "text" in faults:
            body = body.replace(b"\r\n", b"\n")
        if "read-only" in faults:
            return self._fail(403, "AccessDenied")
        if self.headers.get("If-None-Match"):
            for status in ("501", "400", "403", "304", "405"):
                if f"condition-{status}" in faults:
                    return self._fail(int(status), "NotImplemented")
            if "condition-first-412" in faults:
                return self._fail(412, "PreconditionFailed")
            if self.key in objects and "condition-overwrites" in faults:
                objects[self.key] = body
                return self._fail(412, "PreconditionFailed")
            if self.key in objects and "condition-second-304" in faults:
                return self._send(304, b"")
            if self.key in objects and "condition-second-409" in faults:
                return self._fail(409, "ConditionalRequestConflict")
            if self.key in objects and "condition-ignored" not in faults:
                return self._fail(412, "PreconditionFailed")
        if "drops" not in faults:
            objects[self.key] = body
        return self._send(200, b"", ETag=_etag(body))

    def _upload_in_parts(self) -> None:
        """Take an upload of one part, which `parts` allows."""
        if self.command == "PUT":
            self.server.part = self.body
            return self._send(200, b"", ETag=_etag(self.body))
        if (
            "complete-500" in self.server.faults
            and self.command == "POST"
            and "uploadId" in self.query
        ):
            error = "<Error><Code>InternalError</Code><Message>Try again.</Message></Error>"
            return self._send(200, error.encode())
        kind = "Initiate" if "uploads" in self.query else "Complete"
        if kind == "Complete":
            self.server.objects[self.key] = self.server.part
        return self._send(
            200, f"<{kind}Result><UploadId>u</UploadId><ETag>e</ETag></{kind}Result>".encode()
        )

    def _delete(self) -> None:
        if "no-delete" in self.server.faults:
            return self._fail(403, "AccessDenied")
        self.server.objects.pop(self.key, None)
        return self._send(204, b"")

    def _get(self) -> None:
        if "modes-501" in self.server.faults and "x-amz-checksum-mode" in self.headers:
            return self._fail(501, "NotImplemented")
        body = self.server.objects.get(self.key)
        if body is None:
            is_hidden = "prefix-only" in self.server.faults or "no-list" in self.server.faults
            return self._fail(403, "AccessDenied") if is_hidden else self._fail(404, "NoSuchKey")
        extra = {}
        if "rotten" in self.server.faults and self.key.endswith("rotten"):
            extra = {"x-amz-checksum-crc32": "AAAAAA=="}
        if (part := self.headers.get("Range")) and "no-range" not in self.server.faults:
            first, _, last = part.removeprefix("bytes=").partition("-")
            end = min(int(last or len(body)), len(body) - 1)
            extra["Content-Range"] = f"bytes {first}-{end}/{len(body)}"
            return self._send(206, body[int(first) : end + 1], ETag=_etag(body), **extra)
        return self._send(200, body, ETag=_etag(body), **extra)

    def _list(self) -> None:
        faults, prefix = self.server.faults, self.query.get("prefix", "")
        if self.command == "HEAD" and "prefix-only" in faults:
            return self._fail(403, "AccessDenied")
        if "no-list" in faults or ("prefix-only" in faults and not prefix.startswith("lab/")):
            return self._fail(403, "AccessDenied")
        after = self.query.get("continuation-token", "")
        keys = [key for key in sorted(self.server.objects) if key.startswith(prefix)]
        keys = [key for key in keys if key > after or "same-token" in faults]
        page = keys[: min(self.server.page_size, int(self.query.get("max-keys", 1000)))]
        is_cut = len(page) < len(keys) or "same-token" in faults
        token = ""
        if is_cut and page and "no-token" not in faults:
            token = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>"
        items = "".join(f"<Contents><Key>{escape(key)}</Key></Contents>" for key in page)
        document = (
            f"<ListBucketResult><IsTruncated>{str(is_cut).lower()}</IsTruncated>{token}{items}"
            "</ListBucketResult>"
        )
        return self._send(200, document.encode())

    def _fail(self, status: int, code: str) -> None:
        echo = self.headers.get("Authorization", "")  # as some servers do
        message = escape(f"{code} for {echo}")
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        return self._send(status, b"" if status == 304 else body)

    def _send(
        self, status: int, body: bytes, content_type: str = "application/xml", **headers: Any
    ) -> None:
        self.send_response(status)
        if status not in (204, 304):
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(body)


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def _unframe(body: bytes) -> bytes:
    """The content of a body in `aws-chunked` encoding."""
    content = b""
    while body:
        head, _, body = body.partition(b"\r\n")
        size = int(head.split(b";")[0], 16)
        if not size:
            break
        content, body = content + body[:size], body[size + 2 :]
    return content


@contextmanager
def serve_faults(
    *faults: str, page_size: int = 1000, certificate: Path | None = None
) -> Iterator[FaultServer]:
    """Serve S3 with faults on a free port of loopback, over TLS with a certificate's file."""
    server = FaultServer(set(faults), page_size)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def write_certificate(path: Path) -> None:
    """Write a key and a certificate of 127.0.0.1 that signs itself, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + certificate.public_bytes(Encoding.PEM))
