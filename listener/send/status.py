"""Publication of events and of the device's retained status."""

from collections.abc import Callable
from typing import Final, assert_never

import msgspec

from listener.errors import VoiceError
from listener.ipc import notices
from listener.ipc.notices import Notice, Tally
from listener.mqtt import topics
from listener.mqtt.client import Broker, BrokerLimits, Message
from listener.release.state import VersionReport
from listener.send.false_wakes import FalseWakeRate, FalseWakes
from listener.spool.ledger import Counts
from listener.spool.queue import Spool
from listener.voice.messages import parse_voice_status


class Status(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Payload of the retained status topic; the counters are signed by hear.

    A field that send does not know is left out. It never stands for ``false``, ``open`` or 0.
    """

    state: str
    hearing: bool | None = None
    """Whether hear runs; None after its state was not repeated in time."""
    mute: str | None = None
    switch: str | None = None
    """Kind of the fitted mute switch; ``none``: only software mute."""
    microphone: str | None = None
    """``open``, or the cause of its loss."""
    losses: int | None = None
    overruns: int | None = None
    thresholds: dict[str, float] | None = None
    """Score at which each word wakes."""
    counters: Tally | None = None
    signature: str | None = None
    attribution: dict[str, int] | None = None
    """Counts of voices without an owner, by reason; None where no voice is compared."""
    spool: Counts | None = None
    waiting: int | None = None
    suspended: str | None = None
    """Why no clips are published: ``refusals`` or ``deferred``."""
    not_stored: str | None = None
    """Why the archive does not store a waiting clip: ``owner``, ``device`` or ``unavailable``."""
    voice: list[msgspec.Raw] | None = None
    """Voice status of each owner with a consent, signed by hear and passed on unchanged."""
    copies_dropped: int = 0
    """Command copies that send removed without publishing them."""
    events_missed: int = 0
    version: VersionReport | None = None
    """Running version, and the state of an update."""
    only: str | None = None
    """The one word that is detected; None for all of ``thresholds``."""
    p99_ms: float | None = None
    """99th percentile of the detector's time for a frame of 80 ms, in milliseconds."""
    cpu_percent: float | None = None
    """Processor use of hear, without the microphone process, in % of a core."""
    temperature_c: float | None = None
    """Temperature of the processor."""
    false_wakes: FalseWakeRate | None = None


def will(device: str) -> Message:
    """Return the last will: the message that the broker publishes when this device disappears."""
    return Message(
        topics.STATUS.name(device=device), topics.OFFLINE, topics.STATUS.qos, topics.STATUS.retain
    )


STATUS_PAUSE_S: Final = 10.0
"""Longest delay of a change of counts alone, in seconds."""
REPEAT_S: Final = 60.0
"""Longest time between two publications, and delay of a change of hear's counters alone."""
EXPIRY_S: Final = 180
"""Message expiry of the status. A broker that is killed publishes no last will after its restart; a
status that it stored would otherwise describe a device that has ended in the meantime."""

_MOST_OWNERS: Final = 64

_UNKNOWN: Final = dict.fromkeys(
    (
        *("hearing", "mute", "switch", "microphone", "losses", "overruns", "thresholds"),
        *("only", "p99_ms", "cpu_percent"),
    )
)
"""Fields of hear's state, while it is not known."""


class StatusPublisher:
    """Publisher of this device's events and status. For one thread.

    Args:
        device: its name.
        spool: the queue, whose counts are part of the status.
        broker: the client.
        version: returns the running version and the state of an update; None to publish neither.
        temperature_c: returns the temperature of the processor, if it is known.
        false_wakes: counts wakes that were marked as false; None to publish no rate.
        hermes: publish each wake in the form of the Hermes protocol too.
    """

    def __init__(  # noqa: PLR0913 - the sources of the status
        self,
        device: str,
        spool: Spool,
        broker: Broker,
        version: Callable[[], VersionReport] | None = None,
        *,
        temperature_c: Callable[[], float | None] = lambda: None,
        false_wakes: FalseWakes | None = None,
        hermes: bool = False,
    ) -> None:
        self._hermes = hermes
        self._temperature_c = temperature_c
        self._false_wakes = false_wakes
        self._device = device
        self._spool = spool
        self._broker = broker
        self._version = version
        self._status = Status(state="online")
        self._published: tuple[Counts, int, VersionReport | None] | None = None
        self._due_s = float("inf")
        self._repeat_s: float | None = None
        self._has_news = False
        self._fresh_until_s = float("-inf")
        self._voice: dict[str, msgspec.Raw] = {}
        self._voice_boot = ""

    def take(self, notice: Notice, *, connected: bool) -> None:
        """Publish a notice of hear: an event at once, a change of the status soon.

        Args:
            notice: the notice.
            connected: whether there is a connection; without one, an event is counted as missed.
        """
        self._has_news = True
        if isinstance(notice, notices.WakeNotice) and self._false_wakes is not None:
            self._false_wakes.on_wake()
        if (event := _as_event(notice)) is not None:
            self._event(event, connected=connected)
        if self._hermes and connected and isinstance(notice, notices.WakeNotice):
            self._publish_hotword(notice.word)
        self._take_state(notice)

    def _take_state(self, notice: Notice) -> None:  # noqa: C901 - a case for each notice
        match notice:
            case notices.MuteNotice(state=state):
                self._update(mute=state)
            case notices.MicrophoneNotice():
                self._update(
                    microphone=notice.cause or notice.state,
                    losses=notice.losses,
                    overruns=notice.overruns,
                )
            case notices.CountersNotice(tally=tally, signature=signature):
                if self._false_wakes is not None:
                    self._false_wakes.on_tally(tally)
                last = self._status.counters
                is_new_run = last is None or last.boot != tally.boot
                self._set(is_urgent=is_new_run, counters=tally, signature=signature)
            case notices.AttributionNotice(guests=guests, unsure=unsure, bystanders=bystanders):
                counts = {"guests": guests, "unsure": unsure, "bystanders": bystanders}
                self._set(is_urgent=False, attribution=counts)
            case notices.StartedNotice(thresholds=thresholds, switch=switch):
                started = {"hearing": True, "thresholds": thresholds or None, "switch": switch}
                self._voice.clear()
                self._update(**_UNKNOWN | started, voice=None, attribution=None)
            case notices.StateNotice():
                known = msgspec.structs.asdict(notice)
                self._update(**known | {"hearing": True, "thresholds": notice.thresholds or None})
            case notices.DetectorNotice(only=only):
                self._update(only=only)
                speed = {"p99_ms": notice.p99_ms, "cpu_percent": notice.cpu_percent}
                self._set(is_urgent=False, **speed)
            case notices.StoppedNotice():
                self._update(**_UNKNOWN | {"hearing": False})
            case notices.VoiceNotice(message=message):
                self._take_voice_status(bytes(message))
            case (
                notices.WakeNotice()
                | notices.NearMissNotice()
                | notices.CommandNotice()
                | notices.SpooledNotice()
                | notices.AskNotice()
                | notices.CopyNotice()
            ):
                pass  # an event, or a notice that has already ended the wait
            case _ as never:
                assert_never(never)

    def expire_state(self, now_s: float) -> None:
        """Mark hear's state as unknown if no notice has arrived for `notices.STATE_FRESH_S`.

        Call it after each turn in which notices were taken.

        Args:
            now_s: time on the monotonic clock, in seconds.
        """
        if self._has_news:
            self._has_news = False
            self._fresh_until_s = now_s + notices.STATE_FRESH_S
        elif now_s >= self._fresh_until_s and self._status.hearing is not False:
            self._update(**_UNKNOWN)

    def set_dropped_copies(self, count: int) -> None:
        """Publish a change of the number of command copies that were not published soon."""
        self._update(copies_dropped=count)

    def mark_false_wake(self) -> bool:
        """Count the last wake as false; return whether there was one to count."""
        is_marked = self._false_wakes is not None and self._false_wakes.mark_last()
        if is_marked:
            self._due_s = 0.0
        return is_marked

    def set_suspended(self, reason: str) -> None:
        """Publish a change of the suspension of clips soon.

        Args:
            reason: one word; empty if clips are published.
        """
        if (reason or None) != self._status.suspended:
            self._update(suspended=reason or None)

    def set_not_stored(self, reason: str) -> None:
        """Publish a change of the reason for which the archive does not store a clip soon.

        Args:
            reason: one word; empty if it stores all.
        """
        if (reason or None) != self._status.not_stored:
            self._update(not_stored=reason or None)

    def publish(self, limits: BrokerLimits) -> int:
        """Publish the status now; return the client's ticket."""
        self._due_s = float("inf")
        self._repeat_s = None
        self._published = self._numbers()
        counts, waiting, version = self._published
        status = msgspec.structs.replace(
            self._status,
            spool=counts,
            waiting=waiting,
            version=version,
            temperature_c=self._temperature_c(),
            false_wakes=None if self._false_wakes is None else self._false_wakes.rate(),
        )
        message = Message(
            topics.STATUS.name(device=self._device),
            msgspec.json.encode(status, order="sorted"),
            topics.STATUS.qos,
            topics.STATUS.retain and limits.retain,
            EXPIRY_S,
        )
        return self._broker.publish(message)

    def publish_if_changed(self, now_s: float, limits: BrokerLimits) -> None:
        """Publish the status if it changed, and at least every `REPEAT_S`.

        A change of the spool's counts alone is published within `STATUS_PAUSE_S`, and one of hear's
        counters alone with the repetition.

        Args:
            now_s: time on the monotonic clock, in seconds.
            limits: limits of the connection.
        """
        if self._repeat_s is None:
            self._repeat_s = now_s + REPEAT_S
        if self._due_s > now_s + STATUS_PAUSE_S and self._numbers() != self._published:
            self._due_s = now_s + STATUS_PAUSE_S
        if now_s >= min(self._due_s, self._repeat_s):
            self.publish(limits)

    def _take_voice_status(self, payload: bytes) -> None:
        """Keep the newest voice status of each owner, of one run of hear; verify nothing."""
        try:
            status = parse_voice_status(payload).statement
        except VoiceError:
            return
        if status.boot != self._voice_boot:
            self._voice_boot = status.boot
            self._voice.clear()
        if status.owner in self._voice or len(self._voice) < _MOST_OWNERS:
            self._voice[status.owner] = msgspec.Raw(payload)
            self._update(voice=[self._voice[owner] for owner in sorted(self._voice)])

    def _event(self, event: topics.EventPayload, *, connected: bool) -> None:
        """Publish an event at once or never: a late wake is worse than none."""
        message = Message(
            topics.EVENT.name(device=self._device),
            event.encode(),
            topics.EVENT.qos,
            topics.EVENT.retain,
        )
        if not connected or self._broker.publish(message) == 0:
            missed = self._status.events_missed + 1
            self._status = msgspec.structs.replace(self._status, events_missed=missed)

    def _publish_hotword(self, word: str) -> None:
        payload = topics.HotwordDetected(model_id=word, site_id=self._device).encode()
        topic = topics.HERMES
        self._broker.publish(Message(topic.name(word=word), payload, topic.qos, topic.retain))

    def _update(self, **changes: object) -> None:
        """Change the status; publish it soon if that changes anything."""
        self._set(is_urgent=True, **changes)

    def _set(self, *, is_urgent: bool, **changes: object) -> None:
        before = self._status
        self._status = msgspec.structs.replace(before, **changes)
        if is_urgent and self._status != before:
            self._due_s = 0.0

    def _numbers(self) -> tuple[Counts, int, VersionReport | None]:
        version = None if self._version is None else self._version()
        return self._spool.counts(), len(self._spool.waiting()), version


def _as_event(notice: Notice) -> topics.EventPayload | None:
    match notice:
        case notices.WakeNotice(word=word):
            return topics.EventPayload(event_type="wake", word=word)
        case notices.NearMissNotice(word=word):
            return topics.EventPayload(event_type="near_miss", word=word)
        case notices.MuteNotice(state=state):
            return topics.EventPayload(event_type="mute", state=state)
        case notices.CommandNotice(end=end):
            return topics.EventPayload(event_type="command", outcome=end)
        case _:
            return None
