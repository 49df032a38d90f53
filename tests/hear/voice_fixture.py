"""Pipeline with voice control: real keys, copies in a folder, and an assist that the test plays."""

import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame, Gap, GapReason, Sound
from listener.config import ClipSettings
from listener.envelope import keys
from listener.hear import events
from listener.hear.clip_capture import ClipCapture
from listener.hear.command_sealer import CommandSealer, CopyResult
from listener.hear.copy_folder import CopyFolder
from listener.hear.indicators.chime import Chime
from listener.hear.open_ask import Instant
from listener.hear.voice_control import VoiceControl
from listener.ipc.notices import AskNotice, CopyNotice, VoiceNotice
from listener.ipc.player_state import AskedReply, SoundName
from listener.owner.attribution import Attribution
from listener.voice import messages
from listener.voice.command_copy import parse_copy
from listener.voice.consent_table import KeptConsent
from listener.voice.messages import Answer, Ask, Confirmation, Outcome, VoiceStatus
from listener.voice.open_copy import OpenedCopy, open_copy
from listener.wakeword.detector import Wake
from tests.fakes import told
from tests.hear.pipeline_fixture import BOOT, PipelineFixture
from tests.hear.test_clip_capture import ScriptedChime

CLIP = ClipSettings(
    pre_roll_s=1.5, post_roll_s=0.1, silence_s=0.32, no_speech_s=1.0, longest_s=13.0
)
SPEECH, SILENCE = 5_000, 3
WALL_S = 1_700_000_000.0


class FakeConsents:
    """Consents that the test sets."""

    def __init__(self) -> None:
        self.active: dict[str, KeptConsent] = {}
        self.counting: dict[str, KeptConsent] = {}
        self._has_changed = True

    def follow(self) -> bool:
        changed, self._has_changed = self._has_changed, False
        return changed

    def set(self, *consents: KeptConsent) -> None:
        self.active = {one.owner: one for one in consents}
        self.counting = {one.owner: one for one in consents if one.on}
        self._has_changed = True


@dataclass
class FakePlayer:
    """What hear tells the player."""

    muted: bool | None = None
    latest: AskedReply | None = None
    sounds: list[SoundName] = field(default_factory=list)

    def set_muted(self, *, is_muted: bool) -> None:
        self.muted = is_muted

    def set_latest(self, latest: AskedReply | None) -> None:
        self.latest = latest

    def request_sound(self, sound: SoundName) -> None:
        self.sounds.append(sound)


class AnswerBox:
    """Messages on voice.sock."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []
        self.read = 0

    def receive(self) -> Iterator[bytes]:
        while self.waiting:
            self.read += 1
            yield self.waiting.pop(0)


class VoiceFixture(PipelineFixture):
    """Pipeline of the speaker "speaker" of Ada, who allowed an assist.

    Args:
        folder: for the command copies.
        wakes: detections by the frame that holds them.
        settings: of clips.
        is_blocking: as for `Sealer`.
        chime: played at a wake, if any; there is then no pre-roll.
        attribution: finds the owner; the keeper ada without one.
    """

    def __init__(
        self,
        folder: Path,
        *wakes: Wake,
        settings: ClipSettings = CLIP,
        is_blocking: bool = True,
        chime: ScriptedChime | None = None,
        attribution: Attribution | None = None,
    ) -> None:
        self.folder = folder / "copies"
        self.assist = Ed25519PrivateKey.generate()
        self.command_key = pyrage.x25519.Identity.generate()
        self.reply_key: str | None = str(pyrage.x25519.Identity.generate().to_public())
        self.boot_s, self.moved_s = 100.0, 0.0
        self.consents = FakeConsents()
        self.player = FakePlayer()
        self.box = AnswerBox()
        self.results: queue.SimpleQueue[CopyResult] = queue.SimpleQueue()
        self.copies = CopyFolder(self.folder, lambda: self.boot_s)
        self.reserved = self.nonces = 0
        self.position = 0
        self.on_copy: Callable[[], object] = bool
        self.chime = chime
        if chime is not None:
            settings = msgspec.structs.replace(settings, pre_roll_s=0.0)
        super().__init__(
            *wakes, settings=settings, is_blocking=is_blocking, attribution=attribution
        )
        self.allow()

    def build_commands(self) -> CommandSealer:
        return CommandSealer("speaker", self.device.key, self.copies, self.now, self._report)

    def build_voice(self) -> VoiceControl:
        return VoiceControl(
            device="speaker",
            key=self.device.key,
            boot=BOOT,
            consents=self.consents,
            answers=self.box,
            copies=self.copies,
            results=self.results,
            player=self.player,
            take_reply_key=lambda: self.reply_key,
            notify=self.publisher.notify,
            publish=self.publisher.publish,
            reserve_seq=self._reserve,
            new_nonce=self._new_nonce,
            now=self.now,
        )

    def build_capture(self, chime: Chime | None = None) -> ClipCapture:
        return super().build_capture(chime or self.chime)

    def now(self) -> Instant:
        return Instant(self.boot_s, WALL_S + self.boot_s + self.moved_s)

    def consent(self, owner: str = "ada", *, on: int = 1, n: int = 7) -> KeptConsent:
        return KeptConsent(
            assist=keys.device_text(self.assist.public_key()),
            n=n,
            okey=self.device.roster.known_owner(owner).okey,
            on=on,
            owner=owner,
        )

    def allow(self) -> None:
        self.consents.set(self.consent())

    # The stream.

    def play(self, count: int, value: int = SPEECH) -> None:
        """Process frames of one value; each lasts 80 ms on both clocks."""
        for frame in told(count, self.position, value):
            self.step(frame)
        self.position += count * FRAME_SAMPLES

    def gap(self, reason: GapReason) -> None:
        self.step(Gap(reason, self.position, FRAME_SAMPLES))
        self.position += FRAME_SAMPLES

    def step(self, sound: Sound) -> None:
        self.boot_s += FRAME_SAMPLES / SAMPLE_RATE_HZ
        self.clock_s = self.boot_s
        self.loop.process(sound)

    def say_command(self, speech_frames: int = 10) -> None:
        """Play the rest of a command after its wake, and the silence after it."""
        self.play(speech_frames, SPEECH)
        self.play(8, SILENCE)

    # The assist.

    def asks(self) -> list[Ask]:
        """Asks that hear signed, verified."""
        return [one for one in self._told_assist() if isinstance(one, Ask)]

    def confirmed(self) -> list[tuple[str, int]]:
        """Ask and part of each confirmation that hear signed, verified."""
        told = [one for one in self._told_assist() if isinstance(one, Confirmation)]
        assert all(one.device == "speaker" for one in told)
        return [(one.ask, one.part) for one in told]

    def _told_assist(self) -> list[Ask | Confirmation]:
        told = [one for one in self.post.notices if isinstance(one, AskNotice)]
        parsed = [messages.parse_from_speaker(bytes(one.message)) for one in told]
        return [one.verify(self.device.key.public_key()) for one in parsed]

    def statuses(self) -> list[VoiceStatus]:
        told = [one for one in self.post.notices if isinstance(one, VoiceNotice)]
        parsed = [messages.parse_voice_status(bytes(one.message)) for one in told]
        return [one.verify(self.device.key.public_key()) for one in parsed]

    def answer(self, verdict: str = "speak", **changes: object) -> bytes:
        key = str(self.command_key.to_public()) if verdict == "speak" else None
        answer = Answer(
            ask=self.asks()[-1].ask,
            device="speaker",
            key=key,
            verdict=verdict,  # type: ignore[arg-type]  # one of the literals
        )
        changed = msgspec.structs.replace(answer, **changes)
        return messages.sign_message(changed, self.assist.sign)

    def outcome(self, outcome: str = "done") -> bytes:
        stated = Outcome(ask=self.asks()[-1].ask, device="speaker", outcome=outcome)  # type: ignore[arg-type]  # one of the literals
        return messages.sign_message(stated, self.assist.sign)

    def arrive(self, *payloads: bytes) -> None:
        self.box.waiting += payloads

    def files(self) -> list[Path]:
        return sorted(self.folder.iterdir())

    def open_copies(self) -> list[OpenedCopy]:
        return [
            open_copy(
                parse_copy(file.read_bytes()),
                self.device.key.public_key(),
                self.command_key,
                keys.device_id(self.assist.public_key()),
            )
            for file in self.files()
        ]

    def ends(self) -> list[str]:
        return [one.end for one in self.events if isinstance(one, events.CommandEvent)]

    def copy_notices(self) -> int:
        return sum(isinstance(one, CopyNotice) for one in self.post.notices)

    def _report(self, result: CopyResult) -> None:
        if result.reason is None:
            self.publisher.notify(CopyNotice())
            self.on_copy()
        self.results.put(result)

    def _reserve(self) -> None:
        self.reserved += 1

    def _new_nonce(self) -> str:
        self.nonces += 1
        return f"{self.nonces:032x}"


__all__ = ["SILENCE", "SPEECH", "Frame", "VoiceFixture"]
