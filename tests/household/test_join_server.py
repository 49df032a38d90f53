"""Join server over real sockets on loopback."""

import json
import socket
import ssl
import time
from pathlib import Path

import msgspec
import pytest

from listener.errors import EarmarkError, Unavailable
from listener.household import identity
from listener.household.join_client import join
from listener.household.join_server import JoinServer, read_line
from listener.storage.home import Home
from listener.system.systemd import StopSignal
from tests.household.guests import Host

pytestmark = pytest.mark.system  # a real household answers

HALL, ADA = identity.device("hall"), identity.owner("ada")


def test_taken_name_is_refused_and_the_invitation_stays_valid(
    host: Host, guest: Home, tmp_path: Path
) -> None:
    host.wait(ADA)
    join(Home(tmp_path / "first"), host.invite(HALL))
    invited = host.invite(HALL, "s" * 22)

    with pytest.raises(EarmarkError, match="hall has another key"):
        join(guest, invited)

    host.home.change_roster(lambda roster: roster.without_device("hall", 0))
    assert join(guest, invited).who == HALL


def test_owner_invitation_does_not_add_a_device(host: Host, guest: Home) -> None:
    host.wait(ADA)
    forged = msgspec.structs.replace(host.invite(ADA), cn="d-ada")

    with pytest.raises(EarmarkError, match="another kind"):
        join(guest, forged)

    assert host.home.roster().devices == ()


@pytest.mark.parametrize(
    "data", [b"", b"garbage\n", b"{}\n", b'{"v":1}\n', b"x" * 20_000, b'{"v":1,"token":"t"']
)
def test_malformed_request_does_not_end_the_server(host: Host, guest: Home, data: bytes) -> None:
    invited, waiting = host.invite(HALL), host.wait(HALL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    with (
        socket.create_connection(("127.0.0.1", host.server.port)) as plain,
        context.wrap_socket(plain) as wire,
    ):
        wire.sendall(data)
        if data.endswith(b"\n"):
            assert json.loads(read_line(wire, time.monotonic() + 40))["refused"]
    with socket.create_connection(("127.0.0.1", host.server.port)) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")

    join(guest, invited)
    assert waiting.result(30)


def test_port_in_use_is_reported(host: Host) -> None:
    with pytest.raises(Unavailable, match="cannot listen on port"):
        JoinServer(host.store, host.home, ("127.0.0.1", host.server.port))


def test_wait_ends_at_the_timeout(host: Host) -> None:
    assert not host.server.wait(HALL, StopSignal(), 0.0, time.monotonic)
