"""Join client and server over real sockets on loopback, each in its own folder."""

import socket
import ssl
import threading
import time
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.household import identity
from listener.household.invitation import JoinAnswer
from listener.household.join_client import join
from listener.household.join_server import read_line
from listener.storage.home import Home
from tests.household.guests import Host

pytestmark = pytest.mark.system  # a real household answers

HALL, ADA = identity.device("hall"), identity.owner("ada")


def test_speaker_joins_and_is_in_the_roster(host: Host, guest: Home) -> None:
    invited, waiting = host.invite(HALL), host.wait(HALL)

    joined = join(guest, invited)

    assert waiting.result(30)
    assert host.home.roster().device_keys() == {"hall": guest.device_key().public_key()}
    assert host.store.registry().members()[0] == HALL
    context = ssl.create_default_context(cafile=str(joined.folder / "ca.crt"))
    context.load_cert_chain(joined.folder / "me.crt", joined.folder / "me.key")
    assert (joined.folder / "me.key").stat().st_mode & 0o777 == 0o600
    assert not (host.store.path / "issued" / "d-hall.key").exists()
    assert '[device]\nname = "hall"' in joined.settings()
    assert 'host = "home.lan"\nport = 8883' in joined.settings()


def test_archive_key_comes_from_the_invitation(host: Host, guest: Home) -> None:
    stranger = Ed25519PrivateKey.generate().public_key()
    guest.pin_archive(stranger)
    host.wait(ADA)

    join(guest, host.invite(ADA))

    pinned = guest.pinned_archive()
    assert pinned is not None
    assert pinned == host.home.archive_key().public_key()
    assert not {"archive", "key"} & set(JoinAnswer.__struct_fields__)


def test_owner_computer_joins_without_a_device_key(host: Host, guest: Home) -> None:
    invited, waiting = host.invite(ADA), host.wait(ADA)

    joined = join(guest, invited)

    assert waiting.result(30)
    assert host.home.roster().devices == ()
    assert not (guest.path / "device.key").exists()
    assert "[device]" not in joined.settings()


def test_used_invitation_is_refused_for_another_key(
    host: Host, guest: Home, tmp_path: Path
) -> None:
    invited, waiting = host.invite(HALL), host.wait(ADA)
    first = join(guest, invited)
    certificate = (first.folder / "me.crt").read_bytes()

    with pytest.raises(EarmarkError, match="already used"):
        join(Home(tmp_path / "thief"), invited)

    # The same speaker may ask again when the answer was lost, and gets no other certificate.
    join(guest, invited)
    assert (first.folder / "me.crt").read_bytes() == certificate
    assert not (tmp_path / "thief" / "tls" / "me.crt").exists()
    host.stop.request()
    assert not waiting.result(30)


def test_second_invitation_renews_with_the_same_key(host: Host, guest: Home) -> None:
    first, waiting = host.invite(HALL), host.wait(ADA)
    folder = join(guest, first).folder
    key, certificate = (folder / "me.key").read_bytes(), (folder / "me.crt").read_bytes()
    host.store.update(lambda before: before.without(HALL, 1_800_000_000))

    join(guest, host.invite(HALL, "s" * 22))

    assert (folder / "me.key").read_bytes() == key
    assert (folder / "me.crt").read_bytes() != certificate
    host.stop.request()
    assert not waiting.result(30)


def test_nothing_is_sent_to_a_server_with_another_certificate(
    host: Host, guest: Home, tmp_path: Path
) -> None:
    other = Host(tmp_path / "other")
    other.wait(HALL)
    invited = host.invite(HALL)

    with pytest.raises(EarmarkError, match="is not the household that printed this invitation"):
        join(guest, msgspec.structs.replace(invited, port=other.server.port))

    other.end()
    host.wait(HALL)
    assert join(guest, invited).who == HALL


def test_missing_join_server_is_reported(guest: Home, host: Host) -> None:
    invited = host.invite(HALL)
    host.server.close()

    with pytest.raises(Unavailable, match=r"cannot join at 127\.0\.0\.1"):
        join(guest, invited)


class FakeJoinServer:
    """Join server with the certificate in the invitation that sends a given answer."""

    def __init__(self, host: Host, answer: JoinAnswer) -> None:
        self._answer = msgspec.json.encode(answer) + b"\n"
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*host.store.service(identity.API))
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        guest, _ = self._socket.accept()
        with self._socket, self._context.wrap_socket(guest, server_side=True) as wire:
            read_line(wire, time.monotonic() + 40)
            wire.sendall(self._answer)

    def end(self) -> None:
        self._thread.join(40)


def test_answer_that_does_not_fit_is_refused(host: Host, guest: Home, tmp_path: Path) -> None:
    host.wait(ADA)
    other = Host(tmp_path / "other")
    join(Home(tmp_path / "somebody"), host.invite(HALL))
    theirs = (tmp_path / "somebody" / "tls" / "me.crt").read_text()
    answers = {
        "is damaged": JoinAnswer(ca="no", certificate=theirs),
        "is not signed by the authority": JoinAnswer(
            ca=(other.store.path / "ca.crt").read_text(), certificate=theirs
        ),
        "is for another key": JoinAnswer(
            ca=(host.store.path / "ca.crt").read_text(), certificate=theirs
        ),
    }
    other.end()

    for why, answer in answers.items():
        fake = FakeJoinServer(host, answer)
        invited = msgspec.structs.replace(host.invite(HALL, "s" * 22), port=fake.port)
        with pytest.raises(ConfigError, match=why):
            join(guest, invited)
        fake.end()

    assert not (guest.path / "tls" / "me.crt").exists()
