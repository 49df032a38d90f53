"""Generators of floods: each is a function that runs until it is told to stop.

They run in processes of their own at the lowest priority, so that they take no time from the
archive that a host elsewhere would not take. They connect from another loopback address than the
owner.
"""

import contextlib
import hashlib
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from listener.mqtt.paho_thread import stop_network_thread
from listener.storage.home import Home
from tests.adversary.request_load import OwnerClient, RequestFailed
from tests.conftest import Household

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

ATTACKER: Final = "127.0.0.66"
"""Source address of the floods."""
CONNECT_S: Final = 5.0
_CHALLENGES: Final = 16
_CHALLENGES_PER_S: Final = 300.0
_BIG_BYTES: Final = 1_000_000
_FIRST_SEQ: Final = 10_000
_MOST_BIG: Final = 1_500
"""Bounds the disk and the memory that a flood can take from the machine under test."""


@dataclass(frozen=True, slots=True)
class Victim:
    """What a generator needs to know of the household; can be pickled."""

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
    _hold(1_500, lambda: _tcp(victim.api_port), stop, count)


def silent_tls(victim: Victim, stop: Event, count: "Synchronized[int]") -> None:
    """Hold 48 connections with a finished handshake and no request."""
    _hold(48, lambda: _tls(victim), stop, count)


def slow_bodies(victim: Victim, stop: Event, count: "Synchronized[int]") -> None:
    """Hold 48 requests whose body arrives at a byte a second."""
    head = (
        b"POST /v1/tickets HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
        b"content-length: 16000\r\n\r\n{"
    )

    def begin() -> socket.socket:
        peer = _tls(victim)
        peer.sendall(head)
        return peer

    _hold(48, begin, stop, count, drip=b"x")


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
    number = 0
    while not stop.is_set():
        with (
            contextlib.suppress(OSError),
            _mqtt(victim, victim.stolen_tls, "d-kitchen") as client,
        ):
            while client.is_connected() and not stop.is_set() and number < _MOST_BIG:
                number += 1
                clip = f"{number:08x}-0000-4000-8000-000000000000"
                told = client.publish(
                    f"earmark/v1/clips/ada/kitchen/{clip}", os.urandom(_BIG_BYTES), 1, retain=True
                )
                with contextlib.suppress(RuntimeError, ValueError):
                    told.wait_for_publish(CONNECT_S)
                count.value += 1
        stop.wait(0.5)


def forged_refusals(victim: Victim, stop: Event, count: "Synchronized[int]") -> None:
    """Refuse each clip of the stolen speaker in the archive's name, as the broker's operator."""
    while not stop.is_set():
        with (
            contextlib.suppress(OSError),
            _mqtt(victim, victim.operator_tls, "d-operator") as client,
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
            _mqtt(victim, victim.stolen_tls, "d-kitchen") as client,
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
    _hold(40, lambda: _tcp(victim.join_port), stop, count)


def _noise(comment: str) -> bytes:
    return b"fLaC" + os.urandom(_BIG_BYTES) + comment.encode()


def _hold(
    number: int,
    begin: Callable[[], socket.socket],
    stop: Event,
    count: "Synchronized[int]",
    drip: bytes = b"",
) -> None:
    """Hold so many connections; replace each that the server closes."""
    held: list[socket.socket] = []
    dripped_s = 0.0
    while not stop.is_set():
        try:
            while len(held) < number and not stop.is_set():
                held.append(begin())
                count.value += 1
        except OSError:
            time.sleep(0.05)
        if drip and time.monotonic() - dripped_s >= 1.0:
            dripped_s = time.monotonic()
            held = [peer for peer in held if _sends(peer, drip)]
        poll = select.poll()
        for peer in held:
            poll.register(peer, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(100)}
        over = [peer for peer in held if peer.fileno() in ready and not _lasts(peer)]
        held = [peer for peer in held if peer not in over]
        for peer in over:
            peer.close()
    for peer in held:
        peer.close()


def _sends(peer: socket.socket, data: bytes) -> bool:
    try:
        peer.sendall(data)
    except OSError:
        peer.close()
        return False
    return True


def _lasts(peer: socket.socket) -> bool:
    peer.settimeout(0)
    try:
        return bool(peer.recv(4096))
    except (ssl.SSLWantReadError, BlockingIOError):
        return True
    except OSError:
        return False
    finally:
        peer.settimeout(CONNECT_S)


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


@contextlib.contextmanager
def _mqtt(victim: Victim, tls: str, cn: str) -> Iterator[paho.Client]:
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id=cn, protocol=MQTTProtocolVersion.MQTTv5
    )
    client.tls_set(f"{tls}/ca.crt", f"{tls}/{cn}.crt", f"{tls}/{cn}.key")
    client.connect("127.0.0.1", victim.port)
    client.loop_start()
    until_s = time.monotonic() + CONNECT_S
    while not client.is_connected() and time.monotonic() < until_s:
        time.sleep(0.02)
    try:
        yield client
    finally:
        client.disconnect()
        stop_network_thread(client)
