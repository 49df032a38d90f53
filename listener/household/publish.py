"""Copies of the household's files for the services of this computer: the broker and the archive.

Each service has a folder of its own. A file is written only where it differs. The originals stay
in the household's folder, which no service can read.
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

from listener.household import broker_config, ca, identity
from listener.household.ca import Authority
from listener.household.identity import HouseholdIdentity
from listener.household.registry import FurtherBroker, Registry
from listener.storage.atomic import (
    PUBLIC_MODE,
    SECRET_MODE,
    make_folder,
    read_plain_file,
    write_atomic,
)

_USER: Final = "mosquitto"
SYSTEM_BROKER: Final = Path("/etc/mosquitto/earmark")
"""Folder of the files on a broker's computer."""

Originals = Callable[[HouseholdIdentity], tuple[Path, Path]]
"""Returns the certificate and key files of a service."""


@dataclass(frozen=True, slots=True)
class PublishedFiles:
    """Folders of the originals and of the copies.

    Args:
        household: folder of the originals.
        broker: mosquitto's folder, absolute, since its configuration names the files in it.
        archive: the archive's folder, absolute.
    """

    household: Path
    broker: Path
    archive: Path

    def for_archive(self, who: HouseholdIdentity) -> tuple[Path, Path]:
        """Return the archive's copies of the certificate and key of one of its services."""
        return self.archive / f"{who.cn}.crt", self.archive / f"{who.cn}.key"

    def for_broker(self, further: FurtherBroker) -> Path:
        """Return the folder with the files of a broker on another computer."""
        return self.household / "brokers" / further.host

    def write(self, registry: Registry, authority: Authority, service: Originals) -> list[str]:
        """Update both folders from the registry.

        As root, it gives the broker's files to mosquitto's user, which reads them after it has
        dropped its privileges. The archive's files stay root's; systemd passes them on as
        credentials.

        Args:
            registry: the members, and the revoked certificates.
            authority: signs the revocation list.
            service: returns the original certificate and key of a service.

        Returns:
            The names of the files that were written, because they differed.

        Raises:
            ConfigError: a folder is world-writable.
            Unavailable: a folder cannot be written.
        """
        ca_pem = _read(self.household / broker_config.CA)
        common = {
            broker_config.CA: ca_pem,
            broker_config.REVOKED: self._read_revocation_list(registry, authority),
        }
        rights = broker_config.render_acl(registry.members()).encode("ascii")
        changed = _write_broker(
            self.broker, self.broker, registry.port, (common, rights), service(identity.BROKER)
        )
        names = (*common, broker_config.CERTIFICATE, broker_config.CONFIG)
        names += (broker_config.KEY, broker_config.RIGHTS)
        chown_to_broker([self.broker, *(self.broker / name for name in names)])
        for further in registry.further():
            folder = self.for_broker(further)
            make_folder(folder.parent)
            written = _write_broker(
                folder, SYSTEM_BROKER, further.port, (common, rights), service(further.who)
            )
            changed += [f"{folder.name}/{name}" for name in written]
        services = [service(who) for who in (identity.ARCHIVE, identity.API)]
        return changed + write_files(
            self.archive,
            {broker_config.CA: ca_pem} | {path.name: _read(path) for path, _ in services},
            {path.name: _read(path) for _, path in services},
        )

    def _read_revocation_list(self, registry: Registry, authority: Authority) -> bytes:
        """Return the signed revocation list; a new one is written only if the old one differs."""
        revoked = [
            (certificate.number, datetime.fromtimestamp(certificate.revoked_s or 0, UTC))
            for certificate in registry.revoked()
        ]
        path = self.household / broker_config.REVOKED
        if not is_current_revocation_list(path, {number for number, _ in revoked}, authority):
            fresh = ca.build_revocation_list(authority, revoked, len(revoked) + 1)
            write_atomic(path, fresh.public_bytes(serialization.Encoding.PEM), PUBLIC_MODE)
        return _read(path)


def _write_broker(
    folder: Path,
    used_in: Path,
    port: int,
    shared: tuple[Mapping[str, bytes], bytes],
    service: tuple[Path, Path],
) -> list[str]:
    """Write the files of one broker; return the names of those that differed.

    Args:
        folder: where.
        used_in: absolute path of the folder on the broker's computer.
        port: TCP port on which it listens.
        shared: public files that all brokers have, and their access list.
        service: its certificate and its key.
    """
    common, rights = shared
    certificate, key = map(_read, service)
    configuration = broker_config.render_configuration(str(used_in), port).encode()
    return write_files(
        folder,
        {**common, broker_config.CERTIFICATE: certificate, broker_config.CONFIG: configuration},
        {broker_config.KEY: key, broker_config.RIGHTS: rights},
    )


def write_files(
    folder: Path, public: Mapping[str, bytes], secret: Mapping[str, bytes]
) -> list[str]:
    """Write files into a folder where they differ; return the names of those written.

    Args:
        folder: where; made if it is missing.
        public: contents by file name, for files that everyone may read.
        secret: likewise, for files that only their owner may read.

    Raises:
        ConfigError: the folder is world-writable.
        Unavailable: the folder cannot be written.
    """
    make_folder(folder)
    return [
        name
        for files, mode in ((public, PUBLIC_MODE), (secret, SECRET_MODE))
        for name, data in files.items()
        if _write_file(folder / name, data, mode)
    ]


def is_current_revocation_list(path: Path, serials: set[int], authority: Authority) -> bool:
    """Return whether a file is a revocation list that an authority signed, of these serials."""
    try:
        crl = x509.load_pem_x509_crl(_read(path))
    except (OSError, ValueError):
        return False
    is_signed = crl.is_signature_valid(authority.key.public_key())
    return is_signed and {revoked.serial_number for revoked in crl} == serials


def can_broker_reach(folder: Path) -> bool:
    """Return whether the user of mosquitto may enter every folder above ``folder``.

    mosquitto starts as root, but reads most of its files as that user. If the user does not exist
    yet, a folder counts if every user may enter it.
    """
    try:
        user = pwd.getpwnam(_USER)
        uid, gid = user.pw_uid, user.pw_gid
    except KeyError:
        uid = gid = -1
    return all(may_enter(parent.stat(), uid, gid) for parent in folder.absolute().parents)


def has_broker_user() -> bool:
    """Return whether the user of mosquitto exists on this computer."""
    try:
        pwd.getpwnam(_USER)
    except KeyError:
        return False
    return True


def may_enter(folder: os.stat_result, uid: int, gid: int) -> bool:
    """Return whether a user who is not root may enter a folder.

    Args:
        folder: owner and mode of the folder.
        uid: the user.
        gid: the user's group.
    """
    if folder.st_uid == uid:
        return bool(folder.st_mode & stat.S_IXUSR)
    return bool(folder.st_mode & (stat.S_IXGRP if folder.st_gid == gid else stat.S_IXOTH))


def _write_file(path: Path, data: bytes, mode: int) -> bool:
    """Write a file unless content and mode are right already; return whether it was written."""
    with contextlib.suppress(OSError):  # whatever is there, it is replaced
        if read_plain_file(path, len(data)) == data and stat.S_IMODE(path.stat().st_mode) == mode:
            return False
    write_atomic(path, data, mode)
    return True


def chown_to_broker(paths: Sequence[Path]) -> None:
    """Give files to the broker's user, if this is root and the user exists."""
    if os.geteuid() != 0:
        return
    with contextlib.suppress(KeyError):
        user = pwd.getpwnam(_USER)
        for path in paths:
            if path.stat().st_uid != user.pw_uid:
                os.chown(path, user.pw_uid, user.pw_gid)


def _read(path: Path) -> bytes:
    return read_plain_file(path, ca.LONGEST_PEM_BYTES)
