"""Pipeline behind the gate with real owners, keys and envelopes, and a spool in memory."""

import itertools
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.audio.clip import Clip, EndReason, Recorder, longest_samples
from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples
from listener.audio.ring_buffer import Ring
from listener.config import ClipSettings
from listener.envelope.open import OpenedClip, open_envelope, parse_identities
from listener.errors import ConfigError, Unavailable
from listener.hear import events
from listener.hear.clip_capture import ClipCapture
from listener.hear.command_sealer import CommandSealer
from listener.hear.counters import Counters
from listener.hear.indicators.chime import Chime
from listener.hear.loop import Listener
from listener.hear.memory import ClipBuffers
from listener.hear.publisher import EventPublisher
from listener.hear.sealer import (
    BUFFERS,
    CapturedClip,
    ComparisonProcess,
    Sealer,
    SealingContext,
)
from listener.hear.voice_control import VoiceControl
from listener.owner.attribution import Attribution, Keeper
from listener.owner.roster import Roster
from listener.wakeword.detector import NearMiss, Wake
from tests.fakes import FakePost, FakeSpool, LoudnessModel, ScriptedDetector

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
BOOT = "00112233445566aa"
LENGTH = 2 * SAMPLE_RATE_HZ


class OwnedDevice:
    """Device with the owner Ada: keys, roster and sequence numbers."""

    def __init__(self) -> None:
        self.identity = pyrage.x25519.Identity.generate()
        self.key = Ed25519PrivateKey.generate()
        self.roster = (
            Roster()
            .with_owner("ada", str(self.identity.to_public()))
            .with_challenge("ada", "yes", 0)
            .with_confirmation("ada", "yes", 1)
        )
        self.sequence = itertools.count(1)
        self.is_disk_gone = self._is_roster_gone = False
        self.call_before_seq(bool)

    def call_before_seq(self, call: Callable[[], object]) -> None:
        """Do something whenever an envelope is about to be made."""
        self._before_seq = call

    def next_seq(self) -> int:
        self._before_seq()
        if self.is_disk_gone:
            raise Unavailable("cannot use the sequence: the disk is gone", "repair it")
        return next(self.sequence)

    def lose_the_roster(self) -> None:
        self._is_roster_gone = True

    def read_roster(self) -> Roster:
        if self._is_roster_gone:
            raise ConfigError("the roster is damaged", "restore it")
        return self.roster

    def open(self, envelope: bytes) -> OpenedClip:
        return open_envelope(
            envelope,
            parse_identities(str(self.identity).encode(), "ada's"),
            {"speaker": self.key.public_key()},
            self.roster.active_owners(),
        )


class PipelineFixture:
    """Pipeline behind the gate; every part is accessible."""

    def __init__(
        self,
        *wakes: Wake | NearMiss,
        keeper: str = "ada",
        settings: ClipSettings | None = None,
        is_blocking: bool = True,
        attribution: Attribution | None = None,
        comparison: ComparisonProcess | None = None,
    ) -> None:
        self.settings = settings or ClipSettings()
        self.clock_s = 0.0
        self.device = OwnedDevice()
        self.events = list[events.Event]()
        self.post = FakePost()
        self.spool = FakeSpool()
        self.counters = Counters("speaker", BOOT)
        self.ring_memory: Samples = ClipBuffers(1, 25 * FRAME_SAMPLES).take()  # type: ignore[assignment]  # the first is free
        self.ring = Ring(self.ring_memory)
        self.buffers = ClipBuffers(BUFFERS, longest_samples(self.settings))
        self.publisher = EventPublisher(
            self.events.append, self.post, self.device.key.sign, on_reader_gone=bool
        )
        self.context = SealingContext(
            device="speaker",
            key=self.device.key,
            next_seq=self.device.next_seq,
            new_clip_id=lambda: str(uuid.uuid4()),
            boot=BOOT,
            ttl_s=86_400,
        )
        self.sealer = Sealer(
            attribution=attribution or Keeper(keeper, self.device.read_roster),
            context=self.context,
            spool=self.spool,
            counters=self.counters,
            buffers=self.buffers,
            publish=self.publisher.publish,
            is_blocking=is_blocking,
            monotonic_s=lambda: self.clock_s,
            commands=self.build_commands(),
            part_buffers=ClipBuffers(1, longest_samples(self.settings)),
            comparison=comparison,
        )
        self.voice = self.build_voice()
        self.detector = ScriptedDetector(*wakes)
        self.speech = LoudnessModel()
        self.recorder = Recorder(self.ring, self.speech, self.settings, self.buffers)
        self.loop = Listener(
            detector=self.detector,
            ring=self.ring,
            capture=self.build_capture(),
            counters=self.counters,
            publisher=self.publisher,
            monotonic_s=lambda: self.clock_s,
            voice=self.voice,
        )

    def build_commands(self) -> CommandSealer | None:
        """Return the maker of command copies, which a plain pipeline does not have."""
        return None

    def build_voice(self) -> VoiceControl | None:
        """Return voice control, which a plain pipeline does not have."""
        return None

    def build_capture(self, chime: Chime | None = None) -> ClipCapture:
        """Return a new clip capture over the fixture's recorder and sealer."""
        return ClipCapture(
            recorder=self.recorder,
            sealer=self.sealer,
            counters=self.counters,
            publish=self.publisher.publish,
            models={"alexa": "ab" * 32},
            now=lambda: NOW,
            chime=chime,
            voice=self.voice,
            parts=self.sealer if self.settings.provisional_parts else None,
            prepare=self.sealer.prepare,
        )

    def free_buffers(self) -> int:
        """Return the number of free buffers; all are wiped."""
        taken = [self.buffers.take() for _ in range(BUFFERS)]
        free = [buffer for buffer in taken if buffer is not None]
        assert not any(buffer.any() for buffer in free)
        for buffer in free:
            self.buffers.release(buffer)
        return len(free)

    def capture(self, value: int = 1_234) -> CapturedClip:
        """Return a finished clip of 2 s in a buffer, pending in the counters."""
        buffer = self.buffers.take()
        assert buffer is not None
        buffer[:LENGTH] = value
        samples = buffer[:LENGTH]
        samples.flags.writeable = False
        pending = self.counters.begin_clip(0)
        self.counters.end_clip(pending, LENGTH)
        return CapturedClip(
            clip=Clip(
                samples=samples,
                first_sample=0,
                wake_sample=24_000,
                end_sample=LENGTH,
                pre_roll_samples=24_000,
                end_reason=EndReason.NO_SPEECH,
            ),
            word="alexa",
            model_sha256="ab" * 32,
            score=0.98765,
            began=NOW,
            pending=pending,
        )

    def kinds(self) -> list[str]:
        """Return the class names of all events."""
        return [type(event).__name__ for event in self.events]


class SpoolBarrier:
    """Barrier that blocks writes to the spool until it is opened."""

    def __init__(self, spool: FakeSpool) -> None:
        self._open = threading.Event()
        self._reached = threading.Event()
        spool.call_before_put(self._pass)

    def _pass(self) -> None:
        self._reached.set()
        assert self._open.wait(20)

    def wait_until_reached(self) -> None:
        assert self._reached.wait(20)

    def open(self) -> None:
        self._open.set()
