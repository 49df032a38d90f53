"""What the services of this computer read, in folders of theirs: the broker's and the archive's.

Written only where it differs. The originals stay in the household's folder, which no service sees.
"""

import contextlib
import os
import pwd
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from listener.household import broker_config, identity
from listener.household import ca as certificates
from listener.household.ca import Authority
from listener.household.identity import HouseholdIdentity
from listener.household.registry import Registry
from listener.storage.atomic import PUBLIC_MODE, SECRET_MODE, make_folder, write_atomic

_USER: Final = "mosquitto"

Originals = Callable[[HouseholdIdentity], tuple[Path, Path]]


@dataclass(frozen=True, slots=True)
class PublishedFiles:
    """Where things lie, and what of them goes where.

    Args:
        household: the folder of the originals.
        broker: mosquitto's folder, absolute: its configuration names the files in it.
        archive: the archive's, absolute.
    """

    household: Path
    broker: Path
    archive: Path

    def for_archive(self, who: HouseholdIdentity) -> tuple[Path, Path]:
        """Return where the archive finds the certificate and the key of one of its services."""
        return self.archive / f"{who.cn}.crt", self.archive / f"{who.cn}.key"

    def write(self, known: Registry, authority: Authority, service: Originals) -> list[str]:
        """Bring both folders in step with the register.

        Run by root, it gives the broker's to mosquitto's user, which reads them after it has
        dropped its privileges; the archive's stay root's, and systemd hands them on.

        Args:
            known: who belongs, and what was taken back.
            authority: signs the list of what was taken back.
            service: tells where the household keeps certificate and key of a service.

        Returns:
            The names of those that were written, because they differed.

        Raises:
            ConfigError: everybody can write to a folder.
            Unavailable: it cannot be written.
        """
        ca = (self.household / broker_config.CA).read_bytes()
        certificate, key = (path.read_bytes() for path in service(identity.BROKER))
        public = {
            broker_config.CA: ca,
            broker_config.REVOKED: self._revoked(known, authority),
            broker_config.CERTIFICATE: certificate,
            broker_config.CONFIG: broker_config.render_configuration(
                str(self.broker), known.port
            ).encode(),
        }
        secret = {
            broker_config.KEY: key,
            broker_config.RIGHTS: broker_config.render_acl(known.members()).encode("ascii"),
        }
        changed = write_files(self.broker, public, secret)
        _chown_to_broker([self.broker, *(self.broker / name for name in public | secret)])
        services = [service(who) for who in (identity.ARCHIVE, identity.API)]
        return changed + write_files(
            self.archive,
            {broker_config.CA: ca} | {path.name: path.read_bytes() for path, _ in services},
            {path.name: path.read_bytes() for _, path in services},
        )

    def _revoked(self, known: Registry, authority: Authority) -> bytes:
        """Return the signed list of certificates taken back; made anew only where it is wrong."""
        revoked = [
            (one.number, datetime.fromtimestamp(one.revoked_s or 0, UTC)) for one in known.revoked()
        ]
        path = self.household / broker_config.REVOKED
        if not is_current_revocation_list(path, {number for number, _ in revoked}, authority):
            fresh = certificates.build_revocation_list(authority, revoked, len(revoked) + 1)
            write_atomic(path, fresh.public_bytes(serialization.Encoding.PEM), PUBLIC_MODE)
        return path.read_bytes()


def write_files(
    folder: Path, public: Mapping[str, bytes], secret: Mapping[str, bytes]
) -> list[str]:
    """Make the files of these names in a folder these; return the names of those that differed.

    Raises:
        ConfigError: everybody can write to the folder.
        Unavailable: it cannot be written.
    """
    make_folder(folder)
    return [
        name
        for files, mode in ((public, PUBLIC_MODE), (secret, SECRET_MODE))
        for name, data in files.items()
        if _write_file(folder / name, data, mode)
    ]


def is_current_revocation_list(path: Path, serials: set[int], authority: Authority) -> bool:
    """Say whether the list of revoked certificates in a file is ours and holds exactly these."""
    try:
        found = x509.load_pem_x509_crl(path.read_bytes())
    except (OSError, ValueError):
        return False
    signed = found.is_signature_valid(authority.key.public_key())
    return signed and {one.serial_number for one in found} == serials


def _write_file(path: Path, data: bytes, mode: int) -> bool:
    """Write a file unless it is right already; say whether it was written."""
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == data and stat.S_IMODE(path.stat().st_mode) == mode:
            return False
    write_atomic(path, data, mode)
    return True


def _chown_to_broker(paths: Sequence[Path]) -> None:
    """Give files to the broker's user, where we may and there is one."""
    if os.geteuid() != 0:
        return
    with contextlib.suppress(KeyError):
        user = pwd.getpwnam(_USER)
        for path in paths:
            if path.stat().st_uid != user.pw_uid:
                os.chown(path, user.pw_uid, user.pw_gid)
