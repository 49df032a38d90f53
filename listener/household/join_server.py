"""Server side of joining a household: answers clients over TLS and signs their keys.

It listens on its own port, only while a command waits for a client. The client verifies the
server's certificate by its fingerprint; the server verifies the client by its token.

A client that connects and says nothing costs a descriptor until its place is needed. One that sends
its first bytes gets a thread, of which there are few; when all are in use, a client of the address
that has most of them gives way. So one host cannot keep another one from joining.
"""

import contextlib
import logging
import queue
import selectors
import socket
import ssl
import threading
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
from listener.system.accept import accept_waiting
from listener.system.connection_table import ConnectionLimits, ConnectionTable, Phase
from listener.system.systemd import StopSignal

GUEST_S: Final = 10.0
"""Timeout for one client, in seconds."""
HANDSHAKE_S: Final = 3.0
"""Timeout for its TLS handshake, in seconds."""
SILENT_LIMITS: Final = ConnectionLimits(
    most=128, most_per_peer=64, most_per_network=64, grace_s=0.0
)
"""Of clients that have sent nothing yet."""
GUEST_LIMITS: Final = ConnectionLimits(
    most=32, most_per_peer=16, most_per_network=16, grace_s=1.0, fair_uses=0
)
"""Of clients that are being answered; a client joins with its first connection."""
_TURN_S: Final = 0.5
_PAUSE_S: Final = 0.1

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
            brokers=after.addresses(after.hosts[0]) if after.brokers else (),
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
            self._socket = socket.create_server(address, backlog=1024)
        except OSError as error:
            raise Unavailable(
                f"cannot listen on port {address[1]}: {error.strerror}",
                "stop the other earmark household that waits on this port",
            ) from error
        self._socket.settimeout(0)
        self._signing = threading.Lock()

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
        with contextlib.closing(_Clients(self._socket, self._answer)) as clients:
            while not stop.requested and (left_s := until_s - monotonic_s()) > 0:
                clients.turn(min(left_s, _TURN_S))
                if who in clients.joined:
                    return True
        return False

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def _answer(self, client: "_Client") -> HouseholdIdentity | None:
        """Answer one client, in a thread of its own."""
        until_s = client.since_s + GUEST_S
        client.socket.settimeout(HANDSHAKE_S)
        try:
            client.socket.getpeername()  # ssl leaks a socket whose peer has reset it already
            with self._context.wrap_socket(
                client.socket, server_side=True, do_handshake_on_connect=False
            ) as wire:
                client.socket = wire
                wire.do_handshake()
                data = read_line(wire, until_s)
                answer, who = self._handle(data)
                wire.settimeout(GUEST_S)
                wire.sendall(msgspec.json.encode(answer) + b"\n")
        except (OSError, ValueError) as error:
            _log.info("a joining client disconnected: %s", type(error).__name__)
            return None
        return who

    def _handle(self, data: bytes) -> tuple[JoinAnswer, HouseholdIdentity | None]:
        try:
            with self._signing:
                return sign_guest(self._store, self._home, invitation.decode_request(data))
        except EarmarkError as error:
            _log.warning("a join request was refused: %s", error)
            return JoinAnswer(refused=str(error)[:256]), None


class _Client:
    """A connected client; see `TableEntry`."""

    phase = Phase.IDLE

    def __init__(self, sock: socket.socket, now_s: float) -> None:
        self.socket = sock
        self.since_s = now_s

    def close(self) -> None:
        """End the connection; a thread that uses it gets an error."""
        # Not the method of TLS, which is for the thread that uses it.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


class _Clients:
    """The clients of one wait. For one thread.

    Args:
        listening: the listening socket.
        answer: answers a client, in another thread; returns the identity that joined, if any.
    """

    def __init__(
        self, listening: socket.socket, answer: Callable[[_Client], HouseholdIdentity | None]
    ) -> None:
        self._listening = listening
        self._answer = answer
        self._selector = selectors.DefaultSelector()
        self._selector.register(listening, selectors.EVENT_READ)
        self._silent: ConnectionTable[_Client] = ConnectionTable(SILENT_LIMITS, time.monotonic)
        self._guests: ConnectionTable[_Client] = ConnectionTable(GUEST_LIMITS, time.monotonic)
        self._addresses: dict[_Client, str] = {}
        self._ended: queue.SimpleQueue[tuple[_Client, HouseholdIdentity | None]] = (
            queue.SimpleQueue()
        )
        self.joined: set[HouseholdIdentity] = set()
        """Identities that have joined."""

    def turn(self, longest_s: float) -> None:
        """Wait for clients for at most ``longest_s`` seconds, and let threads answer them."""
        for key, _ in self._selector.select(min(longest_s, _PAUSE_S)):
            if key.data is None:
                self._accept_waiting()
            elif key.data in self._addresses:  # otherwise it gave way in this turn
                self._begin(key.data)
        self._close_late()
        self._collect()

    def close(self) -> None:
        """Close all clients."""
        for client in (*self._silent, *self._guests):
            client.close()
        for client in self._silent:
            client.socket.close()
        self._selector.close()

    def _accept_waiting(self) -> None:
        for sock, address in accept_waiting(self._listening, lambda: time.sleep(_PAUSE_S)):
            self._admit(sock, address)

    def _admit(self, sock: socket.socket, address: str) -> None:
        sock.settimeout(0)
        client = _Client(sock, time.monotonic())
        before = set(self._silent)
        if not self._silent.admit(address, client):
            sock.close()
            return
        for gone in before - set(self._silent):
            self._forget(gone)
        self._addresses[client] = address
        self._selector.register(sock, selectors.EVENT_READ, client)

    def _begin(self, client: _Client) -> None:
        """Give a client that has sent something a thread."""
        self._selector.unregister(client.socket)
        self._silent.release(client)
        address = self._addresses.pop(client)
        if not self._guests.admit(address, client):
            client.socket.close()
            return
        threading.Thread(target=self._run, args=(client,), name="guest", daemon=True).start()

    def _run(self, client: _Client) -> None:
        who = None
        try:
            who = self._answer(client)
        finally:
            client.socket.close()
            self._ended.put((client, who))

    def _close_late(self) -> None:
        now_s = time.monotonic()
        for client in self._silent:
            if now_s - client.since_s > HANDSHAKE_S:
                self._silent.release(client)
                self._forget(client)

    def _collect(self) -> None:
        while not self._ended.empty():
            client, who = self._ended.get()
            self._guests.release(client)
            if who is not None:
                self.joined.add(who)

    def _forget(self, client: _Client) -> None:
        """Close a silent client that is in no table any more."""
        self._selector.unregister(client.socket)
        self._addresses.pop(client)
        client.socket.close()


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
