"""Server side of joining a household: answers one client at a time over TLS and signs its key.

It listens on its own port, only while a command waits for a client. The client verifies the
server's certificate by its fingerprint; the server verifies the client by its token.
"""

import logging
import socket
import ssl
import time
from collections.abc import Callable
from typing import Final

import msgspec

from listener.errors import EarmarkError, Unavailable
from listener.household import ca, identity, invitation
from listener.household.identity import HouseholdIdentity, IdentityKind
from listener.household.invitation import JoinAnswer, JoinRequest
from listener.household.state import HouseholdStore
from listener.storage.home import Home
from listener.system.systemd import StopSignal

GUEST_S: Final = 10.0
"""Timeout for one client, in seconds."""
_TURN_S: Final = 0.5

_log = logging.getLogger(__name__)


def sign_guest(
    store: HouseholdStore, home: Home, request: JoinRequest
) -> tuple[JoinAnswer, HouseholdIdentity]:
    """Verify a request, sign its key, and add a device to the roster.

    Args:
        store: the household.
        home: data directory with the roster.
        request: of the client.

    Returns:
        The answer, and the identity that joined.

    Raises:
        EarmarkError: the request is refused; the invitation stays valid.
    """
    public, device_key = invitation.verify_request(request)
    with store.locked():
        before = store.registry()
        after, who = before.with_admission(
            request.token, ca.spki(public), int(store.now().timestamp())
        )
        if (who.kind is IdentityKind.DEVICE) != (device_key is not None):
            raise EarmarkError(f"this invitation is for {who.cn}, which is of another kind")
        if device_key is not None:
            home.change_roster(lambda roster: roster.with_device(who.name, device_key))
        store.replace(after)
        certificate = store.sign(who, public)
    store.publish()
    return (
        JoinAnswer(
            ca=ca.certificate_pem(store.authority().certificate).decode("ascii"),
            certificate=ca.certificate_pem(certificate).decode("ascii"),
            broker_host=after.hosts[0],
            broker_port=after.port,
        ),
        who,
    )


class JoinServer:
    """Listening socket for joining clients. For one thread.

    Args:
        store: the household.
        home: data directory whose roster receives devices.
        address: host and port to listen on; an empty host is every address of this machine.

    Raises:
        Unavailable: the port is in use, or may not be used.
    """

    def __init__(self, store: HouseholdStore, home: Home, address: tuple[str, int]) -> None:
        self._store = store
        self._home = home
        certificate, key = store.service(identity.API)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.load_cert_chain(certificate, key)
        try:
            self._socket = socket.create_server(address, backlog=8)
        except OSError as error:
            raise Unavailable(
                f"cannot listen on port {address[1]}: {error.strerror}",
                "stop the other earmark household that waits on this port",
            ) from error
        self._socket.settimeout(_TURN_S)

    @property
    def port(self) -> int:
        """TCP port on which it listens."""
        port: int = self._socket.getsockname()[1]
        return port

    def wait(
        self,
        who: HouseholdIdentity,
        stop: StopSignal,
        longest_s: float,
        monotonic_s: Callable[[], float],
    ) -> bool:
        """Answer clients until an identity has joined.

        Args:
            who: the identity to wait for.
            stop: ends the wait.
            longest_s: timeout in seconds.
            monotonic_s: a monotonic clock.

        Returns:
            True when the identity joined; False after a stop or the timeout.
        """
        until_s = monotonic_s() + longest_s
        while not stop.requested and monotonic_s() < until_s:
            try:
                client, _ = self._socket.accept()
            except TimeoutError:
                continue
            with client:
                client.settimeout(GUEST_S)
                if self._serve(client) == who:
                    return True
        return False

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def _serve(self, client: socket.socket) -> HouseholdIdentity | None:
        try:
            with self._context.wrap_socket(client, server_side=True) as wire:
                data = read_line(wire, time.monotonic() + GUEST_S)
                answer, who = self._handle(data)
                wire.sendall(msgspec.json.encode(answer) + b"\n")
        except (OSError, ValueError) as error:
            _log.info("a joining client disconnected: %s", type(error).__name__)
            return None
        return who

    def _handle(self, data: bytes) -> tuple[JoinAnswer, HouseholdIdentity | None]:
        try:
            return sign_guest(self._store, self._home, invitation.decode_request(data))
        except EarmarkError as error:
            _log.warning("a join request was refused: %s", error)
            return JoinAnswer(refused=str(error)[:256]), None


def read_line(wire: socket.socket, until_s: float) -> bytes:
    """Read one line and return it without its newline.

    Args:
        wire: socket to read from.
        until_s: deadline on the monotonic clock.

    Raises:
        ValueError: the line is too long, or the stream ends before its newline.
        OSError: the connection is lost, or the deadline has passed.
    """
    data = b""
    while not data.endswith(b"\n"):
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        wire.settimeout(left_s)
        more = wire.recv(4096)
        if not more or len(data) + len(more) > invitation.LONGEST_BYTES:
            raise ValueError("incomplete line")
        data += more
    return data[:-1]
