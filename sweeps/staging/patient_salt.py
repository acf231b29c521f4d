"""The secret that this machine hashes patient ids with."""

from __future__ import annotations

import secrets
from contextlib import suppress

from cluster.common.atomic import open_atomic
from cluster.embedded.home import default_home
from cluster.errors import ClusterError
from sweeps.errors import SweepError

FILE = "patient-salt"
_BYTES = 32


def machine_salt() -> str:
    """Return this machine's salt of patient ids, a random one that is made when first needed.

    It is kept outside of every store, so that who can read a store cannot undo the hashes. Staging
    the same folder on this machine again gives the same hashes, and so the same digest; elsewhere
    they differ unless the file is copied there or the option `patient_salt` has its text.

    Raises:
        SweepError: The file can be neither read nor written.
    """
    try:
        path = default_home() / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with (
                suppress(FileExistsError),
                open_atomic(path, durable=True, exclusive=True, mode=0o600) as file,
            ):
                file.write(secrets.token_hex(_BYTES).encode())
        salt = path.read_text(encoding="ascii").strip()
    except (OSError, ClusterError, UnicodeDecodeError) as error:
        raise SweepError(
            f"no place for the secret that patient ids are hashed with ({error}); set SWEEPS_HOME "
            "to a folder that you can write, or give a secret: --set patient_salt=TEXT, or keep "
            "the ids: --keep-patient-ids"
        ) from error
    if len(salt) < _BYTES:
        raise SweepError(
            f"{path}: damaged, expected a text of {2 * _BYTES} characters; restore it, or remove "
            "it for a new one, under which patients have other hashes"
        )
    return salt
