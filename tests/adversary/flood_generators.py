"""Generators of floods: each is a function that runs until it is told to stop.

They run in processes of their own at the lowest priority, so that they take no time from the
archive that a host elsewhere would not take. They connect from other loopback addresses than the
owner. Floods without a proof come from ``connection_floods``.
"""

import contextlib
import hashlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING, Final

import paho.mqtt.client as paho

from listener.ipc.notice_socket import SOCKET
from listener.storage.home import Home
from tests.adversary import connection_floods
from tests.adversary.connection_floods import BrokerLogin, FloodCounts, Target, broker_session
from tests.adversary.request_load import OwnerClient, RequestFailed
from tests.conftest import Household

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

ATTACKER: Final = "127.0.0.66"
"""Source address of the floods."""
CONNECT_S: Final = 5.0
_LONGEST_S: Final = 3600.0
_NEIGHBOURS: Final = connection_floods.loopback(10, 66)
"""Ten addresses with 48 connections each."""
_CHALLENGES: Final = 16
_CHALLENGES_PER_S: Final = 300.0
_BIG_BYTES: Final = 1_000_000
_FIRST_SEQ: Final = 10_000
_MOST_BIG: Final = 1_500
"""Bounds the disk and the memory that a flood can take from the machine under test."""


@dataclass(frozen=True, slots=True)
class Victim:
    """Ports, folders and keys of the household for a generator; can be pickled."""

    port: int
    api_port: int
    join_port: int
    ca: str
    stolen_tls: str
    """Folder with the certificate ``d-kitchen`` of the stolen speaker."""
    operator_tls: str
    bob: str
    """Private key of the owner bob."""
    ada: str
    """Private key of the owner ada; the generators use its public half alone."""
    stolen_home: str
    """Data directory of the stolen speaker."""
    honest_home: str
    """Data directory of the honest speaker."""


Generator = Callable[[Victim, Event, "Synchronized[int]"], None]


def open_challenges(victim: Victim, stop: Event, count: "Synchronized[int]") -> None:
    """Request challenges of an owner and answer none, on connections that stay open."""
    body = b'{"owner":"ada","request":{"op":"keys"}}'
    head = b"POST /v1/tickets HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
    one = head + b"content-length: %d\r\n\r\n" % len(body) + body
    while not stop.is_set():
        with contextlib.suppress(OSError), _tls(victim) as peer:
            peer.settimeout(CONNECT_S)
            while not stop.is_set():
                began_s = time.monotonic()
                peer.sendall(one * _CHALLENGES)
                answered = 0
                while answered < _CHALLENGES:
                    data = peer.recv(1 << 16)
                    if not data:
                        raise ConnectionResetError
                    answered += data.count(b"HTTP/1.1 ")
                count.value += _CHALLENGES
                rest_s = _CHALLENGES / _CHALLENGES_PER_S - (time.monotonic() - began_s)
                time.sleep(max(0.0, rest_s))
        time.sleep(0.02)


def half_open_tcp(victim: Victim, stop: Event, count: "Synchronized[int]") -> None:
    """Hold 1,500 connections on which not even a TLS handshake begins."""
    target = Target(victim.api_port, (ATTACKER,), 1_500)
    _count(connection_floods.half_open, target, stop, count)


def silent_tls(victim: Victim, stop: Event, count: "Synchronized[int]") -> None:
    """Hold 48 connections with a finished handshake and no request."""
    _count(connection_floods.silent_tls, _archive(victim), stop, count)


def slow_headers(victim: Victim, stop: Event, count: "Synchronized[int]") -> None:
    """Hold 48 requests whose headers arrive at a byte a second."""
    _count(connection_floods.slow_headers, _archive(victim), stop, count)


def slow_bodies(victim: Victim, stop: Event, count: "Synchronized[int]") -> None:
    """Hold 48 requests whose body arrives at a byte a second."""
    _count(connection_floods.slow_bodies, _archive(victim), stop, count)


def unread_responses(victim: Victim, stop: Event, count: "Synchronized[int]") -> None:
    """Request tickets without end on connections whose responses are not read."""
    _count(connection_floods.unread_responses, _archive(victim), stop, count)


def stalled_handshakes(victim: Victim, stop: Event, count: "Synchronized[int]") -> None:
    """Send the first bytes of a TLS handshake, and nothing more, from ten addresses."""
    _count(connection_floods.stalled_handshakes, _archive(victim, _NEIGHBOURS), stop, count)


def reconnects(victim: Victim, stop: Event, count: "Synchronized[int]") -> None:
    """Connect and hang up at once, as often as possible, from ten addresses."""
    _count(connection_floods.reconnects, _archive(victim, _NEIGHBOURS), stop, count)


def garbage(victim: Victim, stop: Event, count: "Synchronized[int]") -> None:
    """Send bytes that are neither TLS nor HTTP, from ten addresses."""
    _count(connection_floods.garbage, _archive(victim, _NEIGHBOURS), stop, count)


def datagrams(victim: Victim, stop: Event, count: "Synchronized[int]") -> None:
    """Send datagrams to the honest speaker's send, as another process of its user."""
    _count(connection_floods.datagrams, Path(victim.honest_home) / SOCKET, stop, count)


def log_rows(victim: Victim, stop: Event, count: "Synchronized[int]") -> None:
    """Send proven requests of one owner without end, on four connections at once."""

    def ask() -> None:
        client = OwnerClient.over_https(
            f"https://127.0.0.1:{victim.api_port}", Path(victim.ca), "bob", victim.bob, CONNECT_S
        )
        while not stop.is_set():
            try:
                client.ask("retention")
            except RequestFailed:
                time.sleep(0.05)
            with count.get_lock():
                count.value += 1

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def retained_messages(victim: Victim, stop: Event, count: "Synchronized[int]") -> None:
    """Leave retained messages of 1 MB on topics of the stolen speaker."""
    _count(connection_floods.retained_messages, _stolen(victim), stop, count)


def forged_refusals(victim: Victim, stop: Event, count: "Synchronized[int]") -> None:
    """Refuse each clip of the stolen speaker in the archive's name, as the broker's operator."""
    operator = BrokerLogin(victim.port, "d-operator", Path(victim.operator_tls))
    while not stop.is_set():
        with (
            contextlib.suppress(OSError),
            broker_session(operator) as client,
        ):

            def refuse(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
                clip = message.topic.rpartition("/")[2]
                digest = hashlib.sha256(message.payload).hexdigest()
                _client.publish(f"earmark/v1/ack/kitchen/{clip}", f"refused:form:{digest}", 1)
                count.value += 1

            client.on_message = refuse
            client.subscribe("earmark/v1/clips/+/kitchen/+", 1)
            while client.is_connected() and not stop.wait(0.2):
                pass


def clip_flood(victim: Victim, stop: Event, count: "Synchronized[int]") -> None:
    """Publish sealed clips of 1 MB as the stolen speaker, as fast as the broker takes them."""
    home = Home(Path(victim.stolen_home))
    sealing = Household(home, home.device_key(), {"ada": victim.ada})
    number = 0
    while not stop.is_set():
        with (
            contextlib.suppress(OSError),
            broker_session(_stolen(victim)) as client,
        ):
            while client.is_connected() and not stop.is_set() and number < _MOST_BIG:
                number += 1
                header = sealing.header(_FIRST_SEQ + number, "ada", device="kitchen")
                data = sealing.seal(header, _noise)
                told = client.publish(f"earmark/v1/clips/ada/kitchen/{header.clip}", data, 1)
                with contextlib.suppress(RuntimeError, ValueError):
                    told.wait_for_publish(CONNECT_S)
                count.value += 1
        stop.wait(0.5)


def silent_joiners(victim: Victim, stop: Event, count: "Synchronized[int]") -> None:
    """Hold 40 connections on the port where members join, and say nothing."""
    target = Target(victim.join_port, (ATTACKER,), 40)
    _count(connection_floods.half_open, target, stop, count)


def _noise(comment: str) -> bytes:
    return b"fLaC" + os.urandom(_BIG_BYTES) + comment.encode()


def _count(
    flood: Callable[..., FloodCounts], target: object, stop: Event, count: "Synchronized[int]"
) -> None:
    """Run a flood of ``connection_floods`` until it is told to stop; set the count at its end."""
    count.value = 1  # it has begun
    count.value = flood(target, _LONGEST_S, stop).attempts


def _archive(victim: Victim, sources: tuple[str, ...] = (ATTACKER,)) -> Target:
    return Target(victim.api_port, sources)


def _stolen(victim: Victim) -> BrokerLogin:
    return BrokerLogin(victim.port, "d-kitchen", Path(victim.stolen_tls))


def _tcp(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), CONNECT_S, source_address=(ATTACKER, 0))


def _tls(victim: Victim) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain = _tcp(victim.api_port)
    try:
        return context.wrap_socket(plain)
    except BaseException:
        plain.close()
        raise
