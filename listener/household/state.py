"""The folder of a household on the archive's machine: its authority, its register.

``<home>/household/`` holds ``ca.crt``, ``ca.key``, ``register.json``, ``crl.pem`` and, in
``issued/``, each certificate as ``<cn>.crt``, with the key of those that live on this machine.
What services read of it is copied to folders of theirs: ``listener.household.publish``.
What is right is left as it is, to the byte; what is damaged is never made anew in silence.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from listener.errors import ConfigError, Unavailable
from listener.household import broker_config, ca, identity
from listener.household import registry as register
from listener.household.ca import Authority, read_key
from listener.household.identity import HouseholdIdentity
from listener.household.publish import PublishedFiles
from listener.household.registry import IssuedCertificate, Registry
from listener.storage.atomic import PUBLIC_MODE, SECRET_MODE, hold_lock, make_folder, write_atomic

_EARLIEST: Final = datetime(2020, 1, 1, tzinfo=UTC)


class HouseholdStore:
    """One household's folder. Making the object touches nothing.

    Args:
        home: the archive's.
        now: the wall clock; it sets the end of certificates and invitations.
    """

    def __init__(self, home: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.path = home / "household"
        self.now = now
        self._issued = self.path / "issued"
        self._register = self.path / "register.json"

    @property
    def is_set_up(self) -> bool:
        """Whether ``init`` was here."""
        return self._register.exists()

    def registry(self) -> Registry:
        """Return what was handed out.

        Raises:
            ConfigError: there is no household here yet, or the register is damaged.
        """
        try:
            data = self._register.read_bytes()
        except FileNotFoundError as error:
            raise _nothing_yet() from error
        return register.parse(data, str(self._register))

    def update(self, edit: Callable[[Registry], Registry]) -> Registry:
        """Replace the register by what ``edit`` makes of it; what it raises changes nothing."""
        with self.locked():
            return self._update(edit)

    def set_up(self, settle: Callable[[Registry], Registry], *, renew: bool = False) -> list[str]:
        """Make what is missing: authority, services, the broker's files.

        Args:
            settle: fills in or changes hosts, ports and folder.
            renew: make new certificates where the old ones would do, too.

        Returns:
            What was made or made anew, by name; empty when all was right.

        Raises:
            ConfigError: something is damaged, or readable by others.
        """
        make_folder(self.path)
        make_folder(self._issued)
        done: list[str] = []
        with self.locked():
            if not (self.path / broker_config.CA).exists() and not self._register.exists():
                ca.create_authority(self.path, self._checked_now())
                done.append("authority")
            if not self._register.exists():
                if any(self._issued.iterdir()):
                    raise ConfigError(
                        f"the register {self._register} is missing",
                        "restore it: without it nobody knows which certificates to take back",
                    )
                write_atomic(self._register, register.render(settle(Registry())), SECRET_MODE)
            settled = self._update(settle)
            signer = self.authority()
            for service in identity.SERVICES:
                if service == identity.HOME_ASSISTANT:
                    continue  # it lives elsewhere
                if renew or not self._is_current(service, signer, settled.hosts):
                    self._renew(service, signer, settled.hosts)
                    done.append(service.cn)
            return done + self._publish(signer)

    def authority(self) -> Authority:
        """Return what signs.

        Raises:
            ConfigError: it is missing, damaged, or its key can be read by others.
        """
        return ca.read_authority(self.path)

    def sign(self, who: HouseholdIdentity, public: ec.EllipticCurvePublicKey) -> x509.Certificate:
        """Sign a guest's key and note it; the same key gets the certificate it has already.

        For the holder of the lock.
        """
        signer = self.authority()
        held = self._current_certificate(who, signer)
        if held is not None and ca.spki(public) == _spki(held):
            return held
        return self._sign(who, public, signer, ())

    def issue(self, who: HouseholdIdentity, folder: Path) -> None:
        """Make a key and certificate for somebody who cannot join by himself, into a folder."""
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
        """Bring the broker's files in step with the register; return the names of the changed."""
        with self.locked():
            return self._publish(self.authority())

    def published(self) -> PublishedFiles:
        """Return where the broker and the archive find their files."""
        known = self.registry()
        return PublishedFiles(
            self.path,
            Path(known.broker_folder or self.path / "mosquitto").absolute(),
            Path(known.archive_folder or self.path / "archive").absolute(),
        )

    def service(self, who: HouseholdIdentity) -> tuple[Path, Path]:
        """Return where the certificate and the key of a service on this machine are."""
        return self._issued / f"{who.cn}.crt", self._issued / f"{who.cn}.key"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process from changing the household."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(hold_lock(self.path / "lock"))
            except FileNotFoundError as error:
                raise _nothing_yet() from error
            except OSError as error:
                raise Unavailable(f"cannot use {self.path}: {error.strerror}") from error
            yield

    def replace(self, after: Registry) -> None:
        """Write the register. For the holder of the lock."""
        write_atomic(self._register, register.render(after), SECRET_MODE)

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
        serves = who in identity.SERVERS
        return (
            left.days >= ca.RENEW_DAYS
            and _spki(certificate) == ca.spki(read_key(path).public_key())
            and (not serves or ca.hosts_of(certificate) == tuple(hosts))
        )

    def _current_certificate(
        self, who: HouseholdIdentity, signer: Authority
    ) -> x509.Certificate | None:
        """Return the certificate in the folder, if it is the one in force."""
        valid = self.registry().valid(int(self.now().timestamp())).get(who)
        path, _ = self.service(who)
        if valid is None or not path.exists():
            return None
        certificate = ca.parse_certificate(path.read_bytes(), str(path))
        right = certificate.serial_number == valid.number
        return certificate if right and ca.is_signed_by(signer, certificate) else None

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
        made = self._checked_now()
        certificate = ca.issue_certificate(signer, who, public, made, hosts)
        # First the register: a certificate that is not in it could never be taken back.
        note = IssuedCertificate(
            cn=who.cn,
            serial=f"{certificate.serial_number:x}",
            made_s=int(made.timestamp()),
            until_s=int(certificate.not_valid_after_utc.timestamp()),
        )
        self._update(lambda before: before.with_issued(note))
        path, _ = self.service(who)
        write_atomic(path, ca.certificate_pem(certificate), PUBLIC_MODE)
        return certificate

    def _checked_now(self) -> datetime:
        """Return the time; a clock that was never set would make what has expired already."""
        now = self.now()
        if now < _EARLIEST:
            raise Unavailable(
                f"this computer's clock says {now:%Y-%m-%d}", "set it, or wait until it is set"
            )
        return now

    def _publish(self, signer: Authority) -> list[str]:
        return self.published().write(self.registry(), signer, self.service)


def _nothing_yet() -> ConfigError:
    return ConfigError("there is no household here yet", "set it up: earmark household init")


def _spki(certificate: x509.Certificate) -> bytes:
    public = certificate.public_key()
    return ca.spki(public) if isinstance(public, ec.EllipticCurvePublicKey) else b""
