"""The assist service: answers asks, takes command copies, and publishes outcomes and replies.

The main thread has the broker, the asks and the arbitration, and answers within milliseconds; the
worker's thread opens, recognises and carries out, and the announcer's makes the speech of
announcements, so that none delays a command.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from listener.assist.announcements import (
    AnnouncementIntake,
    AnnouncementRefused,
    SoundingAnnouncements,
)
from listener.assist.arbitration import Arbitration, Candidate, Decision
from listener.assist.asks import Admission, Asks, ClockPair, CopyRefused
from listener.assist.owners_off import OwnersOff
from listener.assist.recogniser import Announcement, AnnouncementSource
from listener.assist.speech import LONGEST_TEXT
from listener.assist.worker import (
    AnnouncementJob,
    CommandJob,
    CommandWorker,
    ConfirmedJob,
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
    DeniedEvent,
    Message,
)
from listener.mqtt.connections import (
    BrokerClients,
    BrokerConnection,
    BrokerConnections,
    ReconnectPauses,
)
from listener.owner.roster import Roster
from listener.system.systemd import Notifier, StopSignal
from listener.voice import timing
from listener.voice.command_copy import parse_copy
from listener.voice.messages import (
    POKE,
    Answer,
    Ask,
    Confirmation,
    SignedAsk,
    SignedConfirmation,
    parse_from_speaker,
    sign_message,
)

TURN_S: Final = 0.5
RECONNECT: Final = ReconnectPauses(first_s=0.1, longest_s=10.0, spread=0.5, steady_s=0.0)
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

    @property
    def has_own(self) -> bool:
        """Whether one of them did not come by message."""
        return any(not one.is_message for _, one in self.announcements)

    def take(self, *, may_take_messages: bool) -> list[Announcement]:
        """Remove and return those that are spoken together: of the messages, as many as fit."""
        taken: list[Announcement] = []
        left = [*self.announcements]
        self.announcements.clear()
        length = 0
        for until_s, one in left:
            may_take_messages = may_take_messages and length + len(one.speech) <= LONGEST_TEXT
            if one.is_message and not may_take_messages:
                self.announcements.append((until_s, one))
            else:
                taken.append(one)
                length += len(one.speech) + 1
        return taken


class AssistService:
    """The service's main loop. For one thread.

    Args:
        broker: client of the MQTT broker, or clients of several. Each is answered at all of them:
            a speaker may have changed over since it asked.
        asks: the open asks.
        arbitration: chooses among speakers.
        worker: the thread of the commands.
        announcer: the thread of the announcements.
        key: assist's service key, which signs.
        roster: returns the household's current roster.
        off: owners who said off.
        sounding: announcements by message that may still sound.
        now: reads both clocks.
        announcements: announcements that fall due, if any.
        takes_messages: whether announcements by message are spoken.
        service: notified after every turn.
    """

    def __init__(  # noqa: PLR0913 - the parts between broker and worker, passed once
        self,
        broker: Broker | BrokerClients,
        asks: Asks,
        arbitration: Arbitration,
        worker: CommandWorker,
        announcer: CommandWorker,
        *,
        key: Ed25519PrivateKey,
        roster: Callable[[], Roster],
        off: OwnersOff,
        sounding: SoundingAnnouncements,
        now: Callable[[], ClockPair],
        announcements: AnnouncementSource | None = None,
        takes_messages: bool = True,
        service: Notifier | None = None,
    ) -> None:
        self._connections = BrokerConnections(broker, RECONNECT, lambda: now().boot_s)
        self._asks = asks
        self._arbitration = arbitration
        self._worker = worker
        self._announcer = announcer
        self._workers = (worker, announcer)
        self._key = key
        self._assist_id = keys.device_id(key.public_key())
        self._roster = roster
        self._off = off
        self._sounding = sounding
        self._now = now
        self._announcements = announcements
        self._intake = AnnouncementIntake() if takes_messages else None
        self._service = service
        self._waiting: dict[str, _Waiting] = {}
        self._announced: dict[tuple[str, bytes], tuple[BrokerConnection, float]] = {}
        self._refused: Counter[str] = Counter()
        self._told: dict[str, deque[float]] = {}
        self._started_s = self._now().boot_s
        self._report_s = self._started_s + REPORT_S

    def run(self, stop: StopSignal) -> None:
        """Run until a stop is requested; then end all asks and close the connection.

        Raises:
            Unavailable: a worker failed.
        """
        try:
            while not stop.requested:
                self.turn(TURN_S)
        finally:
            self._asks.clear()
            self._connections.close()

    def turn(self, longest_s: float) -> None:
        """Wait for events for at most ``longest_s`` seconds, and process them.

        Raises:
            Unavailable: a worker failed.
        """
        due_s = self._arbitration.next_due_s() - self._now().boot_s
        for connection, event in self._connections.poll(min(longest_s, due_s), self._workers):
            match event:
                case ConnectedEvent():
                    self._on_connected(connection)
                case DeniedEvent():
                    _log.warning("the broker denied a subscription: %s", event.reason)
                case Message():
                    self._on_message(connection, event)
                case _:
                    pass
        self._answer(self._arbitration.decide_due(self._now().boot_s))
        self._publish_ready()
        self._asks.expire()
        self._announce()
        self._report()
        if self._service is not None:
            self._service.ping_watchdog()

    def _publish_ready(self) -> None:
        for worker in self._workers:
            for message in worker.messages():
                self._connections.publish(message)
            if worker.failure:
                raise Unavailable(f"the worker failed: {worker.failure}")

    def _on_connected(self, connection: BrokerConnection) -> None:
        by_message = () if self._intake is None else (topics.ANNOUNCE,)
        for topic in (topics.ASK, topics.SPOKEN, topics.CONSENTS, *by_message):
            connection.broker.subscribe(topic.topic_filter())

    def _on_message(self, connection: BrokerConnection, message: Message) -> None:
        if (levels := topics.CONSENTS.levels(message.topic)) is not None:
            if new := self._off.update(levels["device"], message.payload):
                _log.warning("voice control was turned off for %d owners of a speaker", new)
            return
        if (levels := topics.ANNOUNCE.levels(message.topic)) is not None:
            self._on_announcement(connection, levels["device"], message)
            return
        if message.retain:
            self._refused["retained"] += 1
            return
        try:
            if (levels := topics.ASK.levels(message.topic)) is not None:
                self._on_speaker(levels["device"], message.payload)
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

    def _on_speaker(self, device: str, payload: bytes) -> None:
        signed = parse_from_speaker(payload)
        if isinstance(signed.statement, Confirmation):
            self._on_confirmation(device, signed, signed.statement)
        else:
            self._on_ask(device, signed)

    def _on_confirmation(
        self, device: str, signed: SignedConfirmation, confirmation: Confirmation
    ) -> None:
        if confirmation.device != device:
            raise VoiceError("device")
        signed.verify(self._device_key(device))
        try:
            command = self._asks.confirm(confirmation.ask, device, confirmation.part)
        except CopyRefused as refused:
            self._refused[refused.reason.value] += 1
            return
        if command is not None and not self._worker.submit(
            ConfirmedJob(confirmation.ask, device, command)
        ):
            self._refused["queue"] += 1  # the last part decides

    def _on_ask(self, device: str, signed: SignedAsk) -> None:
        arrived = self._now()
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
        if is_wake and self._sounding.devices(arrived.boot_s) & self._others(device):
            # It may have heard the wake word, and may hear a command, in an announcement.
            self._refused["announcing"] += 1
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
        self._connections.publish(answer_message(device, payload, int(timing.ANSWER_S)))

    def _on_copy(self, device: str, nonce: str, payload: bytes) -> None:
        copy = parse_copy(payload)
        header = copy.header
        if header.device != device or header.ask != nonce:
            raise VoiceError("ask")
        key = self._device_key(device)
        copy.verify(key)
        try:
            self._asks.accept(
                nonce, device, header.key, header.part, header.age_ms, is_last=bool(header.last)
            )
        except CopyRefused as refused:
            self._refused[refused.reason.value] += 1
            outcome = refusal_outcome(refused.reason)
            if outcome is not None and self._may_tell(device):
                self._connections.publish(outcome_message(self._key, nonce, device, outcome))
            return
        if not self._worker.submit(CommandJob(copy, key)):
            self._refused["queue"] += 1
            if not header.last:
                return  # a later part decides
            self._asks.end(nonce)
            self._connections.publish(outcome_message(self._key, nonce, device, "late"))

    def _may_tell(self, device: str) -> bool:
        """Return whether a device is told about another refused copy: a few in a second."""
        recent = self._told.setdefault(device, deque(maxlen=MOST_TOLD))
        now_s = self._now().boot_s
        if len(recent) == MOST_TOLD and now_s - recent[0] < 1:
            return False
        recent.append(now_s)
        return True

    def _on_announcement(self, connection: BrokerConnection, device: str, message: Message) -> None:
        """Let an announcement by message wait for its speaker."""
        if self._intake is None or (message.retain and not message.payload):
            return
        if message.retain:
            # It is old, and is spoken nowhere; the broker shall not keep its text.
            self._refused["retained"] += 1
            connection.broker.publish(Message(message.topic, b"", qos=0, retain=True))
            return
        if device not in self._roster().device_keys():
            self._refused["device"] += 1
            return
        now_s = self._now().boot_s
        if self._came_by_another(connection, device, message.payload, now_s):
            return
        try:
            announcement = self._intake.accept(device, message.payload, now_s)
        except AnnouncementRefused as refused:
            self._refused[f"announcement-{refused.reason}"] += 1
            return
        waiting = self._waiting.setdefault(device, _Waiting()).announcements
        if len(waiting) == MOST_ANNOUNCEMENTS:
            self._refused["queue"] += 1
            return
        waiting.append((now_s + ANNOUNCE_S, announcement))

    def _came_by_another(
        self, connection: BrokerConnection, device: str, payload: bytes, now_s: float
    ) -> bool:
        """Return whether another broker delivered an announcement already; note it if not.

        A bridge to two brokers of the household publishes each announcement at both.
        """
        self._announced = {
            key: (by, until_s) for key, (by, until_s) in self._announced.items() if until_s > now_s
        }
        by, _ = self._announced.setdefault((device, payload), (connection, now_s + ANNOUNCE_S))
        if by is connection:
            return False
        del self._announced[device, payload]  # the next one is another announcement
        return True

    def _others(self, device: str) -> set[str]:
        """Return the other speakers of a speaker's group, which may hear it."""
        group = self._arbitration.group(device)
        return {
            name
            for name in self._roster().device_keys()
            if name != device and self._arbitration.group(name) == group
        }

    def _may_speak_messages(self, device: str) -> bool:
        """Return whether an announcement by message may be made for a speaker now.

        Not while another speaker that may hear it can still send a command, and not before the one
        before it has probably ended, because it would be too late when its turn comes.
        """
        is_heard = not self._others(device).isdisjoint(self._asks.count())
        return not is_heard and not self._sounding.is_expected(device, self._now().boot_s)

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
            elif (
                self._connections.is_connected
                and waiting.poke_s <= now_s
                and (waiting.has_own or self._may_speak_messages(device))
            ):
                waiting.poke_s = now_s + _POKE_S
                self._connections.publish(answer_message(device, POKE, int(timing.ANSWER_S)))

    def _speak_waiting(self, ask: Ask, arrived: ClockPair) -> None:
        """Speak what waits for a speaker that a poke made ask."""
        waiting = self._waiting.get(ask.device)
        if waiting is None or ask.reply is None:
            return
        taken = waiting.take(may_take_messages=self._may_speak_messages(ask.device))
        if not taken:
            return
        text = " ".join(one.speech for one in taken if one.speech)
        is_ring = any(one.is_ring for one in taken)
        is_message = any(one.is_message for one in taken)
        target = ReplyTarget(ask.ask, ask.device, ask.reply, arrived)
        if is_message:
            self._sounding.prepare(ask.device)
        if not self._announcer.submit(AnnouncementJob(target, text, is_ring, is_message)):
            self._sounding.drop(ask.device)
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
