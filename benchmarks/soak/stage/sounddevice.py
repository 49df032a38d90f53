"""Replacement of the sounddevice package in the microphone process: plays a tape.

The real process, ``listener.hear.microphone.process``, imports it because its folder is first on
PYTHONPATH. Position and faults of the card are in a small shared file, the desk, which survives the
process that a mute or a fault kills. No numpy: the process must start fast.
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

# Offsets in the desk.
POSITION: Final = struct.Struct("<Q")
"""Next sample of the tape, at offset 0."""
SPEED: Final = struct.Struct("<d")
SPEED_AT: Final = 8
"""Speed of the card relative to real time."""
STALLED, FAILING, MISSING, OVERRUN = 16, 17, 18, 19
"""Offsets of bytes that are not 0 while a fault lasts, or until it occurs."""

_RATE_HZ: Final = 16_000
_SAMPLE_BYTES: Final = 2
_MISSED_SAMPLES: Final = 4_000
_UNAVAILABLE: Final = -9985
_HOST_ERROR: Final = -9999


class PortAudioError(Exception):
    """Error as in sounddevice: text and PortAudio's error number."""


class _Default:
    device = (0, 0)


default = _Default()


def query_devices() -> list[dict[str, Any]]:
    """Return the one card."""
    return [{"name": "tape", "max_input_channels": 1, "default_samplerate": float(_RATE_HZ)}]


class RawInputStream:
    """Plays the tape in a loop from its last position."""

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
        """Start, unless the card is missing."""
        if self._desk[MISSING]:
            raise PortAudioError("no card", _UNAVAILABLE)

    def read(self, frames: int) -> tuple[bytearray, bool]:
        """Wait for the next samples; return them and whether there was an overrun."""
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
            # After a delay the card continues at its own speed.
            self._began_s -= left_s
        while self._desk[STALLED]:
            time.sleep(0.01)

    def _move(self, samples: int) -> int:
        (at,) = POSITION.unpack_from(self._desk, 0)
        POSITION.pack_into(self._desk, 0, (at + samples) % self._length_samples)
        return int(at)
