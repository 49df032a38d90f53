"""Stands in for the sounddevice package in the microphone's process: a tape instead of a card.

The real process, ``listener.hear.microphone.process``, imports this one instead because its folder
comes first on PYTHONPATH. What the card does, and what befalls it, stands in a small shared file,
the desk: it outlives the process, which a mute or a fault kills. No numpy: this process must start
fast.
"""

import mmap
import os
import struct
import time
from pathlib import Path
from typing import Any, Final

FOLDER: Final = "EARMARK_SOAK_STAGE"
TAPE: Final = "tape.raw"
DESK: Final = "desk"
DESK_BYTES: Final = 64

# Places on the desk.
POSITION: Final = struct.Struct("<Q")
"""At 0: the next sample of the tape."""
SPEED: Final = struct.Struct("<d")
SPEED_AT: Final = 8
"""How many times faster than real time the card is."""
STALLED, FAILING, MISSING, OVERRUN = 16, 17, 18, 19
"""Each a byte that is not 0 while, or until, it happens."""

_RATE_HZ: Final = 16_000
_SAMPLE_BYTES: Final = 2
_MISSED_SAMPLES: Final = 4_000
_UNAVAILABLE: Final = -9985
_HOST_ERROR: Final = -9999


class PortAudioError(Exception):
    """As PortAudio's own: a text, a number, and what the driver said."""


class _Default:
    device = (0, 0)


default = _Default()


def query_devices() -> list[dict[str, Any]]:
    """Return the one card."""
    return [{"name": "tape", "max_input_channels": 1, "default_samplerate": float(_RATE_HZ)}]


class RawInputStream:
    """Plays the tape, round and round, from where it was left."""

    def __init__(self, *, device: int, samplerate: float, channels: int, dtype: str) -> None:
        del device, channels, dtype
        self.samplerate = samplerate
        folder = Path(os.environ[FOLDER])
        with (folder / DESK).open("r+b") as file:
            self._desk = mmap.mmap(file.fileno(), DESK_BYTES)
        self._tape = (folder / TAPE).open("rb")
        self._length_samples = os.fstat(self._tape.fileno()).st_size // _SAMPLE_BYTES
        self._began_s = time.monotonic()
        self._played_samples = 0

    def start(self) -> None:
        """Begin, unless somebody else has the card."""
        if self._desk[MISSING]:
            raise PortAudioError("no card", _UNAVAILABLE)

    def read(self, frames: int) -> tuple[bytearray, bool]:
        """Return the next samples once their time has come, and whether some were missed."""
        self._wait(frames)
        if self._desk[FAILING]:
            self._desk[FAILING] = 0
            raise PortAudioError("unplugged", _HOST_ERROR)
        is_overrun = bool(self._desk[OVERRUN])
        if is_overrun:
            self._desk[OVERRUN] = 0
            self._move(_MISSED_SAMPLES)
        at = self._move(frames)
        self._tape.seek(at * _SAMPLE_BYTES)
        data = bytearray(self._tape.read(frames * _SAMPLE_BYTES))
        while len(data) < frames * _SAMPLE_BYTES:
            self._tape.seek(0)
            data += self._tape.read(frames * _SAMPLE_BYTES - len(data))
        return data, is_overrun

    def _wait(self, frames: int) -> None:
        self._played_samples += frames
        (speed,) = SPEED.unpack_from(self._desk, SPEED_AT)
        due_s = self._began_s + self._played_samples / (_RATE_HZ * speed)
        left_s = due_s - time.monotonic()
        if left_s > 0:
            time.sleep(left_s)
        else:
            # A card that was held up does not hurry afterwards.
            self._began_s -= left_s
        while self._desk[STALLED]:
            time.sleep(0.01)

    def _move(self, samples: int) -> int:
        (at,) = POSITION.unpack_from(self._desk, 0)
        POSITION.pack_into(self._desk, 0, (at + samples) % self._length_samples)
        return int(at)
