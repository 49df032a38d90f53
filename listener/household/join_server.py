"""The household's end of joining: answers one guest at a time over TLS, and signs what it may.

It listens only while somebody waits for a guest, on a port of its own. A guest knows the
certificate that answers by its fingerprint, and is known by the token. Nothing else is looked at.
"""

import logging
import socket
import ssl
import time
from collections.abc import Callable
from typing import Final

import msgspec

from listener.errors import EarmarkError, Unavailable
from listener.household import ca as certificates
from listener.household import identity, invitation
from listener.household.identity import HouseholdIdentity, IdentityKind
from listener.household.invitation import JoinAnswer, JoinRequest
from listener.household.state import HouseholdStore
from listener.storage.home import Home
from listener.system.systemd import StopSignal

GUEST_S: Final = 10.0
"""So long a guest may take; somebody who only blocks the door costs no more."""
_TURN_S: Final = 0.5

_log = logging.getLogger(__name__)


def sign_guest(
    office: HouseholdStore, home: Home, request: JoinRequest
) -> tuple[JoinAnswer, HouseholdIdentity]:
    """Judge a request; sign its key and make the device known if all is right.

    Raises:
        EarmarkError: it is refused, and the invitation counts as before.
    """
    public, device_key = invitation.verify_request(request)
    with office.locked():
        before = office.registry()
        after, who = before.with_admission(
            request.token, certificates.spki(public), int(office.now().timestamp())
        )
        if (who.kind is IdentityKind.DEVICE) != (device_key is not None):
            raise EarmarkError(f"this invitation is for {who.cn}, and another kind came")
        if device_key is not None:
            home.change_roster(lambda roster: roster.with_device(who.name, device_key))
        office.replace(after)
        certificate = office.sign(who, public)
    office.publish()
    return (
        JoinAnswer(
            ca=certificates.certificate_pem(office.authority().certificate).decode("ascii"),
            certificate=certificates.certificate_pem(certificate).decode("ascii"),
            broker_host=after.hosts[0],
            broker_port=after.port,
        ),
        who,
    )


class JoinServer:
    """A listening socket for guests. For one thread.

    Args:
        office: the household.
        home: whose roster learns of devices.
        address: to listen on; an empty host is every address of this machine.

    Raises:
        Unavailable: the port is taken, or not ours.
    """

    def __init__(self, office: HouseholdStore, home: Home, address: tuple[str, int]) -> None:
        self._office = office
        self._home = home
        certificate, key = office.service(identity.API)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.load_cert_chain(certificate, key)
        try:
            self._socket = socket.create_server(address, backlog=8)
        except OSError as error:
            raise Unavailable(
                f"cannot listen on port {address[1]}: {error.strerror}",
                "another earmark household may wait for its guest there",
            ) from error
        self._socket.settimeout(_TURN_S)

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._socket.getsockname()[1]
        return port

    def wait(
        self,
        who: HouseholdIdentity,
        stop: StopSignal,
        longest_s: float,
        monotonic_s: Callable[[], float],
    ) -> bool:
        """Answer guests until the one who is waited for has joined.

        Returns:
            Whether that happened, before a stop or ``longest_s``.
        """
        until_s = monotonic_s() + longest_s
        while not stop.requested and monotonic_s() < until_s:
            try:
                guest, _ = self._socket.accept()
            except TimeoutError:
                continue
            with guest:
                guest.settimeout(GUEST_S)
                if self._serve(guest) == who:
                    return True
        return False

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def _serve(self, guest: socket.socket) -> HouseholdIdentity | None:
        try:
            with self._context.wrap_socket(guest, server_side=True) as wire:
                data = read_line(wire, time.monotonic() + GUEST_S)
                answer, who = self._handle(data)
                wire.sendall(msgspec.json.encode(answer) + b"\n")
        except (OSError, ValueError) as error:
            _log.info("a guest left: %s", type(error).__name__)
            return None
        return who

    def _handle(self, data: bytes) -> tuple[JoinAnswer, HouseholdIdentity | None]:
        try:
            return sign_guest(self._office, self._home, invitation.decode_request(data))
        except EarmarkError as error:
            _log.warning("a guest was refused: %s", error)
            return JoinAnswer(refused=str(error)[:256]), None


def read_line(wire: socket.socket, until_s: float) -> bytes:
    """Read one line, without its end.

    Args:
        wire: to read from.
        until_s: by the monotonic clock.

    Raises:
        ValueError: it is too long, or ends in its middle.
        OSError: the wire breaks, or it takes too long.
    """
    data = b""
    while not data.endswith(b"\n"):
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("too slow")
        wire.settimeout(left_s)
        more = wire.recv(4096)
        if not more or len(data) + len(more) > invitation.LONGEST_BYTES:
            raise ValueError("no line")
        data += more
    return data[:-1]
