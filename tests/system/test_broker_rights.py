"""The generated ACL on a real mosquitto: every identity tries every topic.

What counts is what arrives, never what the broker grants. Two more identities, added to the file
of rights, see and say everything: without them a blocked message could not be detected.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from listener.household import ca, identity
from listener.household.identity import HouseholdIdentity
from listener.household.state import HouseholdStore
from listener.mqtt.paho_thread import stop_network_thread
from tests.household.test_broker_config import table

if TYPE_CHECKING:
    from tests.system.conftest import Mosquitto

pytestmark = pytest.mark.system

Wait = Callable[[Callable[[], object], str], None]

ASK = "0123456789abcdef" * 2
CLIP = "0a0a0a0a-0000-4000-8000-000000000000"
ALL_SEEING = HouseholdIdentity("s-watch")
ALL_SAYING = HouseholdIdentity("s-shout")
MEMBERS = (
    identity.device("hall"),
    identity.device("kitchen"),
    identity.device("ada"),  # named like an owner
    identity.owner("ada"),
    identity.owner("hall"),  # named like a device
    identity.ARCHIVE,
    identity.ASSIST,
    identity.HOUSEHOLD,
    identity.HOME_ASSISTANT,
)
TOPICS = (
    *(
        f"earmark/v1/clips/{owner}/{device}/{CLIP}"
        for owner in ("ada", "hall")
        for device in ("hall", "kitchen", "ada", "archive")
    ),
    *(f"earmark/v1/ack/{device}/{CLIP}" for device in ("hall", "kitchen", "ada")),
    *(
        f"earmark/v1/{kind}/{device}"
        for kind in ("status", "event", "command")
        for device in ("hall", "kitchen", "ada", "archive", "household")
    ),
    *(f"earmark/v1/retention/{owner}" for owner in ("ada", "hall", "bob")),
    *(
        f"earmark/v1/{kind}/{device}"
        for kind in (
            *("keys", "sequence", "consents", "ask", "answer", "say", "announce"),
            *("owner-challenges", "owner-answers"),
        )
        for device in ("hall", "kitchen", "ada", "archive")
    ),
    *(f"earmark/v1/spoken/{device}/{ASK}" for device in ("hall", "kitchen", "ada", "archive")),
    *(f"homeassistant/device/earmark-{device}/config" for device in ("hall", "kitchen")),
    "homeassistant/status",
    "homeassistant/switch/door/config",
    # Too short, too deep, another version, elsewhere.
    f"earmark/v1/clips/ada/hall/{CLIP}/more",
    "earmark/v1/clips/ada/hall",
    "earmark/v1/clips",
    "earmark/v1/status",
    "earmark/v1/status/hall/more",
    f"earmark/v1/spoken/hall/{ASK}/more",
    "earmark/v1/spoken/hall",
    "earmark/v1/answer/hall/more",
    "earmark/v2/status/hall",
    "earmark",
    "lamp/set",
    "/earmark/v1/status/hall",
)
PATTERNS = (
    *("#", "+/#", "/#", "+/+/+/+", "earmark/#", "earmark/v1/clips/#", "homeassistant/#"),
    *("$SYS/#", "+/v1/+/hall/#", "earmark/v1/clips/+/hall/+", "earmark/v1/+/+"),
    *("earmark/v1/spoken/#", "earmark/v1/spoken/+/+", "earmark/v1/+/hall"),
    *TOPICS,
)


def matches(pattern: str, topic: str) -> bool:
    return paho.topic_matches_sub(pattern, topic)


def granted(who: HouseholdIdentity) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what the documents say that somebody may say and hear."""
    row = {"d": "d-<device>", "o": "o-<owner>"}.get(who.cn[0], who.cn)
    rights = table()[row]
    own = [
        tuple(topic.replace("<device>", who.name) for topic in topics)
        for topics in (rights.writes, rights.reads)
    ]
    return own[0], own[1]


def allowed(patterns: tuple[str, ...], topic: str) -> bool:
    return any(matches(pattern, topic) for pattern in patterns)


class Client:
    """One connection; what arrives is kept."""

    def __init__(self, home: "Home", who: HouseholdIdentity, **more: Any) -> None:  # noqa: ANN401 - paho's
        self.who = who
        self.heard: list[tuple[str, bytes, bool]] = []
        self.refused: str | None = None
        self.lost = threading.Event()
        self._welcome = threading.Event()
        # Two sets, since an answer may come before the question is noted.
        self._asked: set[int] = set()
        self._answered: set[int] = set()
        client_id: str = more.pop("client_id", who.cn)
        will: tuple[str, bytes] | None = more.pop("will", None)
        self.paho = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        self.paho.tls_set_context(home.context(who, **more))
        self.paho.max_inflight_messages_set(100)
        self.paho.on_connect = self._on_connect
        self.paho.on_disconnect = lambda *_: self.lost.set()
        self.paho.on_message = lambda _c, _d, message: self.heard.append(
            (message.topic, bytes(message.payload), message.retain)
        )
        self.paho.on_publish = lambda _c, _d, ticket, _r, _p: self._answered.add(ticket)
        self.paho.on_subscribe = lambda _c, _d, ticket, _r, _p: self._answered.add(ticket)
        if will is not None:
            self.paho.will_set(will[0], will[1], qos=1)
        self.paho.connect("localhost", home.port, 30)
        self.paho.loop_start()
        assert self._welcome.wait(40), "no answer to CONNECT"

    def _on_connect(self, _c: object, _d: object, _f: object, code: object, _p: object) -> None:
        self.refused = None if str(code) == "Success" else str(code)
        self._welcome.set()

    def subscribe(self, *patterns: str) -> None:
        self._asked.update(self.paho.subscribe(one, 1)[1] or 0 for one in patterns)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._asked.add(self.paho.publish(topic, payload, 1, retain).mid)

    def is_answered(self) -> bool:
        return self._asked <= self._answered

    def payloads(self) -> set[bytes]:
        return {payload for _, payload, _ in self.heard}

    def has_heard(self, expected: set[bytes]) -> bool:
        return self.payloads() >= expected

    def end(self) -> None:
        self.paho.disconnect()
        stop_network_thread(self.paho)

    def vanish(self) -> None:
        """Lose the connection without a goodbye, so that the last will is published."""
        wire = self.paho.socket()
        assert isinstance(wire, socket.socket)
        wire.shutdown(socket.SHUT_RDWR)
        self.lost.wait(40)
        stop_network_thread(self.paho)


@dataclass(frozen=True, slots=True)
class Home:
    """A household with a certificate for everybody."""

    office: HouseholdStore
    folder: Path
    port: int

    def context(
        self,
        who: HouseholdIdentity | None,
        certificate: Path | None = None,
        version: Any = None,  # noqa: ANN401 - ssl's
    ) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if who is not None:
            found = certificate or self.folder / f"{who.cn}.crt"
            context.load_cert_chain(found, found.with_suffix(".key"))
        return context

    def forge(
        self, who: HouseholdIdentity, authority: ca.Authority, now: datetime, name: str
    ) -> Path:
        key = ca.new_key()
        made = ca.issue_certificate(authority, who, key.public_key(), now)
        path = self.folder / f"{name}.crt"
        path.write_bytes(ca.certificate_pem(made))
        path.with_suffix(".key").write_bytes(ca.key_pem(key))
        return path


@pytest.fixture
def place(home: Path, tmp_path: Path, free_port: int) -> Home:
    office = HouseholdStore(home)
    office.set_up(
        lambda register: msgspec.structs.replace(
            register, hosts=("localhost", "127.0.0.1"), port=free_port
        )
    )
    folder = tmp_path / "certificates"
    for who in MEMBERS:
        office.issue(who, folder)
    made = Home(office, folder, free_port)
    for who in (ALL_SEEING, ALL_SAYING):
        made.forge(who, office.authority(), datetime.now(UTC), who.cn)
    rights = office.published().broker / "acl"
    rights.write_text(
        rights.read_text() + f"\nuser {ALL_SEEING.cn}\ntopic read #\ntopic read $SYS/#\n"
        f"\nuser {ALL_SAYING.cn}\ntopic write #\n"
    )
    return made


@pytest.fixture
def connect(mosquitto: "Mosquitto", place: Home) -> Iterator[Callable[..., Client]]:
    mosquitto.start_with(place.office.published().broker)
    clients: list[Client] = []

    def made(who: HouseholdIdentity, **more: Any) -> Client:  # noqa: ANN401 - the client's own
        clients.append(Client(place, who, **more))
        return clients[-1]

    yield made
    for client in clients:
        client.end()


def test_clients_publish_only_what_the_acl_grants(
    connect: Callable[..., Client], wait_until: Wait
) -> None:
    watch = connect(ALL_SEEING)
    watch.subscribe("#")
    wait_until(watch.is_answered, "the watch sees everything")
    tries = {
        f"{who.cn} {topic} {retain}".encode(): (who, topic)
        for who in MEMBERS
        for topic in TOPICS
        for retain in (False, True)
    }
    expected = {
        payload for payload, (who, topic) in tries.items() if allowed(granted(who)[0], topic)
    }

    for who in MEMBERS:
        client = connect(who)
        for payload, (sayer, topic) in tries.items():
            if sayer == who:
                client.publish(topic, payload, retain=payload.endswith(b"True"))
        wait_until(client.is_answered, f"{who.cn} is answered")
    wait_until(lambda: watch.payloads() >= expected, "all that may pass has passed")

    assert watch.payloads() == expected
    # The control: each client that can publish published something, and much was refused.
    assert {tries[payload][0] for payload in expected} == {
        who for who in MEMBERS if granted(who)[0]
    }
    assert len(expected) < len(tries) / 5


def test_clients_receive_only_what_the_acl_grants(
    connect: Callable[..., Client], wait_until: Wait
) -> None:
    shout = connect(ALL_SAYING)
    for topic in TOPICS:
        shout.publish(topic, f"kept {topic}".encode(), retain=True)
    wait_until(shout.is_answered, "the broker keeps one on each topic")
    clients = [connect(who) for who in MEMBERS]
    for client in clients:
        # One after the other: each brings what is kept once more, and the broker's queue is short.
        for pattern in PATTERNS:
            client.subscribe(pattern)
            wait_until(client.is_answered, "subscribed")

    for topic in TOPICS:
        shout.publish(topic, f"now {topic}".encode())
    wait_until(shout.is_answered, "all is said")

    for client in clients:
        heard = [topic for topic in TOPICS if allowed(granted(client.who)[1], topic)]
        expected = {f"{when} {topic}".encode() for when in ("kept", "now") for topic in heard}
        wait_until(
            partial(client.has_heard, expected),
            f"{client.who.cn} hears all that it may",
        )
    for client in clients:
        # Whatever was on its way is there before the answer to this.
        client.subscribe("earmark/nothing")
        wait_until(client.is_answered, "answered")
        reads = granted(client.who)[1]
        assert all(allowed(reads, topic) for topic, _, _ in client.heard), client.who.cn


def test_shared_subscription_without_rights_receives_nothing(
    connect: Callable[..., Client], wait_until: Wait
) -> None:
    thief, shout = connect(identity.owner("ada")), connect(ALL_SAYING)
    thief.subscribe("$share/archive/earmark/v1/clips/+/+/+", "$share/x/#", "earmark/v1/status/+")
    wait_until(thief.is_answered, "granted, as mosquitto grants everything")

    for topic in TOPICS:
        shout.publish(topic, topic.encode())
    wait_until(lambda: b"earmark/v1/status/kitchen" in thief.payloads(), "what may be heard is")

    assert all(topic.startswith("earmark/v1/status/") for topic, _, _ in thief.heard)


def test_client_id_of_another_client_cannot_be_taken(
    connect: Callable[..., Client], wait_until: Wait
) -> None:
    hall, archive = connect(identity.device("hall")), connect(identity.ARCHIVE)
    hall.subscribe(f"earmark/v1/ack/hall/{CLIP}")
    wait_until(hall.is_answered, "subscribed")

    thieves = [
        connect(who, client_id=f"{other.cn}")
        for who in MEMBERS
        for other in (hall.who, archive.who)
        if who not in (hall.who, archive.who)
    ]
    for thief in thieves:
        thief.subscribe(f"earmark/v1/ack/hall/{CLIP}", "#")
    archive.publish(f"earmark/v1/ack/hall/{CLIP}", b"yours")
    wait_until(lambda: hall.heard, "the device hears its answer")

    assert not hall.lost.is_set()
    assert not archive.lost.is_set()
    assert all(b"yours" not in thief.payloads() for thief in thieves)


def test_last_will_has_the_rights_of_its_client(
    connect: Callable[..., Client], wait_until: Wait
) -> None:
    watch = connect(ALL_SEEING)
    watch.subscribe("#")
    wait_until(watch.is_answered, "the watch sees everything")
    tried = [
        (who, topic)
        for who in (identity.device("hall"), identity.owner("hall"), identity.HOME_ASSISTANT)
        for topic in (*TOPICS[::2], "earmark/v1/status/hall")
    ]

    for who, topic in tried:
        client = connect(who, will=(topic, f"{who.cn} {topic}".encode()))
        if client.refused is None:
            client.vanish()
    expected = {
        f"{who.cn} {topic}".encode() for who, topic in tried if allowed(granted(who)[0], topic)
    }
    wait_until(lambda: watch.payloads() >= expected, "permitted wills are done")

    assert watch.payloads() == expected
    assert b"d-hall earmark/v1/status/hall" in expected


CONNECT = b"\x10\x22\x00\x04MQTT\x04\xc2\x00\x1e\x00\x06d-hall\x00\x06d-hall\x00\x06d-hall"
WELCOME = b"\x20\x02\x00\x00"


def is_let_in(place: Home, context: ssl.SSLContext | None) -> bool:
    """Say whether the broker welcomes anybody who comes like this, with a name and a password."""
    with socket.create_connection(("localhost", place.port), 20) as plain:
        wire = plain
        try:
            if context is not None:
                wire = context.wrap_socket(plain, server_hostname="localhost")
            wire.sendall(CONNECT)
            return wire.recv(4) == WELCOME
        except OSError:
            return False
        finally:
            wire.close()


def test_connection_without_a_valid_certificate_is_refused(
    mosquitto: "Mosquitto", place: Home, wait_until: Wait
) -> None:
    hall, now = identity.device("hall"), datetime.now(UTC)
    office = place.office
    foreign = ca.new_authority(now)
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    outsiders = {
        "no certificate": place.context(None),
        "a foreign authority": place.context(hall, place.forge(hall, foreign, now, "foreign")),
        "expired": place.context(hall, place.forge(hall, office.authority(), long_ago, "expired")),
        "the broker's own": place.context(
            hall, place.forge(identity.BROKER, office.authority(), now, "server")
        ),
        "TLS 1.2": place.context(hall, version=ssl.TLSVersion.TLSv1_2),
        "no TLS": None,
    }
    mosquitto.start_with(office.published().broker)

    assert is_let_in(place, place.context(hall))
    for how, context in outsiders.items():
        assert not is_let_in(place, context), how

    office.update(lambda register: register.without(hall, int(now.timestamp())))
    office.publish()
    mosquitto.reload()
    wait_until(lambda: not is_let_in(place, place.context(hall)), "the revoked is refused")
    assert is_let_in(place, place.context(identity.device("kitchen")))
    # A member that joins again under the name connects with the new certificate, and with no other.
    new = place.forge(hall, office.authority(), now, "new")
    assert is_let_in(place, place.context(hall, new))
    assert not is_let_in(place, place.context(hall))


def test_revoked_client_that_is_connected_loses_its_rights(
    mosquitto: "Mosquitto", connect: Callable[..., Client], place: Home, wait_until: Wait
) -> None:
    hall = connect(identity.device("hall"))
    archive = connect(identity.ARCHIVE)
    archive.subscribe("earmark/v1/clips/+/+/+")
    wait_until(archive.is_answered, "subscribed")
    clip = f"earmark/v1/clips/ada/hall/{CLIP}"
    hall.publish(clip, b"before")
    wait_until(lambda: b"before" in archive.payloads(), "it could")

    place.office.update(lambda register: register.without(hall.who, 1_700_000_000))
    place.office.publish()
    mosquitto.reload()
    kitchen = identity.device("kitchen")
    wait_until(lambda: not is_let_in(place, place.context(hall.who)), "the files are read")
    hall.publish(clip, b"after")
    other = connect(kitchen)
    other.publish(f"earmark/v1/clips/ada/kitchen/{CLIP}", b"another's")
    wait_until(lambda: b"another's" in archive.payloads(), "others go on")

    assert b"after" not in archive.payloads()
