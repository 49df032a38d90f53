"""The assist service: answers asks, takes command copies, and publishes outcomes and replies.

The main thread has the broker, the asks and the arbitration, and answers within milliseconds; the
worker's thread opens, recognises and carries out.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from listener.assist.arbitration import Arbitration, Candidate, Decision
from listener.assist.asks import Admission, Asks, ClockPair, CopyRefused
from listener.assist.owners_off import OwnersOff
from listener.assist.recogniser import Announcement, AnnouncementSource
from listener.assist.worker import (
    AnnouncementJob,
    CommandJob,
    CommandWorker,
    ReplyTarget,
    answer_message,
    outcome_message,
    refusal_outcome,
)
from listener.envelope import keys
from listener.errors import Unavailable, VoiceError
from listener.mqtt import topics
from listener.mqtt.client import (
    Broker,
    ConnectedEvent,
    ConnectionLostEvent,
    DeniedEvent,
    Message,
)
from listener.owner.roster import Roster
from listener.system.backoff import Backoff
from listener.system.systemd import Notifier, StopSignal
from listener.voice import timing
from listener.voice.command_copy import parse_copy
from listener.voice.messages import POKE, Answer, Ask, parse_ask, sign_message

TURN_S: Final = 0.5
FIRST_BACKOFF_S: Final = 0.1
LONGEST_BACKOFF_S: Final = 10.0
BACKOFF_SPREAD: Final = 0.5
REPORT_S: Final = 3600.0
"""Time between two lines about refused messages in the log."""
ANNOUNCE_S: Final = 30.0
"""Time for which an announcement waits for its speaker."""
MOST_TOLD: Final = 4
"""Refused copies of a device in a second that are answered."""
MOST_ANNOUNCEMENTS: Final = 4
"""Announcements of one speaker that wait."""
_POKE_S: Final = timing.POKE_INTERVAL_S + 0.5

_log = logging.getLogger(__name__)


def group_speakers(
    groups: Mapping[str, tuple[str, ...]], roster: Callable[[], Roster]
) -> Arbitration:
    """Return the arbitration among the speakers of each group.

    Args:
        groups: devices of each named group; all others form one group.
        roster: returns the household's current roster.
    """
    named = {device: group for group, devices in groups.items() for device in devices}

    def group(device: str) -> str:
        # No name of a group has a space.
        return named.get(device, "all others")

    def is_alone(device: str) -> bool:
        mine = group(device)
        return sum(1 for other in roster().devices if group(other.name) == mine) <= 1

    return Arbitration(group, is_alone)


@dataclass(slots=True)
class _Waiting:
    """Announcements of one speaker."""

    announcements: deque[tuple[float, Announcement]] = field(
        default_factory=lambda: deque(maxlen=MOST_ANNOUNCEMENTS)
    )
    """Each with the time until which it waits."""
    poke_s: float = float("-inf")
    """Time of the next poke."""


class AssistService:
    """The service's main loop. For one thread.

    Args:
        broker: client of the MQTT broker.
        asks: the open asks.
        arbitration: chooses among speakers.
        worker: the worker's thread.
        key: assist's service key, which signs.
        roster: returns the household's current roster.
        off: owners who said off.
        now: reads both clocks.
        announcements: announcements that fall due, if any.
        service: notified after every turn.
    """

    def __init__(  # noqa: PLR0913 - the parts between broker and worker, passed once
        self,
        broker: Broker,
        asks: Asks,
        arbitration: Arbitration,
        worker: CommandWorker,
        *,
        key: Ed25519PrivateKey,
        roster: Callable[[], Roster],
        off: OwnersOff,
        now: Callable[[], ClockPair],
        announcements: AnnouncementSource | None = None,
        service: Notifier | None = None,
    ) -> None:
        self._broker = broker
        self._asks = asks
        self._arbitration = arbitration
        self._worker = worker
        self._key = key
        self._assist_id = keys.device_id(key.public_key())
        self._roster = roster
        self._off = off
        self._now = now
        self._announcements = announcements
        self._service = service
        self._waiting: dict[str, _Waiting] = {}
        self._backoff = Backoff(FIRST_BACKOFF_S, LONGEST_BACKOFF_S, spread=BACKOFF_SPREAD)
        self._connected = False
        self._connect_s = float("-inf")
        self._last_reason = ""
        self._refused: Counter[str] = Counter()
        self._told: dict[str, deque[float]] = {}
        self._started_s = self._now().boot_s
        self._report_s = self._started_s + REPORT_S

    def run(self, stop: StopSignal) -> None:
        """Run until a stop is requested; then end all asks and close the connection.

        Raises:
            Unavailable: the worker failed.
        """
        try:
            while not stop.requested:
                self.turn(TURN_S)
        finally:
            self._asks.clear()
            self._broker.close()

    def turn(self, longest_s: float) -> None:
        """Wait for events for at most ``longest_s`` seconds, and process them.

        Raises:
            Unavailable: the worker failed.
        """
        now_s = self._now().boot_s
        if not self._connected and now_s >= self._connect_s:
            self._connect_s = float("inf")
            self._broker.connect()
        due_s = min(self._connect_s, self._arbitration.next_due_s()) - now_s
        for event in self._broker.poll(max(0.0, min(longest_s, due_s)), (self._worker,)):
            match event:
                case ConnectedEvent():
                    self._on_connected(event)
                case ConnectionLostEvent():
                    self._on_connection_lost(event)
                case DeniedEvent():
                    _log.warning("the broker denied a subscription: %s", event.reason)
                case Message():
                    self._on_message(event)
                case _:
                    pass
        self._answer(self._arbitration.decide_due(self._now().boot_s))
        for message in self._worker.messages():
            self._broker.publish(message)
        if self._worker.failure:
            raise Unavailable(f"the worker failed: {self._worker.failure}")
        self._asks.expire()
        self._announce()
        self._report()
        if self._service is not None:
            self._service.ping_watchdog()

    def _on_connected(self, event: ConnectedEvent) -> None:
        self._connected = True
        self._backoff.reset()
        _log.info("connected with MQTT %s", event.protocol)
        for topic in (topics.ASK, topics.SPOKEN, topics.CONSENTS):
            self._broker.subscribe(topic.topic_filter())

    def _on_connection_lost(self, event: ConnectionLostEvent) -> None:
        if self._connected or event.reason != self._last_reason:
            _log.warning("no connection to the broker%s", event.describe())
            if event.hint:
                _log.warning("%s", event.hint)
        self._last_reason = event.reason
        self._connected = False
        self._connect_s = self._now().boot_s + self._backoff.next_delay_s()

    def _on_message(self, message: Message) -> None:
        if (levels := topics.CONSENTS.levels(message.topic)) is not None:
            if new := self._off.update(levels["device"], message.payload):
                _log.warning("voice control was turned off for %d owners of a speaker", new)
            return
        if message.retain:
            self._refused["retained"] += 1
            return
        try:
            if (levels := topics.ASK.levels(message.topic)) is not None:
                self._on_ask(levels["device"], message.payload)
            elif (levels := topics.SPOKEN.levels(message.topic)) is not None:
                self._on_copy(levels["device"], levels["ask"], message.payload)
        except VoiceError as refused:
            self._refused[refused.reason] += 1

    def _device_key(self, device: str) -> Ed25519PublicKey:
        """Return the active key of a device.

        Raises:
            VoiceError: the roster has no such device.
        """
        key = self._roster().device_keys().get(device)
        if key is None:
            raise VoiceError("device")
        return key

    def _on_ask(self, device: str, payload: bytes) -> None:
        arrived = self._now()
        signed = parse_ask(payload)
        key = self._device_key(device)
        if signed.statement.device != device or signed.statement.dkey != keys.device_id(key):
            raise VoiceError("device")
        if signed.statement.assist != self._assist_id:
            raise VoiceError("assist")
        ask = signed.verify(key)
        is_wake = ask.why == "wake"
        if is_wake and not timing.may_answer(self._started_s, arrived.boot_s):
            # Before its restart, assist may have chosen another speaker for the same word.
            self._refused["busy"] += 1
            self._publish_answer(ask.ask, device, "busy")
            return
        match self._asks.admit(ask.ask, device, ask.reply, opens=is_wake):
            case Admission.REPLAY:
                raise VoiceError("again")
            case Admission.BUSY:
                self._refused["busy"] += 1
                if is_wake:
                    self._publish_answer(ask.ask, device, "busy")
            case Admission.OPEN if is_wake:
                candidate = Candidate(ask.ask, device, arrived.boot_s, ask.since_ms, ask.level_db)
                self._answer(self._arbitration.add(candidate))
            case Admission.OPEN:
                self._speak_waiting(ask, arrived)

    def _answer(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            if decision.verdict == "elsewhere":
                self._asks.end(decision.nonce)
                self._publish_answer(decision.nonce, decision.device, "elsewhere")
            elif (recipient := self._asks.answer(decision.nonce)) is not None:
                self._publish_answer(decision.nonce, decision.device, "speak", recipient)

    def _publish_answer(
        self,
        nonce: str,
        device: str,
        verdict: Literal["speak", "elsewhere", "busy"],
        recipient: str | None = None,
    ) -> None:
        answer = Answer(ask=nonce, device=device, key=recipient, verdict=verdict)
        payload = sign_message(answer, self._key.sign)
        self._broker.publish(answer_message(device, payload, int(timing.ANSWER_S)))

    def _on_copy(self, device: str, nonce: str, payload: bytes) -> None:
        copy = parse_copy(payload)
        header = copy.header
        if header.device != device or header.ask != nonce:
            raise VoiceError("ask")
        key = self._device_key(device)
        copy.verify(key)
        try:
            self._asks.accept(nonce, device, header.key, header.part, header.age_ms)
        except CopyRefused as refused:
            self._refused[refused.reason.value] += 1
            outcome = refusal_outcome(refused.reason)
            if outcome is not None and self._may_tell(device):
                self._broker.publish(outcome_message(self._key, nonce, device, outcome))
            return
        if not self._worker.submit(CommandJob(copy, key)):
            self._refused["queue"] += 1
            if not header.last:
                return  # a later part decides
            self._asks.end(nonce)
            self._broker.publish(outcome_message(self._key, nonce, device, "late"))

    def _may_tell(self, device: str) -> bool:
        """Return whether a device is told about another refused copy: a few in a second."""
        recent = self._told.setdefault(device, deque(maxlen=MOST_TOLD))
        now_s = self._now().boot_s
        if len(recent) == MOST_TOLD and now_s - recent[0] < 1:
            return False
        recent.append(now_s)
        return True

    def _announce(self) -> None:
        """Poke the speakers for which announcements wait."""
        now_s = self._now().boot_s
        devices = self._roster().device_keys() if self._announcements is not None else {}
        for one in self._announcements.due() if self._announcements is not None else ():
            if one.device in devices:
                waiting = self._waiting.setdefault(one.device, _Waiting())
                waiting.announcements.append((now_s + ANNOUNCE_S, one))
        for device, waiting in tuple(self._waiting.items()):
            while waiting.announcements and waiting.announcements[0][0] < now_s:
                waiting.announcements.popleft()
            if not waiting.announcements:
                del self._waiting[device]
            elif self._connected and waiting.poke_s <= now_s:
                waiting.poke_s = now_s + _POKE_S
                self._broker.publish(answer_message(device, POKE, int(timing.ANSWER_S)))

    def _speak_waiting(self, ask: Ask, arrived: ClockPair) -> None:
        """Speak what waits for a speaker that a poke made ask."""
        waiting = self._waiting.pop(ask.device, None)
        if waiting is None or ask.reply is None:
            return
        announcements = [one for _, one in waiting.announcements]
        text = " ".join(one.speech for one in announcements if one.speech)
        is_ring = any(one.is_ring for one in announcements)
        target = ReplyTarget(ask.ask, ask.device, ask.reply, arrived)
        if not self._worker.submit(AnnouncementJob(target, text, is_ring)):
            self._refused["queue"] += 1

    def _report(self) -> None:
        now_s = self._now().boot_s
        if now_s < self._report_s:
            return
        self._report_s = now_s + REPORT_S
        counts, self._refused = self._refused, Counter()
        if counts:
            listed = ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
            _log.warning("messages refused in the last hour: %s", listed)
