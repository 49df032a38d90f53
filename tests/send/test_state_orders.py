"""Any order of start, kill and restart of hear, send and broker: the status is true, or unknown.

Hear's and send's own code on a clock of the test, between them a socket that loses datagrams, and a
broker with retained messages, last wills and message expiry.
"""

import itertools
import json
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from listener.audio.pcm import Gap, GapReason, Sound
from listener.config import SpoolSettings
from listener.hear import events
from listener.hear.microphone.protocol import Cause
from listener.hear.publisher import EventPublisher
from listener.hear.state_feed import StateFeed
from listener.ipc import notices
from listener.ipc.notices import MuteState, Notice
from listener.mqtt.client import (
    BrokerEvent,
    BrokerLimits,
    ConnectedEvent,
    ConnectionLostEvent,
    DeliveredEvent,
    Message,
    Waitable,
)
from listener.send.delivery import ClipDelivery
from listener.send.loop import LONGEST_BACKOFF_S, Sender
from listener.send.status import EXPIRY_S, will
from listener.spool.queue import Spool
from tests.fakes import told

if TYPE_CHECKING:
    from listener.ipc.notice_socket import NoticeSocket

TURN_S = 1.0
SETTLED_S = LONGEST_BACKOFF_S * 1.5 + notices.STATE_FRESH_S + 2 * TURN_S
"""Longest time until a change shows: the longest wait for a connection, then the state's age."""
QUEUE = 10
"""Datagrams that a socket holds, as Linux's ``max_dgram_qlen`` did for long."""
FIELDS = ("hearing", "mute", "switch", "microphone", "losses", "overruns", "thresholds")


class Wire:
    """The notice socket: there while send is, and full at times."""

    def __init__(self) -> None:
        self.is_bound = False
        self.lost_next = 0
        self.delivered = 0
        self._waiting = deque[bytes]()

    def bind(self, *, is_bound: bool) -> None:
        self.is_bound = is_bound
        self.delivered = 0
        self._waiting.clear()

    def send(self, notice: Notice) -> bool:
        data = notices.encode(notice)
        if not self.is_bound or len(self._waiting) >= QUEUE:
            return False
        if self.lost_next:
            self.lost_next -= 1
            return False
        self._waiting.append(data)
        return True

    def receive(self) -> Iterator[Notice]:
        while self._waiting:
            self.delivered += 1
            yield notices.decode(self._waiting.popleft())


class Hear:
    """A hear process: its events, its sounds, and what is true of it."""

    def __init__(self, world: "World") -> None:
        self.mute: MuteState = world.mute
        self.loss: Cause | None = world.loss
        self.losses = int(world.loss is not None)
        self.shown: MuteState = "open"
        self._world = world
        self._feed = StateFeed(world.wire, lambda: world.now_s)
        self._publisher = EventPublisher(bool, self._feed, lambda _: bytes(64), bool)
        self._publisher.publish(
            events.StartedEvent(
                files=(),
                device="default",
                words=("alexa",),
                thresholds={"alexa": 0.5},
                keeper="ada",
                switch="gpio",
                fast=False,
                landlock=0,
            )
        )
        self._tell_microphone()
        self._loop = self._feed.observe(self._sounds(), lambda: self.mute)
        next(self._loop)

    def turn(self) -> None:
        self._report_mute()
        next(self._loop)

    def lose(self, cause: Cause | None) -> None:
        self.losses += self.loss is None and cause is not None
        self.loss = cause
        self._tell_microphone()

    def stop(self) -> None:
        self._publisher.publish_end(notices.Tally(device="hall", boot="0" * 16, seq=0), broken=0)

    def _tell_microphone(self) -> None:
        self._publisher.publish(
            events.MicrophoneOpenEvent(time_s=0.0, rate_hz=16_000, channels=1)
            if self.loss is None
            else events.MicrophoneLostEvent(time_s=0.0, cause=self.loss)
        )

    def _report_mute(self) -> None:
        if self.mute == self.shown:
            return
        self.shown = self.mute
        self._publisher.publish(
            events.UnmutedEvent(time_s=0.0, muted_s=1.0)
            if self.mute == "open"
            else events.MutedEvent(time_s=0.0, cause=self.mute)
        )

    def _sounds(self) -> Iterator[Sound]:
        (frame,) = told(1)
        while True:
            if self.mute != "open":
                yield Gap(GapReason.MUTED, 0, 1_280)
            else:
                yield frame if self.loss is None else Gap(GapReason.LOST, 0, 1_280)


class SimulatedBroker:
    """A broker, with the one client that matters."""

    def __init__(self, world: "World") -> None:
        self.is_running = False
        self.is_stored = True
        self.status: Message | None = None
        self._until_s = float("inf")
        self._world = world

    def publish(self, message: Message) -> None:
        if message.retain:
            self.status = message
            self._until_s = (
                float("inf") if message.expiry_s is None else self._world.now_s + message.expiry_s
            )

    def start(self, *, is_stored: bool) -> None:
        self.is_running = True
        if not is_stored:
            self.status = None

    def read(self) -> dict[str, Any]:
        """Return the retained status; ``{}`` without one."""
        if not self.is_running or self.status is None or self._world.now_s >= self._until_s:
            return {}
        return cast("dict[str, Any]", json.loads(self.status.payload))


class Client:
    """Send's client of the broker."""

    def __init__(self, broker: SimulatedBroker) -> None:
        self.is_connected = False
        self._broker = broker
        self._events = deque[BrokerEvent]()
        self._tickets = itertools.count(1)

    def connect(self) -> None:
        self.is_connected = self._broker.is_running
        self._events.append(
            ConnectedEvent(BrokerLimits(), "5")
            if self.is_connected
            else ConnectionLostEvent("Connection refused")
        )

    def subscribe(self, pattern: str) -> None:
        pass

    def publish(self, message: Message) -> int:
        ticket = next(self._tickets)
        if self.is_connected:
            self._broker.publish(message)
            self._events.append(DeliveredEvent(ticket))
        return ticket

    def poll(self, longest_s: float, also: Sequence[Waitable] = ()) -> list[BrokerEvent]:
        events_ = list(self._events)
        self._events.clear()
        return events_

    def close(self) -> None:
        self.is_connected = False

    def lose(self) -> None:
        if self.is_connected:
            self.is_connected = False
            self._events.append(ConnectionLostEvent("the connection broke"))


class World:
    """The machine of the speaker, and the broker."""

    def __init__(self, folder: Path) -> None:
        self.now_s = 1_000.0
        self.mute: MuteState = "open"
        self.loss: Cause | None = None
        self.wire = Wire()
        self.broker = SimulatedBroker(self)
        self.hear: Hear | None = None
        self.client: Client | None = None
        self.send: Sender | None = None
        self._spool = Spool(folder / "spool", SpoolSettings())

    def start_send(self) -> None:
        self.wire.bind(is_bound=True)
        self.client = Client(self.broker)
        self.send = Sender(
            ClipDelivery(self._spool, "hall", 5.0),
            self.client,
            notice_socket=cast("NoticeSocket", self.wire),
            monotonic_s=lambda: self.now_s,
        )

    def end_send(self, *, is_killed: bool) -> None:
        assert self.send is not None
        assert self.client is not None
        if is_killed and self.client.is_connected:
            self.broker.publish(will("hall"))
        elif not is_killed:
            self.send.disconnect()
        self.wire.bind(is_bound=False)
        self.send = self.client = None

    def kill_broker(self) -> None:
        self.broker.is_running = False
        if self.client is not None:
            self.client.lose()

    def turn(self) -> None:
        self.now_s += TURN_S
        if self.hear is not None:
            self.hear.turn()
        if self.send is not None:
            self.send.turn(0.0)


class StateOrders(RuleBasedStateMachine):
    """Start, kill and change in any order; compare the retained status with the truth."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.world = World(self.folder)
        self.changed_s = self.world.now_s

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def change(self) -> None:
        self.changed_s = self.world.now_s

    @precondition(lambda self: self.world.hear is None)
    @rule()
    def start_hear(self) -> None:
        self.world.hear = Hear(self.world)
        self.change()

    @precondition(lambda self: self.world.hear is not None)
    @rule(is_killed=st.booleans())
    def end_hear(self, *, is_killed: bool) -> None:
        assert self.world.hear is not None
        if not is_killed:
            self.world.hear.stop()
        self.world.hear = None
        self.change()

    @precondition(lambda self: self.world.send is None)
    @rule()
    def start_send(self) -> None:
        self.world.start_send()
        self.change()

    @precondition(lambda self: self.world.send is not None)
    @rule(is_killed=st.booleans())
    def end_send(self, *, is_killed: bool) -> None:
        self.world.end_send(is_killed=is_killed)
        self.change()

    @precondition(lambda self: not self.world.broker.is_running)
    @rule(is_stored=st.booleans())
    def start_broker(self, *, is_stored: bool) -> None:
        self.world.broker.start(is_stored=is_stored)
        self.change()

    @precondition(lambda self: self.world.broker.is_running)
    @rule()
    def kill_broker(self) -> None:
        self.world.kill_broker()
        self.change()

    @rule(mute=st.sampled_from(["open", "hardware", "software", "fault"]))
    def set_mute(self, mute: MuteState) -> None:
        self.world.mute = mute
        if self.world.hear is not None:
            self.world.hear.mute = mute
        self.change()

    @rule(cause=st.none() | st.sampled_from(Cause))
    def lose_microphone(self, cause: Cause | None) -> None:
        self.world.loss = cause
        if self.world.hear is not None:
            self.world.hear.lose(cause)
        self.change()

    @rule(count=st.integers(1, 3))
    def lose_datagrams(self, count: int) -> None:
        self.world.wire.lost_next = count
        self.change()

    @rule(turns=st.integers(1, 30))
    def wait(self, turns: int) -> None:
        for _ in range(turns):
            self.world.turn()
            self.check_safety()

    @rule()
    def settle(self) -> None:
        """Wait until nothing is on its way any more, and read."""
        wait_s = EXPIRY_S if self.world.send is None else SETTLED_S
        while self.world.now_s - self.changed_s < wait_s:
            self.world.turn()
            self.check_safety()
        status, hear = self.world.broker.read(), self.world.hear
        shown = {name: status[name] for name in FIELDS if name in status}
        if not self.world.broker.is_running:
            assert status == {}
        elif self.world.send is None:
            assert status in ({}, {"state": "offline"})
        elif hear is None:
            assert shown in ({}, {"hearing": False})
            assert status["state"] == "online"
        else:
            assert shown == {
                "hearing": True,
                "mute": hear.mute,
                "switch": "gpio",
                "microphone": "open" if hear.loss is None else hear.loss.value,
                "losses": hear.losses,
                "overruns": 0,
                "thresholds": {"alexa": 0.5},
            }

    @invariant()
    def check_safety(self) -> None:
        """A send that was told nothing says nothing; what is said was true a moment ago."""
        status, wire = self.world.broker.read(), self.world.wire
        client = self.world.client
        is_current = client is not None and client.is_connected and self.world.send is not None
        if is_current and wire.delivered == 0:
            assert not set(FIELDS) & set(status)
        if is_current and self.world.hear is not None and status.get("hearing") is False:
            assert self.world.now_s - self.changed_s <= SETTLED_S


StateOrders.TestCase.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, print_blob=True
)
TestStateOrders = StateOrders.TestCase


def toggle(world: World, name: str) -> None:
    """Start a process, or kill it if it runs."""
    match name:
        case "hear":
            world.hear = None if world.hear else Hear(world)
        case "send" if world.send:
            world.end_send(is_killed=True)
        case "send":
            world.start_send()
        case "broker" if world.broker.is_running:
            world.kill_broker()
        case "broker":
            world.broker.start(is_stored=False)
        case _:
            pass


def test_every_order_of_starting_ends_in_the_same_status(tmp_path: Path) -> None:
    for order in itertools.permutations(("hear", "send", "broker")):
        for again in ("", "hear", "send", "broker"):
            world = World(tmp_path)
            world.mute = "software"
            for name in (*order, again, again):
                toggle(world, name)
                for _ in range(7):
                    world.turn()
            for _ in range(round(SETTLED_S / TURN_S)):
                world.turn()

            status = world.broker.read()
            shown = (status["hearing"], status["mute"], status["microphone"])
            assert shown == (True, "software", "open"), (order, again)
