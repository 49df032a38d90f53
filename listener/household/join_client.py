"""The guest's end of joining: its key is made here, and the household signs it.

``<home>/tls/`` then holds ``ca.crt``, ``me.crt`` and ``me.key``, and ``<home>/archive.pub`` the key
with which the archive signs, as the line named it. Done again with another line, the key stays and
the certificate is new: so a certificate is renewed.
"""

import hmac
import socket
import ssl
import time
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


@dataclass(frozen=True, slots=True)
class JoinResult:
    """What a guest has when it has joined."""

    who: HouseholdIdentity
    folder: Path
    broker_host: str
    broker_port: int

    def settings(self) -> str:
        """Return the lines of TOML that make use of it."""
        device = (
            f'[device]\nname = "{self.who.name}"\n\n'
            if self.who.kind is IdentityKind.DEVICE
            else ""
        )
        return (
            f"{device}[broker]\n"
            f'host = "{self.broker_host}"\n'
            f"port = {self.broker_port}\n"
            f'ca_file = "{self.folder}/ca.crt"\n'
            f'certificate_file = "{self.folder}/me.crt"\n'
            f'key_file = "{self.folder}/me.key"\n'
        )


def join(home: Home, invited: Invitation) -> JoinResult:
    """Join the household that sent the line.

    Args:
        home: of the device, or of an owner's own computer.
        invited: the line, unfolded.

    Raises:
        Unavailable: nobody answers there.
        EarmarkError: somebody else answers there, or the household refuses.
        ConfigError: a key here is damaged, or the answer does not fit it.
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
    answer = _ask(invited, msgspec.json.encode(request) + b"\n")
    if answer.refused:
        raise EarmarkError(
            f"the household refuses: {answer.refused}",
            "a line counts once and for an hour; the archive's computer prints another",
        )
    certificate = ca.parse_certificate(answer.certificate.encode(), "of the answer")
    authority = ca.parse_certificate(answer.ca.encode(), "of the answer")
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise ConfigError("the answer's certificates do not fit each other") from error
    if certificate.public_key() != key.public_key():
        raise ConfigError("the answer's certificate is for another key")
    # The authority first: a certificate alone is of no use, and is asked for again.
    write_atomic(folder / "ca.crt", ca.certificate_pem(authority), PUBLIC_MODE)
    write_atomic(folder / "me.crt", ca.certificate_pem(certificate), PUBLIC_MODE)
    home.pin_archive(invited.archive_key)
    return JoinResult(who, folder, answer.broker_host, answer.broker_port)


def _ask(invited: Invitation, data: bytes) -> JoinAnswer:
    # Neither name nor clock is looked at: the certificate must be the very one that the line
    # names, and before that was seen nothing is said.
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
            shown = invitation.fingerprint(wire.getpeercert(binary_form=True) or b"")
            if not hmac.compare_digest(shown, invited.fingerprint):
                raise EarmarkError(
                    f"{where} is not the household that this line is from",
                    "is another machine at that address? ask for a new line",
                )
            wire.sendall(data)
            return invitation.decode_answer(read_line(wire, time.monotonic() + GUEST_S))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Unavailable(
            f"cannot join at {where}: {reason}",
            "earmark household add-device must be waiting there while you join",
        ) from error
