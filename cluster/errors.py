"""Errors of the machine side: what a user of a store, a shard or a server can be told."""

from __future__ import annotations


class ClusterError(Exception):
    """Root of every error that `cluster` raises on purpose."""


class NotFound(ClusterError):
    """The key, bucket or dataset is not there; retrying does not help."""


class Denied(ClusterError):
    """The store knows the request but refuses it (credentials, policy, file permissions)."""


class AlreadyExists(ClusterError):
    """A conditional put lost: another writer committed this key first."""


class Unavailable(ClusterError):
    """The store or server could not be reached, or kept failing until the retry bound."""


class StoreAway(Unavailable):
    """The store did not answer until the retry bound: every other call would wait as long."""


class Corrupt(ClusterError):
    """Stored bytes differ from their recorded hash, size or schema."""


class ServerError(ClusterError):
    """The embedded server could not be started or died; the message quotes its log."""
