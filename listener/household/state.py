"""Folder of a household on the archive's machine: its authority and its registry.

``<home>/household/`` holds ``ca.crt``, ``ca.key``, ``register.json``, ``crl.pem`` and, in
``issued/``, each certificate as ``<cn>.crt``, with the keys of the services on this machine.
The services get copies in folders of their own: ``listener.household.publish``. A file that is
right is not rewritten; a file that is damaged is reported and never replaced.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from listener.errors import ConfigError, Unavailable
from listener.household import broker_config, ca, identity, registry
from listener.household.ca import Authority, read_key
from listener.household.identity import HouseholdIdentity
from listener.household.publish import PublishedFiles
from listener.household.registry import IssuedCertificate, Registry
from listener.storage.atomic import (
    PUBLIC_MODE,
    SECRET_MODE,
    hold_lock,
    make_folder,
    read_plain_file,
    write_atomic,
)
from listener.storage.home import ARCHIVE_PIN

_EARLIEST: Final = datetime(2020, 1, 1, tzinfo=UTC)


class HouseholdStore:
    """Folder of one household. The constructor touches no file.

    One thread; other processes are kept out by a lock file while the folder changes.

    Args:
        home: the archive's data directory.
        now: the wall clock; sets the end of certificates and invitations.
    """

    def __init__(self, home: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.path = home / "household"
        self.now = now
        self._issued = self.path / "issued"
        self._registry = self.path / "register.json"

    @property
    def is_set_up(self) -> bool:
        """True once ``earmark household init`` has run."""
        return self._registry.exists()

    def registry(self) -> Registry:
        """Return the registry.

        Raises:
            ConfigError: there is no household here yet, or the registry is damaged.
        """
        try:
            data = read_plain_file(self._registry, registry.LIMIT_BYTES)
        except FileNotFoundError as error:
            raise _not_set_up(self.path.parent) from error
        return registry.parse(data, str(self._registry))

    def update(self, edit: Callable[[Registry], Registry]) -> Registry:
        """Replace the registry by the result of ``edit``; if it raises, nothing changes."""
        with self.locked():
            return self._update(edit)

    def set_up(self, settle: Callable[[Registry], Registry], *, renew: bool = False) -> list[str]:
        """Create the files that are missing: authority, service certificates, broker files.

        Args:
            settle: fills in or changes hosts, ports and folders.
            renew: also replace certificates that are still valid.

        Returns:
            The names of what was created or renewed; empty if all was right.

        Raises:
            ConfigError: a file is damaged, or a key can be read by others.
        """
        make_folder(self.path)
        make_folder(self._issued)
        done: list[str] = []
        with self.locked():
            if not (self.path / broker_config.CA).exists() and not self._registry.exists():
                ca.create_authority(self.path, self._checked_now())
                done.append("authority")
            if not self._registry.exists():
                if any(self._issued.iterdir()):
                    raise ConfigError(f"the registry {self._registry} is missing", registry.RESTORE)
                write_atomic(self._registry, registry.render(settle(Registry())), SECRET_MODE)
            settled = self._update(settle)
            signer = self.authority()
            hosts = {
                service: settled.hosts
                for service in identity.SERVICES
                if service not in identity.OPTIONAL  # they get their certificates by `issue`
            } | {further.who: (further.host,) for further in settled.further()}
            for service, names in hosts.items():
                if renew or not self._is_current(service, signer, names):
                    self._renew(service, signer, names)
                    done.append(service.cn)
            return done + self._publish(signer)

    def authority(self) -> Authority:
        """Return the certificate authority.

        Raises:
            ConfigError: a file is missing or damaged, or others can read the key.
        """
        return ca.read_authority(self.path)

    def sign(self, who: HouseholdIdentity, public: ec.EllipticCurvePublicKey) -> x509.Certificate:
        """Sign the key of a joining identity and register the certificate.

        A key that has a valid certificate already gets the same one. The caller holds the lock.
        """
        signer = self.authority()
        current = self._current_certificate(who, signer)
        if current is not None and ca.spki(public) == _spki(current):
            return current
        return self._sign(who, public, signer, ())

    def issue(self, who: HouseholdIdentity, folder: Path) -> None:
        """Write a new key and certificate into a folder, for a program that cannot join itself."""
        with self.locked():
            signer = self.authority()
            make_folder(folder)
            key = ca.new_key()
            certificate = self._sign(who, key.public_key(), signer, ())
            write_atomic(folder / f"{who.cn}.key", ca.key_pem(key), SECRET_MODE)
            pem = ca.certificate_pem(certificate)
            write_atomic(folder / f"{who.cn}.crt", pem, PUBLIC_MODE)
            pem = ca.certificate_pem(signer.certificate)
            write_atomic(folder / broker_config.CA, pem, PUBLIC_MODE)
            self._publish(signer)

    def publish(self) -> list[str]:
        """Update the services' files from the registry; return the names of the changed ones."""
        with self.locked():
            return self._publish(self.authority())

    def published(self) -> PublishedFiles:
        """Return the folders of the broker's and the archive's files."""
        current = self.registry()
        return PublishedFiles(
            self.path,
            Path(current.broker_folder or self.path / "mosquitto").absolute(),
            Path(current.archive_folder or self.path / "archive").absolute(),
        )

    def service(self, who: HouseholdIdentity) -> tuple[Path, Path]:
        """Return the paths of the certificate and the key of a service on this machine."""
        return self._issued / f"{who.cn}.crt", self._issued / f"{who.cn}.key"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock that keeps other processes from changing the household.

        Raises:
            ConfigError: there is no household here yet.
            Unavailable: the folder cannot be used.
        """
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(hold_lock(self.path / "lock"))
            except FileNotFoundError as error:
                raise _not_set_up(self.path.parent) from error
            except OSError as error:
                raise Unavailable(f"cannot use {self.path}: {error.strerror}") from error
            yield

    def replace(self, after: Registry) -> None:
        """Write the registry. The caller holds the lock."""
        write_atomic(self._registry, registry.render(after), SECRET_MODE)

    def _update(self, edit: Callable[[Registry], Registry]) -> Registry:
        before = self.registry()
        after = edit(before)
        if after != before:
            self.replace(after)
        return after

    def _is_current(self, who: HouseholdIdentity, signer: Authority, hosts: Sequence[str]) -> bool:
        certificate = self._current_certificate(who, signer)
        _, path = self.service(who)
        if certificate is None or not path.exists():
            return False
        left = certificate.not_valid_after_utc - self.now()
        is_server = identity.is_server(who)
        return (
            left.days >= ca.RENEW_DAYS
            and _spki(certificate) == ca.spki(read_key(path).public_key())
            and (not is_server or ca.hosts_of(certificate) == tuple(hosts))
        )

    def _current_certificate(
        self, who: HouseholdIdentity, signer: Authority
    ) -> x509.Certificate | None:
        """Return the certificate in the folder, if it is the valid one in the registry."""
        valid = self.registry().valid(int(self.now().timestamp())).get(who)
        path, _ = self.service(who)
        if valid is None or not path.exists():
            return None
        certificate = ca.parse_certificate(read_plain_file(path, ca.LONGEST_PEM_BYTES), str(path))
        is_valid = certificate.serial_number == valid.number
        return certificate if is_valid and ca.is_signed_by(signer, certificate) else None

    def _renew(self, who: HouseholdIdentity, signer: Authority, hosts: Sequence[str]) -> None:
        _, path = self.service(who)
        key = read_key(path) if path.exists() else ca.new_key()
        write_atomic(path, ca.key_pem(key), SECRET_MODE)
        self._sign(who, key.public_key(), signer, hosts)

    def _sign(
        self,
        who: HouseholdIdentity,
        public: ec.EllipticCurvePublicKey,
        signer: Authority,
        hosts: Sequence[str],
    ) -> x509.Certificate:
        now = self._checked_now()
        certificate = ca.issue_certificate(signer, who, public, now, hosts)
        # The registry first: a certificate that is not in it could not be revoked.
        entry = IssuedCertificate(
            cn=who.cn,
            serial=f"{certificate.serial_number:x}",
            made_s=int(now.timestamp()),
            until_s=int(certificate.not_valid_after_utc.timestamp()),
        )
        self._update(lambda before: before.with_issued(entry))
        path, _ = self.service(who)
        write_atomic(path, ca.certificate_pem(certificate), PUBLIC_MODE)
        return certificate

    def _checked_now(self) -> datetime:
        """Return the time.

        Raises:
            Unavailable: the clock was never set, so a new certificate would be expired already.
        """
        now = self.now()
        if now < _EARLIEST:
            raise Unavailable(
                f"this computer's clock is at {now:%Y-%m-%d}",
                "set the clock: timedatectl set-ntp true",
            )
        return now

    def _publish(self, signer: Authority) -> list[str]:
        return self.published().write(self.registry(), signer, self.service)


def _not_set_up(home: Path) -> ConfigError:
    if (home / ARCHIVE_PIN).exists():
        return ConfigError(
            "this computer has joined a household that another computer keeps",
            "run this on the archive's computer: broker.host of this configuration names it",
        )
    return ConfigError("there is no household here yet", "set it up: earmark household init")


def _spki(certificate: x509.Certificate) -> bytes:
    public = certificate.public_key()
    return ca.spki(public) if isinstance(public, ec.EllipticCurvePublicKey) else b""
