"""Mutual TLS for the inner ports of SeaweedFS, with a certificate that lives as long as a server.

SeaweedFS puts its S3 port, which checks keys, in front of a master, a volume server and a filer.
These obey whoever reaches their HTTP and gRPC ports: `GET /col/delete?collection=sweeps` at the
master removes a bucket's data. Here every one of those ports demands a client certificate, and the
only one that it accepts is made at each start, signed by a key that is in no other file.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from cluster.common.atomic import write_atomic

CERTIFICATE, KEY = "inner-cert.pem", "inner-key.pem"
_VALIDITY = timedelta(days=3650)
_HTTPS_PARTS = ("MASTER", "VOLUME", "FILER", "CLIENT")
_GRPC_PARTS = (*_HTTPS_PARTS, "S3")
_HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_TLS_ALERT = b"\x15\x03"
_ANSWER_S = 5.0
_LISTEN = "0A"
"""State of a socket in /proc/net/tcp, whose eighth column is its owner's id."""
_LOOPBACK = {"0100007F", "00000000", "0" * 32, f"{'0' * 16}FFFF00000100007F"}
"""127.0.0.1 and every address, as they stand there for IPv4 and IPv6."""
_SIGNING_KEYS = ("JWT_SIGNING", "JWT_SIGNING_READ", "JWT_FILER_SIGNING", "JWT_FILER_SIGNING_READ")


def closed_environment(folder: Path) -> dict[str, str]:
    """Write a new certificate and return the settings that close SeaweedFS's inner ports with it.

    Args:
        folder: existing private folder of the certificate and its key (0600); an earlier server's
            are replaced.

    Returns:
        Variables for the environment of `weed`. Every inner port, HTTP and gRPC, TCP and Unix
        socket, then demands the certificate; signing keys also guard the filer's HTTP socket, to
        which TLS does not apply.

    Raises:
        OSError: the folder cannot be written.
    """
    certificate, key = (str((folder / name).absolute()) for name in (CERTIFICATE, KEY))
    _write_certificate(Path(certificate), Path(key))
    settings = {f"WEED_{name}_KEY": secrets.token_urlsafe(32) for name in _SIGNING_KEYS}
    settings |= {"WEED_GRPC_CA": certificate, "WEED_HTTPS_CLIENT_ENABLED": "true"}
    for protocol, parts in (("HTTPS", _HTTPS_PARTS), ("GRPC", _GRPC_PARTS)):
        for part in parts:
            settings[f"WEED_{protocol}_{part}_CERT"] = certificate
            settings[f"WEED_{protocol}_{part}_KEY"] = key
            if protocol == "HTTPS":
                settings[f"WEED_HTTPS_{part}_CA"] = certificate
    return settings


def find_open_ports(ports: Iterable[int]) -> list[int]:
    """Return the ports of 127.0.0.1 that are not known to demand TLS: a TLS server must answer.

    SeaweedFS only logs a warning and serves without TLS where it cannot read its certificate. An
    HTTP or gRPC server answers the greeting of an HTTP/2 client; a TLS server sends an alert or
    hangs up. A port where nobody listens, or nothing comes back, counts as open.
    """
    return [port for port in ports if not _demands_tls(port)]


def _demands_tls(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), _ANSWER_S) as client:
            client.sendall(_HTTP2_HELLO)
            return client.recv(len(_TLS_ALERT)) in {b"", _TLS_ALERT}
    except ConnectionResetError:
        return True
    except OSError:
        return False


def is_own_listener(port: int) -> bool:
    """Return whether the process that listens at a port of 127.0.0.1 runs as this user.

    Another user may take a port that is read from a command line before its server does.
    """
    owners = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                address, _, number = fields[1].partition(":")
                if fields[3] == _LISTEN and address in _LOOPBACK and int(number, 16) == port:
                    owners.add(int(fields[7]))
    return owners == {os.getuid()}


def _write_certificate(certificate: Path, key: Path) -> None:
    """Write a self-signed certificate for 127.0.0.1, which is its own authority, and its key."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "spurious-sweeps embedded server")])
    now = datetime.now(UTC)
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks may be set back
        .not_valid_after(now + _VALIDITY)
        .add_extension(x509.SubjectAlternativeName([loopback]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    write_atomic(certificate, signed.public_bytes(Encoding.PEM), mode=0o600)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_atomic(key, pem, mode=0o600)
