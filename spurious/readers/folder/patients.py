"""Stores patients as salted hashes."""

from __future__ import annotations

import hashlib
import hmac

_HEX_DIGITS = 16
"""64 bits: among a million patients two share a hash with a probability of 3e-8."""


def hash_patient(patient: str, salt: str) -> str:
    """Return a patient's hash: HMAC-SHA256 under a salt, cut to 16 hex digits.

    The same patient has the same hash in every split, table and staging with the same salt. Ids
    are few and guessable (numbers of a hospital, `p001`), so a hash without a secret could be
    undone by hashing all of them. With the salt kept apart from the store, whoever has the shards
    cannot tell which patient an image is of, nor find a patient whose id is known. It does not hide
    which images are of one patient, nor names in file names, which stay as sample ids.
    """
    digest = hmac.new(salt.encode(), patient.encode(), hashlib.sha256)
    return digest.hexdigest()[:_HEX_DIGITS]
