"""The broker's files: written only where they differ, and handed to the broker's user."""

import contextlib
import os
import pwd
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cryptography import x509

from listener.home import make_folder, write_durably
from listener.household import mosquitto
from listener.household.certificates import Authority

_PUBLIC: Final = 0o644
_SECRET: Final = 0o600
_SECRETS: Final = frozenset({mosquitto.KEY, mosquitto.RIGHTS})
_USER: Final = "mosquitto"


def write(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    """Make the files in a folder these.

    Run by root, it gives them to mosquitto's user, which reads them after it has dropped its
    privileges.

    Returns:
        The names of those that were written, because they differed.

    Raises:
        ConfigError: everybody can write to the folder.
        Unavailable: it cannot be written.
    """
    make_folder(folder)
    changed = [
        name
        for name, data in files.items()
        if _put(folder / name, data, _SECRET if name in _SECRETS else _PUBLIC)
    ]
    _hand_over([folder, *(folder / name for name in files)])
    return changed


def lists(path: Path, serials: set[int], authority: Authority) -> bool:
    """Say whether the list of revoked certificates in a file is ours and holds exactly these."""
    try:
        found = x509.load_pem_x509_crl(path.read_bytes())
    except (OSError, ValueError):
        return False
    signed = found.is_signature_valid(authority.key.public_key())
    return signed and {one.serial_number for one in found} == serials


def _put(path: Path, data: bytes, mode: int) -> bool:
    """Write a file unless it is right already; say whether it was written."""
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == data and stat.S_IMODE(path.stat().st_mode) == mode:
            return False
    write_durably(path, data, mode)
    return True


def _hand_over(paths: Sequence[Path]) -> None:
    """Give files to the broker's user, where we may and there is one."""
    if os.geteuid() != 0:
        return
    with contextlib.suppress(KeyError):
        user = pwd.getpwnam(_USER)
        for path in paths:
            if path.stat().st_uid != user.pw_uid:
                os.chown(path, user.pw_uid, user.pw_gid)
