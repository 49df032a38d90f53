"""An assist with two speakers, an owner, and recogniser and agent under the test's control."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.assist.announcements import SoundingAnnouncements
from listener.assist.asks import Asks
from listener.assist.command_key import AgeCommandKey
from listener.assist.owners_off import OwnersOff
from listener.assist.recogniser import AgentResult, Announcement, Recognition
from listener.assist.service import AssistService, group_speakers
from listener.assist.worker import Abilities, CommandProcessor, CommandWorker
from listener.audio.pcm import Samples
from listener.envelope import keys
from listener.mqtt.client import BrokerEvent, BrokerLimits, ConnectedEvent, Message, Waitable
from listener.mqtt.connections import BrokerClients
from listener.owner.roster import Roster
from listener.voice.messages import Answer, Outcome
from tests.assist.clocks import Clocks
from tests.assist.speaker import Speaker


class FakeUnderstanding:
    """Recogniser, agent, voice and announcements in one."""

    def __init__(self) -> None:
        self.text: str | None = "Alexa, turn on the lights"
        self.is_command = True
        self.sentences: set[str] = set()
        """Texts that the matcher takes for whole commands."""
        self.unavailable: Exception | None = None
        self.result = AgentResult("done", "Turned on")
        self.error: Exception | None = None
        self.heard: list[Samples] = []
        self.given: list[Samples] = []
        """The arrays that were recognised, as they are now."""
        self.sound: Samples = np.arange(8_000, dtype=np.int16)
        self.obeyed: list[tuple[str, str, str]] = []
        self.prepared: list[tuple[str, str]] = []
        self.connected: tuple[str, str] | None = None
        """Speaker and owner of the open connection."""
        self.unreachable: Exception | None = None
        """Error of each new connection."""
        self.before_act: Callable[[], None] = lambda: None
        self.spoken: list[str] = []
        self.announcements: list[Announcement] = []

    def recognise(self, samples: Samples, word: str, *, is_final: bool) -> Recognition | None:
        self.heard.append(samples.copy())
        self.given.append(samples)
        assert word == "alexa"
        if self.unavailable is not None:
            raise self.unavailable
        return None if self.text is None else Recognition(self.text, self.is_command)

    def prepare(self, device: str, owner: str) -> None:
        if self.connected == (device, owner):
            return
        if self.unreachable is not None:
            raise self.unreachable
        self.connected = (device, owner)
        self.prepared.append((device, owner))
        self.before_act()

    def release(self) -> None:
        self.connected = None

    def carry_out(self, text: str, device: str, owner: str) -> AgentResult:
        assert self.connected == (device, owner)
        self.connected = None
        self.obeyed.append((text, device, owner))
        if self.error is not None:
            raise self.error
        return self.result

    def speak(self, text: str) -> bytes:
        self.spoken.append(text)
        return wav(self.sound, 16_000)

    def due(self) -> list[Announcement]:
        found, self.announcements = self.announcements, []
        return found


class FakeMatcher:
    """Knows the sentences of the test."""

    def __init__(self, understanding: FakeUnderstanding) -> None:
        self._understanding = understanding

    def is_command(self, text: str, device: str, owner: str) -> bool:
        assert (device, owner) == self._understanding.prepared[-1]
        return text in self._understanding.sentences


def wav(samples: Samples, rate_hz: int) -> bytes:
    """A WAV file as programs write it to a pipe: with lengths that are not known yet."""
    form = (16).to_bytes(4, "little") + b"\1\0\1\0" + rate_hz.to_bytes(4, "little")
    form += (2 * rate_hz).to_bytes(4, "little") + b"\2\0\x10\0"
    return b"RIFF\xff\xff\xff\x7fWAVEfmt " + form + b"data\xff\xff\xff\x7f" + samples.tobytes()


class InstantBroker:
    """A broker whose messages the test passes on; waiting advances the clocks."""

    def __init__(self, clocks: Clocks) -> None:
        self.events: deque[BrokerEvent] = deque()
        self.sent: list[Message] = []
        self.subscribed: list[str] = []
        self._clocks = clocks

    def connect(self) -> None:
        self.events.append(ConnectedEvent(BrokerLimits(), "5"))

    def subscribe(self, pattern: str) -> None:
        self.subscribed.append(pattern)

    def publish(self, message: Message) -> int:
        self.sent.append(message)
        return 1

    def poll(self, longest_s: float, also: Sequence[Waitable] = ()) -> list[BrokerEvent]:
        if not self.events:
            self._clocks.run(longest_s)
        events = list(self.events)
        self.events.clear()
        return events

    def close(self) -> None:
        self.sent.clear()


class Assist:
    """The service, with the worker's thread replaced by calls."""

    def __init__(self, folder: Path, key: Ed25519PrivateKey | None = None) -> None:
        self.folder = folder
        self.clocks = Clocks()
        self.broker = InstantBroker(self.clocks)
        self.second: InstantBroker | None = None
        """A second broker of the household, from the next start on."""
        self.groups: dict[str, tuple[str, ...]] = {}
        self.takes_messages = True
        self.understanding = FakeUnderstanding()
        self.key = key or Ed25519PrivateKey.generate()
        self.owner = str(pyrage.x25519.Identity.generate().to_public())
        self.kitchen, self.bedroom = (
            Speaker(name, self.key, "ada", keys.owner_id(self.owner))
            for name in ("kitchen", "bedroom")
        )
        roster = Roster().with_owner("ada", self.owner).with_challenge("ada", "x", 0)
        self.roster = roster.with_confirmation("ada", "x", 1)
        for speaker in (self.kitchen, self.bedroom):
            text = keys.device_text(speaker.key.public_key())
            self.roster = self.roster.with_device(speaker.name, text)
        self.start()

    def start(self, *, is_ready: bool = True) -> None:
        """Start the service, as after a restart: memory is empty, the folder stays.

        Args:
            is_ready: wait until it answers asks.
        """
        self.asks = Asks(AgeCommandKey, self.clocks)
        self.off = OwnersOff(self.folder / "off.json", lambda _owner, _device: True)
        abilities = Abilities(
            self.understanding,
            self.understanding,
            [self.understanding],
            prepare=self.understanding.prepare,
            release=self.understanding.release,
            matcher=FakeMatcher(self.understanding),
        )
        sounding = SoundingAnnouncements()
        self.processor = CommandProcessor(
            self.asks,
            abilities,
            key=self.key,
            roster=lambda: self.roster,
            off=self.off,
            sounding=sounding,
            now=self.clocks,
        )
        self.worker = CommandWorker(self.processor.process)
        self.announcer = CommandWorker(self.processor.process)
        self.service = AssistService(
            self.broker
            if self.second is None
            else BrokerClients(
                (self.broker, self.second), lambda longest_s, _: self.clocks.run(longest_s)
            ),
            self.asks,
            group_speakers(self.groups, lambda: self.roster),
            self.worker,
            self.announcer,
            key=self.key,
            roster=lambda: self.roster,
            off=self.off,
            sounding=sounding,
            now=self.clocks,
            announcements=self.understanding,
            takes_messages=self.takes_messages,
        )
        self.service.turn(0)
        if is_ready:
            self.clocks.run(4)

    def stop(self) -> None:
        self.worker.close()
        self.announcer.close()

    def receive(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Let the service receive a message, and the worker do its jobs."""
        self.broker.events.append(Message(topic, payload, 0, retain))
        self.turn()

    def turn(self, seconds: float = 0) -> None:
        """Let time pass, in turns of the loop."""
        until_s = self.clocks.boot_s + seconds
        while True:
            left_s = until_s - self.clocks.boot_s
            self.service.turn(min(0.05, max(0.0, left_s)))
            self.worker.run_waiting()
            self.announcer.run_waiting()
            if left_s <= 1e-9:
                break
        self.service.turn(0)

    def ask(self, speaker: Speaker, nonce: str = "", **changes: Any) -> str:  # noqa: ANN401 - fields of any type
        """Send an ask; return its nonce."""
        nonce, payload = speaker.ask(nonce, **changes)
        self.receive(f"earmark/v1/ask/{speaker.name}", payload)
        return nonce

    def answers(self, speaker: Speaker) -> list[Answer]:
        return [one for one in self.heard_by(speaker) if isinstance(one, Answer)]

    def outcomes(self, speaker: Speaker) -> list[str]:
        return [one.outcome for one in self.heard_by(speaker) if isinstance(one, Outcome)]

    def heard_by(self, speaker: Speaker) -> list[Answer | Outcome | None]:
        """Every message on the speaker's topic of answers, verified."""
        topic = f"earmark/v1/answer/{speaker.name}"
        return [speaker.understand(one.payload) for one in self.broker.sent if one.topic == topic]

    def announce(self, device: str, text: str | bytes, *, retain: bool = False) -> None:
        """Send an announcement, as Home Assistant does."""
        payload = text.encode() if isinstance(text, str) else text
        self.receive(f"earmark/v1/announce/{device}", payload, retain=retain)

    def pokes(self, speaker: Speaker) -> int:
        """Return how many pokes the speaker got."""
        return self.heard_by(speaker).count(None)

    def replies(self, speaker: Speaker) -> list[bytes]:
        topic = f"earmark/v1/say/{speaker.name}"
        return [one.payload for one in self.broker.sent if one.topic == topic]

    def confirm(self, speaker: Speaker, nonce: str, part: int = 1, **changes: Any) -> None:  # noqa: ANN401 - fields of any type
        """Send the confirmation of a part."""
        payload = speaker.confirmation(nonce, part, **changes)
        self.receive(f"earmark/v1/ask/{speaker.name}", payload)

    def wake(self, speaker: Speaker) -> tuple[str, str]:
        """Ask and wait for the answer; return the nonce and the command key."""
        nonce = self.ask(speaker)
        self.turn(0.3)
        answer = next(one for one in self.answers(speaker) if one.ask == nonce)
        assert answer.verdict == "speak"
        assert answer.key is not None
        return nonce, answer.key

    def say(self, speaker: Speaker, nonce: str, copy: bytes) -> None:
        """Send a command copy."""
        self.receive(f"earmark/v1/spoken/{speaker.name}/{nonce}", copy)

    def command(self, speaker: Speaker) -> tuple[str, bytes]:
        """Wake, and send a command; return what a broker could record."""
        nonce, key = self.wake(speaker)
        copy = speaker.copy(nonce, key)
        self.say(speaker, nonce, copy)
        return nonce, copy


@pytest.fixture
def assist(tmp_path: Path) -> Iterator[Assist]:
    assist = Assist(tmp_path)
    yield assist
    assist.stop()
