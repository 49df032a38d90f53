"""What the broker is told of this device: each event at once, and a status that stays true.

What the broker keeps for everybody who asks how this device is.
"""

from collections.abc import Callable
from typing import Final, assert_never

import msgspec

from listener.ipc import notices
from listener.ipc.notices import Notice, Tally
from listener.mqtt import topics
from listener.mqtt.client import Broker, BrokerLimits, Message
from listener.release.state import VersionReport
from listener.spool.ledger import Counts
from listener.spool.queue import Spool


class Status(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the retained topic status says. Counters are as hear signed them."""

    state: str
    hearing: bool = False
    mute: str | None = None
    switch: str | None = None
    """What is fitted to cut the microphone; ``none``: only software mutes."""
    microphone: str | None = None
    """``open``, or why there is none."""
    losses: int = 0
    overruns: int = 0
    thresholds: dict[str, float] = {}
    """Score from which each word wakes."""
    counters: Tally | None = None
    signature: str | None = None
    spool: Counts | None = None
    waiting: int | None = None
    events_missed: int = 0
    version: VersionReport | None = None
    """Which version runs, and whether another is on its way."""


def will(device: str) -> Message:
    """Return what the broker says when this device vanishes."""
    return Message(
        topics.STATUS.name(device=device), topics.OFFLINE, topics.STATUS.qos, topics.STATUS.retain
    )


STATUS_PAUSE_S: Final = 10.0


class StatusPublisher:
    """What this device says of itself. For one thread.

    Args:
        device: its name.
        spool: whose counts are part of the status.
        broker: who is told.
        version: says which version runs, and how an update goes; None where nobody is told.
    """

    def __init__(
        self,
        device: str,
        spool: Spool,
        broker: Broker,
        version: Callable[[], VersionReport] | None = None,
    ) -> None:
        self._device = device
        self._spool = spool
        self._broker = broker
        self._version = version
        self._status = Status(state="online")
        self._told: tuple[Counts, int, VersionReport | None] | None = None
        self._due_s = float("inf")

    def take(self, notice: Notice, *, connected: bool) -> None:
        """Pass on what hear says: at once what happened, and soon how things are now.

        Args:
            notice: what it said.
            connected: whether there is a connection on which an event could go.
        """
        match notice:
            case notices.WakeNotice(word=word):
                self._event(topics.EventPayload(event_type="wake", word=word), connected=connected)
            case notices.NearMissNotice(word=word):
                self._event(
                    topics.EventPayload(event_type="near_miss", word=word), connected=connected
                )
            case notices.MuteNotice(state=state):
                self._event(
                    topics.EventPayload(event_type="mute", state=state), connected=connected
                )
                self._update(mute=state)
            case notices.MicrophoneNotice():
                self._update(
                    microphone=notice.cause or notice.state,
                    losses=notice.losses,
                    overruns=notice.overruns,
                )
            case notices.CountersNotice(tally=tally, signature=signature):
                self._update(counters=tally, signature=signature)
            case notices.StartedNotice(thresholds=thresholds, switch=switch):
                self._update(hearing=True, thresholds=thresholds, switch=switch)
            case notices.StoppedNotice():
                self._update(hearing=False)
            case notices.SpooledNotice():
                pass  # being woken by it was the point
            case _ as never:
                assert_never(never)

    def publish(self, limits: BrokerLimits) -> int:
        """Say now how this device is; return the broker's ticket."""
        self._due_s = float("inf")
        self._told = self._numbers()
        counts, waiting, shown = self._told
        status = msgspec.structs.replace(self._status, spool=counts, waiting=waiting, version=shown)
        message = Message(
            topics.STATUS.name(device=self._device),
            msgspec.json.encode(status, order="sorted"),
            topics.STATUS.qos,
            topics.STATUS.retain and limits.retain,
        )
        return self._broker.publish(message)

    def publish_if_changed(self, now_s: float, limits: BrokerLimits) -> None:
        """Say how this device is where something changed; mere numbers wait a while.

        Args:
            now_s: on a clock that never jumps.
            limits: of the connection.
        """
        if self._due_s > now_s + STATUS_PAUSE_S and self._numbers() != self._told:
            self._due_s = now_s + STATUS_PAUSE_S
        if now_s >= self._due_s:
            self.publish(limits)

    def _event(self, event: topics.EventPayload, *, connected: bool) -> None:
        """Publish at once, or not at all: an old wake is worse than none."""
        message = Message(
            topics.EVENT.name(device=self._device),
            event.encode(),
            topics.EVENT.qos,
            topics.EVENT.retain,
        )
        if not connected or self._broker.publish(message) == 0:
            missed = self._status.events_missed + 1
            self._status = msgspec.structs.replace(self._status, events_missed=missed)

    def _update(self, **changes: object) -> None:
        """Change the status, and publish it soon."""
        self._status = msgspec.structs.replace(self._status, **changes)
        self._due_s = 0.0

    def _numbers(self) -> tuple[Counts, int, VersionReport | None]:
        shown = None if self._version is None else self._version()
        return self._spool.counts(), len(self._spool.waiting()), shown
