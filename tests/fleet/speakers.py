"""``python -m tests.fleet.speakers``: many simulated speakers in one process, with real envelopes.

A process has a few connections to the brokers, each of which changes over as `send` does
(``FailoverBroker``) and carries the clips of many speakers. A speaker has one clip in flight, and
publishes it again until the archive answers with the SHA-256 of exactly its bytes. Its clips are
sealed in memory: the spool is tested elsewhere.

The plan is read from standard input. Lines on standard output: ``ready``; then, every half second,
the number of answered clips; at the end one JSON object.
"""

import hashlib
import os
import sys
import time
import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.config import BrokerSettings
from listener.envelope import format as form
from listener.envelope import keys
from listener.envelope.seal import seal
from listener.mqtt import topics
from listener.mqtt.client import (
    BrokerEvent,
    ConnectedEvent,
    ConnectionLostEvent,
    Message,
)
from listener.mqtt.failover import failover_client
from listener.mqtt.paho_client import PahoBroker
from listener.send.delivery import LONGEST_WAIT_S
from listener.system.backoff import Backoff

RETRY_S: Final = 5.0
"""As ``spool.retry_s``; twice as long after each publication without an answer, as in `send`."""
_TURN_S: Final = 0.02
_PROGRESS_S: Final = 0.5
_PRIVATE: Final = form.PrivateFields(
    word="alexa",
    model="0" * 64,
    score=0.9,
    spk=None,
    pre_ms=0,
    ms=250,
    rate=16_000,
    end_reason="silence",
    boot="0" * 16,
)


class SpeakerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One simulated speaker."""

    name: str
    seed: str
    """Seed of its Ed25519 key, hex."""
    owner: str
    recipient: str
    clips: int
    first_seq: int = 1


class FleetPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The speakers of one process."""

    brokers: tuple[str, ...]
    connections: int
    clip_bytes: int
    per_s: float
    """Clips a second, all speakers together; 0 for as fast as they are answered."""
    ttl_s: int = 86_400
    speakers: tuple[SpeakerPlan, ...]
    patience_s: float
    """Time after which clips without an answer are given up, and reported."""
    prefix: str
    """Of the client ids."""
    resend_all: bool = False
    """Publish every clip a second time after its answer."""


class FleetReport(msgspec.Struct, kw_only=True):
    """What became of the clips."""

    stored: dict[str, str] = {}
    """SHA-256 of the envelope by clip id."""
    waits_s: list[float] = []
    """Time from the first publication to the answer."""
    refused: dict[str, int] = {}
    unanswered: list[str] = []
    published: int = 0
    connections: int = 0
    """Connections that began."""
    took_s: float = 0.0
    cpu_s: float = 0.0


@dataclass(slots=True)
class _Clip:
    clip: str
    topic: str
    data: bytes
    sha256: str
    made_s: float
    """Time of its sealing, on the monotonic clock."""
    first_s: float = 0.0
    due_s: float = float("-inf")
    """Time of the next publication."""
    tries: int = 0
    again: bool = False

    def message(self, now_s: float) -> Message:
        """Return the clip as `send` publishes it, with the time that it waited."""
        return Message(
            self.topic, self.data, 1, expiry_s=60, waited_s=max(1, int(now_s - self.made_s))
        )


@dataclass(slots=True)
class _Speaker:
    name: str
    waiting: deque[_Clip]
    flight: _Clip | None = None


class _Link:
    """One connection with its speakers."""

    def __init__(self, plan: FleetPlan, number: int, speakers: list[_Speaker]) -> None:
        settings = BrokerSettings(hosts=plan.brokers, keepalive_s=10)
        name = f"{plan.prefix}-{number}"
        self.broker = failover_client(settings, lambda one: PahoBroker(one, name))
        self.speakers = speakers
        self.is_connected = False
        self.begun = 0
        self._due_s = 0.0
        self._backoff = Backoff(0.1, 5.0, spread=0.5)

    def poll(self, now_s: float) -> list[BrokerEvent]:
        if not self.is_connected and now_s >= self._due_s:
            self._due_s = float("inf")
            self.broker.connect()
        events = self.broker.poll(0.0)
        for event in events:
            if isinstance(event, ConnectedEvent):
                self.is_connected = True
                self.begun += 1
                self._backoff.reset()
                for speaker in self.speakers:
                    self.broker.subscribe(topics.ACK.topic_filter(device=speaker.name))
                    if speaker.flight is not None:
                        speaker.flight.due_s = float("-inf")
            elif isinstance(event, ConnectionLostEvent):
                self.is_connected = False
                self._due_s = now_s + self._backoff.next_delay_s()
        return events


@dataclass(slots=True)
class Simulation:
    """The speakers of a plan. For one thread."""

    plan: FleetPlan
    report: FleetReport = field(default_factory=FleetReport)
    _links: list[_Link] = field(default_factory=list)
    _by_clip: dict[str, tuple[_Speaker, _Clip]] = field(default_factory=dict)
    _refused: Counter[str] = field(default_factory=Counter)

    def prepare(self) -> None:
        """Seal the clips."""
        speakers = [_Speaker(one.name, _seal_all(self.plan, one)) for one in self.plan.speakers]
        number = self.plan.connections
        self._links = [_Link(self.plan, i, speakers[i::number]) for i in range(number)]

    def run(self) -> FleetReport:
        """Deliver all clips; return the report."""
        begun_s, cpu_s = time.monotonic(), time.process_time()
        released = progress_s = 0.0
        total = sum(one.clips for one in self.plan.speakers) * (1 + self.plan.resend_all)
        answered = 0
        while answered < total:
            now_s = time.monotonic()
            if now_s - begun_s > self.plan.patience_s:
                break
            if now_s >= progress_s:
                progress_s = now_s + _PROGRESS_S
                _tell(str(answered))
            allowed = (now_s - begun_s) * self.plan.per_s if self.plan.per_s else float("inf")
            for link in self._links:
                for event in link.poll(now_s):
                    if isinstance(event, Message):
                        answered += self._take(event, now_s)
                if link.is_connected:
                    released = self._publish(link, now_s, released, allowed)
            time.sleep(_TURN_S)
        self.report.took_s = time.monotonic() - begun_s
        self.report.cpu_s = time.process_time() - cpu_s
        self.report.connections = sum(link.begun for link in self._links)
        self.report.refused = dict(self._refused)
        for link in self._links:
            for speaker in link.speakers:
                left = [] if speaker.flight is None else [speaker.flight]
                self.report.unanswered += [one.clip for one in (*left, *speaker.waiting)]
            link.broker.close()
        return self.report

    def _publish(self, link: _Link, now_s: float, released: float, allowed: float) -> float:
        for speaker in link.speakers:
            if (
                speaker.flight is None
                and speaker.waiting
                and released < allowed
                and (self._is_second_round or not speaker.waiting[0].again)
            ):
                speaker.flight = speaker.waiting.popleft()
                speaker.flight.first_s = now_s
                self._by_clip[speaker.flight.clip] = (speaker, speaker.flight)
                released += 1
            clip = speaker.flight
            if (
                clip is not None
                and now_s >= clip.due_s
                and link.broker.publish(clip.message(now_s))
            ):
                clip.due_s = now_s + min(RETRY_S * 2**clip.tries, LONGEST_WAIT_S)
                clip.tries += 1
                self.report.published += 1
        return released

    @property
    def _is_second_round(self) -> bool:
        """Whether every clip was answered once."""
        return len(self.report.waits_s) == sum(one.clips for one in self.plan.speakers)

    def _take(self, message: Message, now_s: float) -> int:
        """Take an answer; return 1 if it ends a clip's flight."""
        levels = topics.ACK.levels(message.topic)
        answer = topics.parse_answer(message.payload)
        speaker, clip = self._by_clip.get((levels or {}).get("clip", ""), (None, None))
        if answer is None or clip is None or speaker is None or speaker.flight is not clip:
            return 0
        if answer.sha256 != clip.sha256:
            return 0
        if answer.waiting or answer.is_deferred:
            self._refused[answer.waiting or "deferred"] += 1
            clip.tries = 0
            return 0
        speaker.flight = None
        if answer.refused:
            self._refused[answer.refused] += 1
        else:
            self.report.stored[clip.clip] = clip.sha256
        if not clip.again:
            self.report.waits_s.append(now_s - clip.first_s)
            if self.plan.resend_all:
                clip.again, clip.due_s, clip.tries = True, float("-inf"), 0
                speaker.waiting.append(clip)
        return 1


def _seal_all(plan: FleetPlan, speaker: SpeakerPlan) -> deque[_Clip]:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(speaker.seed))
    dkey, okey = keys.device_id(key.public_key()), keys.owner_id(speaker.recipient)
    made: deque[_Clip] = deque()
    for seq in range(speaker.first_seq, speaker.first_seq + speaker.clips):
        header = form.PublicHeader(
            clip=str(uuid.uuid4()),
            device=speaker.name,
            dkey=dkey,
            owner=speaker.owner,
            okey=okey,
            seq=seq,
            t=form.format_timestamp(datetime.now(UTC)),
            ttl_s=plan.ttl_s,
        )
        sound = b"fLaC" + os.urandom(plan.clip_bytes)
        data = seal(
            header,
            _PRIVATE,
            lambda comment, sound=sound: sound + comment.encode(),  # type: ignore[misc] # mypy infers no default
            speaker.recipient,
            key,
        )
        topic = topics.CLIP.name(owner=speaker.owner, device=speaker.name, clip=header.clip)
        made.append(
            _Clip(header.clip, topic, data, hashlib.sha256(data).hexdigest(), time.monotonic())
        )
    return made


def main() -> None:
    """Run the plan on standard input."""
    plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=FleetPlan)
    simulation = Simulation(plan)
    simulation.prepare()
    _tell("ready")
    sys.stdin.buffer.readline()  # the go
    report = simulation.run()
    _tell(msgspec.json.encode(report).decode())


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
