"""Fakes of the devices around hear, with a method for each fault."""

from collections.abc import Callable, Sequence

import numpy as np

from listener.audio.pcm import FRAME_SAMPLES, Frame, GapReason, Samples, Sound
from listener.errors import SpoolFull, Unavailable
from listener.ipc.notices import Notice
from listener.wakeword.detector import NearMiss, Wake


class FakeSwitch:
    """A mute switch under the test's thumb."""

    about = "fake"

    def __init__(self) -> None:
        self.is_down = False
        self._touched = False
        self._broken = False

    def shut(self) -> None:
        self.is_down = self._touched = True

    def release(self) -> None:
        self.is_down = False

    def lose(self) -> None:
        """The line cannot be read any more; when it can again, the time between was shut."""
        self._broken = self._touched = True

    def mend(self) -> None:
        self._broken = False

    def filenos(self) -> tuple[int, ...]:
        return ()

    def is_muted(self, at_sample: int) -> bool:
        del at_sample
        if self._broken:
            raise OSError("the line is gone")
        touched, self._touched = self._touched, False
        return self.is_down or touched


class FakeMicrophone:
    """A microphone that plays what it is told; an event is run between two blocks."""

    def __init__(self, *script: Samples | GapReason | int | Exception | Callable[[], None]) -> None:
        self._script = list(script)
        self.handed_out: list[Samples] = []
        """Every block that was read, as the gate left it."""
        self.times_shut = 0

    def read(self) -> Samples | GapReason | int | None:
        while self._script:
            event = self._script.pop(0)
            if isinstance(event, np.ndarray):
                block = event.copy()
                self.handed_out.append(block)
                # What happens right behind a block happened while it was spoken.
                while self._script and callable(self._script[0]):
                    self._script.pop(0)()  # type: ignore[operator]  # narrowed by callable above
                return block
            if isinstance(event, Exception):
                raise event
            if isinstance(event, GapReason | int):
                return event
            event()
        return None

    def close(self) -> None:
        self.times_shut += 1

    def skip(self) -> int | None:
        block = self.read()
        if block is None or isinstance(block, int):
            return block
        return 0 if isinstance(block, GapReason) else len(block)


def breaks() -> Exception:
    """What a microphone raises that lost its device."""
    return Unavailable("the device is gone")


class LoudnessModel:
    """A speech model for which loud is speech."""

    def __init__(self, loud: int = 1_000) -> None:
        self._loud = loud
        self.heard_samples = 0
        self.resets = 0

    def probability(self, samples: Samples) -> float:
        self.heard_samples += len(samples)
        return 0.9 if np.abs(samples.astype(np.int32)).mean() >= self._loud else 0.05

    def reset(self) -> None:
        self.resets += 1


class PlainBuffers:
    """Buffers for clips in ordinary memory."""

    def __init__(self, count: int, length_samples: int) -> None:
        self.all = [np.zeros(length_samples, np.int16) for _ in range(count)]
        self.free = list(self.all)

    def take(self) -> Samples | None:
        return self.free.pop() if self.free else None

    def release(self, samples: Samples) -> None:
        for buffer in self.all:
            if np.may_share_memory(buffer, samples):
                buffer.fill(0)
                self.free.append(buffer)


class ScriptedDetector:
    """Wakes where it is told, at the end of the frame that holds the sample."""

    def __init__(self, *wakes: Wake | NearMiss) -> None:
        self._wakes = wakes
        self.frames: list[Frame] = []
        self.gaps = 0

    def push(self, sound: Sound) -> tuple[Wake | NearMiss, ...]:
        if not isinstance(sound, Frame):
            self.gaps += 1
            return ()
        self.frames.append(Frame(sound.samples.copy(), sound.first_sample))
        return tuple(
            wake for wake in self._wakes if sound.first_sample < wake.end_sample <= sound.end_sample
        )


class FakeSpool:
    """A border that holds envelopes in memory."""

    def __init__(self) -> None:
        self.envelopes: list[bytes] = []
        self._before_put: Callable[[], object] = bool
        self._is_full = False

    def fill(self) -> None:
        self._is_full = True

    def make_room(self) -> None:
        self._is_full = False

    def call_before_put(self, call: Callable[[], object]) -> None:
        """Do something, or wait, whenever an envelope arrives."""
        self._before_put = call

    def put(self, clip: str, owner: str, seq: int, data: bytes) -> object:
        del clip, owner, seq
        self._before_put()
        if self._is_full:
            raise SpoolFull("the spool is full", "make room")
        self.envelopes.append(data)
        return None


class FakePost:
    """Takes every notice."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def send(self, notice: Notice) -> bool:
        self.notices.append(notice)
        return True


def told(frames: int, first_sample: int = 0, value: int | None = None) -> list[Frame]:
    """Frames whose samples tell their place, or all have one value."""
    made = []
    for at in range(first_sample, first_sample + frames * FRAME_SAMPLES, FRAME_SAMPLES):
        places = np.arange(at, at + FRAME_SAMPLES)
        samples = (places % 30_000 + 1 if value is None else np.full(FRAME_SAMPLES, value)).astype(
            np.int16
        )
        samples.flags.writeable = False
        made.append(Frame(samples, at))
    return made


def joined(frames: Sequence[Frame]) -> Samples:
    """The sound of frames in one piece."""
    return np.concatenate([frame.samples for frame in frames] or [np.zeros(0, np.int16)])
