"""Simulated room with a speaker: a test decides what happens between any two steps of hear.

The gate, framer, listen loop, recorder, sealer and mute controller are real. Microphone, switch,
detector and spool are fakes. Every spoken sample is a different number, so that a test can tell
for each sample that it finds when it was spoken, and whether hear was muted then.
"""

import io
import itertools
import threading
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyrage
import soundfile
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.audio.clip import Recorder, longest_samples
from listener.audio.pcm import FRAME_SAMPLES, Frame, Gap, GapReason, Samples, Sound
from listener.audio.ring_buffer import Ring
from listener.config import ClipSettings
from listener.envelope.open import open_envelope, parse_identities
from listener.errors import Unavailable
from listener.hear import events  # noqa: TC001 - a plain import, as everywhere
from listener.hear.clip_capture import ClipCapture
from listener.hear.counters import Counters
from listener.hear.gate import Gate
from listener.hear.loop import Listener
from listener.hear.memory import ClipBuffers
from listener.hear.mute.controller import MuteController
from listener.hear.mute.state import MuteFiles
from listener.hear.publisher import EventPublisher
from listener.hear.sealer import BUFFERS, Sealer, SealingContext
from listener.ipc.control import Request
from listener.ipc.notices import Notice
from listener.owner.attribution import Keeper
from listener.owner.roster import Roster
from listener.spool.ledger import KernelClock
from listener.system.systemd import StopSignal
from listener.wakeword.detector import NearMiss, Wake

MOST_SAMPLES = (1 << 16) - 1
"""So many can be told apart; 0 is none of them."""
PATIENCE_S = 60.0

SETTINGS = ClipSettings(
    ring_s=1.0,
    pre_roll_s=0.4,
    post_roll_s=0.1,
    silence_s=0.2,
    no_speech_s=0.5,
    longest_s=1.0,
)


class Steps:
    """Barrier that stops hear at each of its steps until the test releases it."""

    def __init__(self) -> None:
        self._arrived = threading.Semaphore(0)
        self._go = threading.Semaphore(0)
        self.place = ""
        """Where it is held."""
        self._is_over = False

    def hold(self, place: str) -> None:
        """The ear's: wait here."""
        if not self._is_over:
            self.place = place
            self._arrived.release()
            assert self._go.acquire(timeout=PATIENCE_S)

    def wait(self) -> None:
        """The test's: until the ear is held, or has ended."""
        assert self._arrived.acquire(timeout=PATIENCE_S), "hear hangs"

    def let_go(self) -> None:
        """The test's: on to the next step."""
        self._go.release()
        self.wait()

    def end(self) -> None:
        """Hold nobody any more."""
        self._is_over = True
        self._go.release()

    def ended(self) -> None:
        """The ear's: it has ended."""
        self.place = "ended"
        self._arrived.release()


class SteppedSwitch:
    """A mute switch that keeps edges until it is asked, and may be lost."""

    about = "fake"

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.is_down = self.is_lost = self._touched = False

    @property
    def is_shut_now(self) -> bool:
        return self.is_down or self.is_lost

    def throw(self) -> None:
        self.is_down = self._touched = True

    def release(self) -> None:
        self.is_down = False

    def lose(self) -> None:
        self.is_lost = self._touched = True

    def mend(self) -> None:
        self.is_lost = False

    def filenos(self) -> Sequence[int]:
        return ()

    def is_muted(self, at_sample: int) -> bool:
        del at_sample
        is_lost = self.is_lost
        touched, self._touched = self._touched, False
        answer = self.is_down or touched
        self._steps.hold("asked")
        if is_lost:
            raise OSError("the line is gone")
        return answer


class SteppedMicrophone:
    """A microphone whose process, pipe and device are the test's to play with."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._pipe: deque[Samples | GapReason | Exception] = deque()
        self.is_open = False
        self.absent_reads = 0
        """For so many reads there will be no device."""
        self.handed_out = 0
        """Samples that the gate got."""
        self.skipped = 0
        self.blocks: list[Samples] = []
        """As the gate left them."""

    def speak(self, block: Samples) -> None:
        """Sound in the room: it is in the pipe if there is a process to write it."""
        if self.is_open:
            self._pipe.append(block)

    def put(self, event: GapReason | Exception) -> None:
        """Something happens to the device, behind what is in the pipe already."""
        if self.is_open:
            self._pipe.append(event)

    def lose_blocks(self) -> None:
        """The ear was too slow: what waits is gone, and it is told so."""
        if self.is_open and self._pipe:
            self._pipe.clear()
            self._pipe.append(GapReason.OVERRUN)

    def vanish(self, reads: int) -> None:
        """The process is killed by somebody else, and there is no device for a while."""
        if self.is_open:
            self._pipe.append(GapReason.LOST)
            self.absent_reads = reads

    def read(self) -> Samples | GapReason | int | None:
        self._steps.hold("reads")
        if not self.is_open:
            if self.absent_reads:
                self.absent_reads -= 1
                return FRAME_SAMPLES
            self.is_open = True
            return np.zeros(0, np.int16)
        if not self._pipe:
            return np.zeros(0, np.int16)
        event = self._pipe.popleft()
        if isinstance(event, np.ndarray):
            self.handed_out += len(event)
            self.blocks.append(event)
            return event
        if isinstance(event, Exception):
            raise event
        if event is GapReason.LOST:
            self._close()
        return event

    def close(self) -> None:
        self._close()

    def skip(self) -> int:
        assert not self.is_open
        self._steps.hold("skips")
        self.skipped += FRAME_SAMPLES
        return FRAME_SAMPLES

    def _close(self) -> None:
        self.is_open = False
        self._pipe.clear()


class RecordingDetector:
    """Wakes when told, and remembers every sample it was shown."""

    def __init__(self) -> None:
        self.shown: set[int] = set()
        """The numbers of all samples."""
        self.wakes = 0
        self._is_due = False
        self._end_sample: int | None = None
        self._last: int | None = None

    def expect_word(self) -> None:
        """Wake at the end of the next frame."""
        self._is_due = True

    def push(self, sound: Sound) -> tuple[Wake | NearMiss, ...]:
        if not isinstance(sound, Frame):
            # A word that was half said is not found behind the gap.
            self._is_due = False
            self._end_sample = self._last = None
            return ()
        assert self._end_sample in (None, sound.first_sample), "a frame must follow the last one"
        self._end_sample = sound.end_sample
        spoken = numbers(sound.samples)
        assert spoken == list(range(spoken[0], spoken[0] + len(spoken))), "a frame has a hole"
        assert self._last in (None, spoken[0] - 1), "something is missing, and there was no gap"
        self._last = spoken[-1]
        self.shown.update(spoken)
        if not self._is_due:
            return ()
        self._is_due = False
        self.wakes += 1
        return (Wake("alexa", 0.9, sound.end_sample, 0.5),)


class FakeRequests:
    """What comes over the control socket."""

    def __init__(self) -> None:
        self.waiting: list[Request] = []

    def fileno(self) -> int:
        return -1

    def receive(self) -> Iterable[Request]:
        waiting, self.waiting = self.waiting, []
        return waiting


class MemorySpool:
    """A spool in memory."""

    def __init__(self) -> None:
        self.envelopes: list[bytes] = []

    def put(self, clip: str, owner: str, seq: int, data: bytes) -> object:
        del clip, owner, seq
        self.envelopes.append(data)
        return None


class BlockingSequence:
    """Numbers for envelopes; a test can hold the sealer here."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._free = threading.Event()
        self._free.set()

    def hold(self) -> None:
        self._free.clear()

    def let_go(self) -> None:
        self._free.set()

    def __call__(self) -> int:
        assert self._free.wait(PATIENCE_S)
        return next(self._numbers)


class NullNoticeSink:
    def send(self, notice: Notice) -> bool:
        del notice
        return False


class SilentSpeechModel:
    """Speech model that detects no speech, so that a clip ends soon."""

    def probability(self, samples: Samples) -> float:
        del samples
        return 0.0

    def reset(self) -> None:
        """Nothing is kept."""


class SimulatedRoom:
    """Room with a speaker, and its clock."""

    def __init__(self, folder: Path, *, remote_unmute: bool) -> None:
        self.steps = Steps()
        self.switch = SteppedSwitch(self.steps)
        self.microphone = SteppedMicrophone(self.steps)
        self.detector = RecordingDetector()
        self.requests = FakeRequests()
        self.lasting = MuteFiles(folder)
        self.clock_s = 0.0
        self.mute = MuteController(
            self.switch,
            self.lasting,
            self.requests,
            remote_unmute=remote_unmute,
            now=self.now,
            monotonic_s=lambda: self.clock_s,
            boot_clock=KernelClock(),
        )
        self.stop = StopSignal()
        self.gate = Gate(self.microphone, self.mute, self.stop)
        self.spoken = 0
        self.sounds: list[Sound] = []
        """What came out of the gate, without the frames' sound."""
        self.events: list[events.Event] = []
        self.spool = MemorySpool()
        self._build_loop()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self.steps.wait()

    def speak(self, length: int) -> range:
        """Speak; return the numbers of the samples."""
        first = self.spoken + 1
        self.spoken += length
        block = np.arange(first, first + length).astype(np.uint16).view(np.int16)
        self.microphone.speak(block)
        return range(first, first + length)

    def step(self) -> None:
        """Run one step of hear."""
        self.clock_s += 1.1
        self.steps.let_go()
        if self._failure is not None:
            raise self._failure

    def turn(self) -> None:
        """Run hear until it has read all audio that is available."""
        self.step()
        while self.steps.place == "asked":
            self.step()

    def end(self) -> None:
        """Stop hear, and wait for its threads."""
        self.sealing.let_go()
        self.stop.request()
        self.steps.end()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self._sealer.close()
        if self._failure is not None:
            raise self._failure

    def now(self) -> datetime:
        return datetime(2026, 3, 4, tzinfo=UTC) + timedelta(seconds=self.clock_s)

    def clear_memory(self) -> list[Samples]:
        """All memory for plaintext audio: the ring buffer and every clip buffer."""
        return [self.ring_memory, *self._all_buffers]

    def clips(self) -> list[list[int]]:
        """The sealed clips, opened, as numbers."""
        identities = parse_identities(str(self._identity).encode(), "ada's")
        devices = {"speaker": self._key.public_key()}
        opened = [
            open_envelope(data, identities, devices, self._roster.active_owners())
            for data in self.spool.envelopes
        ]
        return [numbers(soundfile.read(io.BytesIO(each.flac), dtype="int16")[0]) for each in opened]

    def _build_loop(self) -> None:
        self._identity = pyrage.x25519.Identity.generate()
        self._key = Ed25519PrivateKey.generate()
        self._roster = (
            Roster()
            .with_owner("ada", str(self._identity.to_public()))
            .with_challenge("ada", "yes", 0)
            .with_confirmation("ada", "yes", 1)
        )
        self.sealing = BlockingSequence()
        self.counters = Counters("speaker", "0" * 16)
        self.ring_memory: Samples = np.zeros(13 * FRAME_SAMPLES, np.int16)
        ring = Ring(self.ring_memory)
        buffers = ClipBuffers(BUFFERS, longest_samples(SETTINGS))
        taken = [buffers.take() for _ in range(BUFFERS)]
        self._all_buffers = [buffer for buffer in taken if buffer is not None]
        for buffer in self._all_buffers:
            buffers.release(buffer)
        publisher = EventPublisher(
            self.events.append, NullNoticeSink(), self._key.sign, on_reader_gone=self.stop.request
        )
        self._sealer = Sealer(
            attribution=Keeper("ada", lambda: self._roster),
            context=SealingContext(
                device="speaker",
                key=self._key,
                next_seq=self.sealing,
                new_clip_id=lambda: str(uuid.uuid4()),
                boot="0" * 16,
                ttl_s=86_400,
            ),
            spool=self.spool,
            counters=self.counters,
            buffers=buffers,
            publish=publisher.publish,
            is_blocking=False,
        )
        capture = ClipCapture(
            recorder=Recorder(ring, SilentSpeechModel(), SETTINGS, buffers),
            sealer=self._sealer,
            counters=self.counters,
            publish=publisher.publish,
            models={"alexa": "ab" * 32},
            now=self.now,
        )
        self.loop = Listener(
            detector=self.detector,
            ring=ring,
            capture=capture,
            counters=self.counters,
            publisher=publisher,
            monotonic_s=lambda: self.clock_s,
            muted_by=lambda: self.mute.cause,
        )

    def _listen(self) -> None:
        try:
            self.loop.listen(self._noted(), lambda: None)
        except BaseException as error:  # noqa: BLE001 - the test's thread raises it
            self._failure = error
        finally:
            self.steps.ended()

    def _noted(self) -> Iterator[Sound]:
        for sound in self.gate.stream():
            if isinstance(sound, Gap):
                self.sounds.append(sound)
            else:
                self.sounds.append(Frame(np.zeros(0, np.int16), sound.first_sample))
            yield sound


def numbers(samples: Samples) -> list[int]:
    """The numbers of spoken samples."""
    return [int(number) for number in np.ascontiguousarray(samples).view(np.uint16)]


def breaks() -> Exception:
    """What a microphone raises whose sound breaks off."""
    return Unavailable("the device is gone")
