"""Attacks of the mixed run, at times and with targets drawn from a seed.

Each runs for a moment or is repaired later; a repaired machine must recover by itself. Those that
send do so in a thread of their own.
"""

import contextlib
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.soak.cast import Actor
from benchmarks.soak.stage import sounddevice as stage
from listener.digests import sha256
from listener.ipc import control
from listener.ipc.control import ControlClient
from listener.mqtt.paho_thread import stop_network_thread
from tests.adversary.machines import BATH, Machines

CLOCK_STEPS_S: Final = (0.0, -600.0, -3_600.0, 7_200.0, 400 * 86_400.0, -20 * 365 * 86_400.0)
_NO_OFFSET: Final = timedelta()
_BURST_S: Final = 1.0
_SILENT: Final = 64
_GARBAGE_TOPICS: Final = (
    "earmark/v1/clips/ada/hall/{clip}",
    "earmark/v1/clips/bob/bath/{clip}",
    "earmark/v1/clips/../bath/{clip}",
    "earmark/v1/ack/bath/{clip}",
    "earmark/v1/ack/hall/{clip}",
    "earmark/v1/command/hall",
    "earmark/v1/retention/bob",
    "earmark/v1/keys/bath",
    "earmark/v1/status/bath",
    "earmark/v1/status/archive",
)


class Attacks:
    """Attacks one after the other, repaired later. For one thread.

    Args:
        machines: the targets.
        seed: seed of the choices.
        pause_s: mean time between two attacks.
    """

    def __init__(self, machines: Machines, *, seed: int, pause_s: float) -> None:
        self._random = random.Random(seed)
        self._machines = machines
        self._pause_s = pause_s
        self._due_s = time.monotonic() + pause_s
        self._repairs: list[tuple[float, Callable[[], None]]] = []
        self._threads: list[threading.Thread] = []
        self.happened: Counter[str] = Counter()
        """Number of times of each attack."""
        self.hear_kills = 0

    def turn(self) -> None:
        """Begin and repair what is due."""
        now_s = time.monotonic()
        for due in [due for due in self._repairs if due[0] <= now_s]:
            self._repairs.remove(due)
            due[1]()
        if now_s >= self._due_s:
            self._due_s = now_s + self._random.uniform(0.5, 1.5) * self._pause_s
            name, attack = self._random.choice(self._all())
            self.happened[name] += 1
            attack()

    def repair(self) -> None:
        """Repair everything and begin nothing more."""
        for _, repair in self._repairs:
            repair()
        self._repairs.clear()
        for thread in self._threads:
            thread.join()
        self._machines.archive_clock.move(_NO_OFFSET)
        for speaker in self._machines.speakers.values():
            speaker.move_clock(0.0)
        self._machines.start()
        if self._machines.has_hear:
            self._unmute()

    def _all(self) -> list[tuple[str, Callable[[], None]]]:
        machines = self._machines
        found: list[tuple[str, Callable[[], None]]] = [
            ("broker killed", lambda: self._kill(machines.broker)),
            ("archive killed", lambda: self._kill(machines.archive)),
            ("send killed", lambda: self._kill(machines.bath.send)),
            ("send killed", lambda: self._kill(machines.hall.send)),
            ("archive's clock moved", self._move_archive_clock),
            ("speaker's clock moved", self._move_speaker_clock),
            ("requests", lambda: self._in_thread(self._send_requests)),
            ("silent connections", lambda: self._in_thread(self._hold_connections)),
            ("messages of garbage", lambda: self._in_thread(self._publish_garbage)),
            ("forged refusals", lambda: self._in_thread(self._forge_refusals)),
        ]
        if machines.has_hear:
            found += [
                ("hear killed", self._kill_hear),
                ("microphone process killed", self._kill_microphone),
                ("muted", self._mute),
                ("sound card failed", lambda: machines.desk.put(stage.FAILING, on=True)),
            ]
        if machines.archive_disk is not None:
            found.append(("archive's disk full", self._fill_archive_disk))
        if machines.bath.disk is not None:
            found.append(("speaker's disk full", self._fill_speaker_disk))
        return found

    def _later(self, least_s: float, most_s: float, repair: Callable[[], None]) -> None:
        self._repairs.append((time.monotonic() + self._random.uniform(least_s, most_s), repair))

    def _kill(self, actor: Actor) -> None:
        actor.end(signal.SIGKILL)
        self._later(0.0, 2.0, actor.start)

    def _kill_hear(self) -> None:
        self.hear_kills += 1
        self._machines.hear.end(signal.SIGKILL)
        self._later(0.0, 2.0, self._machines.start_hear)

    def _kill_microphone(self) -> None:
        if (pid := self._machines.microphone()) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _mute(self) -> None:
        self._control(control.MuteRequest())
        self._later(0.1, 0.8, self._unmute)

    def _unmute(self) -> None:
        self._control(control.UnmuteRequest())

    def _control(self, request: control.Request) -> None:
        client = ControlClient(self._machines.hall.home.path / control.SOCKET)
        client.send(request)
        client.close()

    def _fill_archive_disk(self) -> None:
        disk = self._machines.archive_disk
        if disk is not None:
            disk.fill()
            self._later(0.5, 2.0, disk.empty)

    def _fill_speaker_disk(self) -> None:
        disk = self._machines.bath.disk
        if disk is not None:
            disk.fill()
            self._later(0.5, 2.0, disk.empty)

    def _move_archive_clock(self) -> None:
        offset_s = self._random.choice(CLOCK_STEPS_S)
        self._machines.archive_clock.move(timedelta(seconds=offset_s))
        self._later(0.5, 2.0, lambda: self._machines.archive_clock.move(_NO_OFFSET))

    def _move_speaker_clock(self) -> None:
        speaker = self._random.choice(list(self._machines.speakers.values()))
        speaker.move_clock(self._random.choice(CLOCK_STEPS_S))

    def _in_thread(self, send: Callable[[random.Random], None]) -> None:
        chance = random.Random(self._random.getrandbits(32))
        thread = threading.Thread(target=send, args=(chance,), daemon=True)
        self._threads = [one for one in self._threads if one.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _send_requests(self, chance: random.Random) -> None:
        """Send unanswered tickets and malformed requests for a second."""
        until_s = time.monotonic() + _BURST_S
        address = ("127.0.0.1", self._machines.api_port)
        while time.monotonic() < until_s:
            try:
                with socket.create_connection(address, 1) as peer:
                    peer.settimeout(0.2)
                    for _ in range(8):
                        peer.sendall(malformed_request(chance))
                        peer.recv(4096)
            except OSError:
                time.sleep(0.02)

    def _hold_connections(self, chance: random.Random) -> None:
        """Hold connections on which nothing is sent, on the API and on the broker."""
        held = []
        for _ in range(_SILENT):
            port = chance.choice((self._machines.api_port, self._machines.port))
            with contextlib.suppress(OSError):
                held.append(socket.create_connection(("127.0.0.1", port), 0.5))
        time.sleep(_BURST_S)
        for peer in held:
            peer.close()

    def _publish_garbage(self, chance: random.Random) -> None:
        with contextlib.suppress(OSError), _Client(self._machines.port) as client:
            for _ in range(100):
                topic = chance.choice(_GARBAGE_TOPICS).format(clip=_uuid(chance))
                client.publish(topic, garbage(chance), qos=chance.choice((0, 1)))
                time.sleep(0.005)

    def _forge_refusals(self, chance: random.Random) -> None:
        """Refuse each clip of ``bath`` in the archive's name for a moment."""
        reason = chance.choice(("form", "seal", "replay", "topic"))
        with contextlib.suppress(OSError), _Client(self._machines.port) as client:

            def refuse(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
                clip = message.topic.rpartition("/")[2]
                digest = sha256(bytes(message.payload)).hex()
                client.publish(f"earmark/v1/ack/{BATH}/{clip}", f"refused:{reason}:{digest}", 1)

            client.on_message = refuse
            client.subscribe(f"earmark/v1/clips/+/{BATH}/+", 1)
            time.sleep(0.4)


class _Client:
    """A client of the broker for the block."""

    def __init__(self, port: int) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._port = port

    def __enter__(self) -> paho.Client:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        return self._client

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        stop_network_thread(self._client)


def garbage(chance: random.Random) -> bytes:
    """Return a payload that is not valid anywhere."""
    size = chance.choice((0, 1, 64, 600, 5_000))
    start = chance.choice((b"", b"EARMARK/1\n", b"refused:form:", b"{", b"[" * 200, b"unmute"))
    return start + chance.randbytes(size) + b"\xff"


def malformed_request(chance: random.Random) -> bytes:
    """Return an HTTP request: an unanswered ticket, or one that is not valid."""
    body = chance.choice(
        (
            b'{"owner":"ada","request":{"op":"list"}}',
            b'{"owner":"bob","request":{"op":"erase","all":true}}',
            b'{"owner":"nn","request":{"op":"export"}}',
            b"[" * 2_000,
            chance.randbytes(40),
        )
    )
    path = chance.choice((b"/v1/tickets", b"/v1/tickets", b"/v1/tickets/" + b"a" * 26, b"/%00"))
    length = chance.choice((b"%d" % len(body),) * 4 + (b"-1", b"9" * 30))
    line = chance.choice((b"POST",) * 4 + (b"PUT", b"\x00")) + b" " + path + b" HTTP/1.1\r\n"
    kind = b"host: a\r\ncontent-type: application/json\r\ncontent-length: "
    return line + kind + length + b"\r\n\r\n" + body


def _uuid(chance: random.Random) -> str:
    text = f"{chance.getrandbits(128):032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
