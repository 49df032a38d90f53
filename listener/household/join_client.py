"""Client side of joining a household: generates a TLS key and gets it signed.

Afterwards ``<home>/tls/`` holds ``ca.crt``, ``me.crt`` and ``me.key``, and ``<home>/archive.pub``
the archive's signing key from the invitation. Joining again with a new invitation keeps the key and
renews the certificate.
"""

import hmac
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature

from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.household import ca, invitation
from listener.household.ca import read_key
from listener.household.identity import HouseholdIdentity, IdentityKind
from listener.household.invitation import Invitation, JoinAnswer
from listener.household.join_server import GUEST_S, read_line
from listener.storage.atomic import PUBLIC_MODE, make_folder, write_atomic
from listener.storage.home import Home

Exchange = Callable[[Invitation, bytes], JoinAnswer]
"""Sends a request, one line of JSON, to the household of an invitation and returns its answer."""


@dataclass(frozen=True, slots=True)
class JoinResult:
    """Identity, files and broker address of a machine that has joined."""

    who: HouseholdIdentity
    folder: Path
    broker_host: str
    broker_port: int
    brokers: tuple[str, ...] = ()
    """Addresses of all brokers, where the household has several."""

    def settings(self) -> str:
        """Return the configuration that uses the certificate, as TOML."""
        device = (
            f'[device]\nname = "{self.who.name}"\n\n'
            if self.who.kind is IdentityKind.DEVICE
            else ""
        )
        listed = ", ".join(f'"{one}"' for one in self.brokers)
        where = f"hosts = [{listed}]" if listed else f'host = "{self.broker_host}"'
        return (
            f"{device}[broker]\n"
            f"{where}\n"
            f"port = {self.broker_port}\n"
            f'ca_file = "{self.folder}/ca.crt"\n'
            f'certificate_file = "{self.folder}/me.crt"\n'
            f'key_file = "{self.folder}/me.key"\n'
        )


def join(home: Home, invited: Invitation, exchange: Exchange | None = None) -> JoinResult:
    """Join the household that printed an invitation.

    Args:
        home: data directory of the device, or of an owner's computer.
        invited: the invitation.
        exchange: how the household is asked; None: over TLS, at the address in the invitation.

    Raises:
        Unavailable: there is no connection to the join server.
        EarmarkError: the server is not the one in the invitation, or it refuses.
        ConfigError: a key in ``home`` is damaged, or the answer does not fit it.
    """
    who = invited.identity
    folder = home.path / "tls"
    make_folder(folder)
    path = folder / "me.key"
    try:
        key = read_key(path)
    except FileNotFoundError:
        key = ca.new_key()
        write_atomic(path, ca.key_pem(key))
    signer = home.device_key() if who.kind is IdentityKind.DEVICE else None
    request = invitation.build_request(invited.token, key, signer)
    answer = (exchange or _exchange)(invited, msgspec.json.encode(request) + b"\n")
    if answer.refused:
        raise EarmarkError(
            f"the household refused: {answer.refused}",
            "get a new invitation on the archive's computer: it is valid once and for an hour",
        )
    certificate = ca.parse_certificate(answer.certificate.encode(), "in the answer")
    authority = ca.parse_certificate(answer.ca.encode(), "in the answer")
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise ConfigError(
            "the certificate in the answer is not signed by the authority in it"
        ) from error
    if certificate.public_key() != key.public_key():
        raise ConfigError("the certificate in the answer is for another key")
    # The authority first: a certificate without it cannot be used, and is requested again.
    write_atomic(folder / "ca.crt", ca.certificate_pem(authority), PUBLIC_MODE)
    write_atomic(folder / "me.crt", ca.certificate_pem(certificate), PUBLIC_MODE)
    home.pin_archive(invited.archive_key)
    return JoinResult(who, folder, answer.broker_host, answer.broker_port, answer.brokers)


def _exchange(invited: Invitation, data: bytes) -> JoinAnswer:
    # Host name and validity are not checked: the certificate must have the fingerprint in the
    # invitation, and nothing is sent before that is verified.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    where = f"{invited.host} port {invited.port}"
    try:
        with (
            socket.create_connection((invited.host, invited.port), GUEST_S) as plain,
            context.wrap_socket(plain, server_hostname=invited.host) as wire,
        ):
            fingerprint = invitation.fingerprint(wire.getpeercert(binary_form=True) or b"")
            if not hmac.compare_digest(fingerprint, invited.fingerprint):
                raise EarmarkError(
                    f"{where} is not the household that printed this invitation",
                    "get a new invitation; another machine may have that address",
                )
            wire.sendall(data)
            return invitation.decode_answer(read_line(wire, time.monotonic() + GUEST_S))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Unavailable(
            f"cannot join at {where}: {reason}",
            "run earmark household wait on the archive's computer while joining",
        ) from error
