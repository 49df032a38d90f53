"""A microphone without hardware, behind PortAudio and ALSA as a real one is.

ALSA's ``file`` plugin reads its sound from a FIFO, and the selftest fills that in real time. The
plugin takes a short read for a whole one, so the FIFO is filled by what the microphone's process
asks for at once.

The ways by which the selftest's sound reaches hear.
"""

import ctypes.util
import fcntl
import importlib.util
import os
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples
from listener.selftest.processes import Process, has_open, read_position_bytes
from listener.selftest.setup import WatermarkScene

_CHUNK_BYTES: Final = FRAME_SAMPLES * 2
_CHUNK_S: Final = FRAME_SAMPLES / SAMPLE_RATE_HZ
_SYSTEM: Final = Path("/usr/share/alsa/alsa.conf")
_NAME: Final = "watermark"


def explain_unavailable() -> str:
    """Return what this machine lacks for a live microphone, or nothing."""
    if importlib.util.find_spec("sounddevice") is None:
        return "the package sounddevice is not installed"
    if ctypes.util.find_library("portaudio") is None:
        return "PortAudio is not installed (apt install libportaudio2)"
    if not _SYSTEM.exists():
        return "ALSA has no configuration (apt install libasound2-data)"
    return ""


class AlsaSource:
    """PortAudio, through ALSA, in a process of its own. See `roads.AudioSource`."""

    name = "device"
    is_scripted = False
    lag_s = 0.3
    """What ALSA, PortAudio and the pipe to hear may hold back."""

    def __init__(self, folder: Path, sound: Samples) -> None:
        """Make the FIFO and ALSA's configuration.

        Args:
            folder: where.
            sound: what is played; int16, shape (n,).
        """
        self._fifo = folder / "microphone"
        self._config = folder / "asound.conf"
        self._config.write_text(_configuration(self._fifo), "utf-8")
        os.mkfifo(self._fifo)
        # Open for both, so that it never waits for the other side and never ends.
        self._file = os.open(self._fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._sound = sound.tobytes()
        self._given_bytes = 0
        self._due_s: float | None = None

    @property
    def arguments(self) -> Sequence[str]:
        """See `Road`."""
        return ["--device", _NAME]

    @property
    def environ(self) -> Mapping[str, str]:
        """See `Road`."""
        return {"ALSA_CONFIG_PATH": str(self._config)}

    def played_s(self, processes: Sequence[Process]) -> float:
        """Give the next chunk when it is due; say how much was taken."""
        if not has_open(processes, self._fifo):
            if (left_bytes := self._waiting_bytes()) % _CHUNK_BYTES:
                os.read(self._file, left_bytes)  # Its reader was killed in the midst of it.
            self._due_s = None  # The scene waits until somebody hears it.
        elif not self._waiting_bytes():
            self._give_when_due()
        return (self._given_bytes - self._waiting_bytes()) / 2 / SAMPLE_RATE_HZ

    def _give_when_due(self) -> None:
        now_s = time.monotonic()
        due_s = now_s if self._due_s is None else self._due_s
        if now_s < due_s or self._given_bytes >= len(self._sound):
            return
        end_byte = self._given_bytes + _CHUNK_BYTES
        chunk = self._sound[self._given_bytes : end_byte]
        os.write(self._file, chunk.ljust(_CHUNK_BYTES, b"\1"))
        self._given_bytes = end_byte
        # After a pause the sound goes on; nobody speaks faster to catch up.
        self._due_s = max(due_s, now_s - _CHUNK_S) + _CHUNK_S

    def close(self) -> None:
        """Take the microphone away; harmless when repeated."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _waiting_bytes(self) -> int:
        answer = fcntl.ioctl(self._file, termios.FIONREAD, bytes(4))
        return int(struct.unpack("i", answer)[0])


def _configuration(fifo: Path) -> str:
    return f"""\
<{_SYSTEM}>
pcm.{_NAME} {{
    type file
    slave.pcm "null"
    file "{os.devnull}"
    infile "{fifo}"
    format "raw"
}}
"""


_WAV_HEADER_BYTES = 44


class AudioSource(Protocol):
    """A way into hear. One thread."""

    @property
    def name(self) -> str:
        """One word for it."""

    @property
    def arguments(self) -> Sequence[str]:
        """What tells hear to take it."""

    @property
    def environ(self) -> Mapping[str, str]:
        """What hear's environment needs besides."""

    @property
    def lag_s(self) -> float:
        """How much of what was taken in may not have come to hear's ring yet."""

    @property
    def is_scripted(self) -> bool:
        """Whether mute comes by the clock of the sound, and hear ends with it: a device's not."""

    def played_s(self, processes: Sequence[Process]) -> float:
        """Return how much of the scene hear has taken in, and feed it where it needs feeding.

        Args:
            processes: hear and its children.
        """

    def close(self) -> None:
        """Stop playing; harmless when repeated."""


class RecordingSource:
    """The file microphone, in real time."""

    name = "recording"
    lag_s = 0.0
    is_scripted = True

    def __init__(self, sound: Path, scene: WatermarkScene) -> None:
        """Take this road.

        Args:
            sound: the scene as a WAV file.
            scene: says when to mute.
        """
        self._sound = sound
        self._mute = f"{scene.mute_s:.3f}-{scene.unmute_s:.3f}"
        self._played_s = 0.0

    @property
    def arguments(self) -> Sequence[str]:
        """See `AudioSource`."""
        return ["--microphone", str(self._sound), "--mute", self._mute]

    @property
    def environ(self) -> Mapping[str, str]:
        """See `AudioSource`."""
        return {}

    def played_s(self, processes: Sequence[Process]) -> float:
        """Ask the kernel how far the file was read: exact, however slow this machine is."""
        read_bytes = read_position_bytes(processes, self._sound)
        if read_bytes is not None:
            read_samples = max(0, read_bytes - _WAV_HEADER_BYTES) // 2
            self._played_s = max(self._played_s, read_samples / SAMPLE_RATE_HZ)
        return self._played_s

    def close(self) -> None:
        """Do nothing."""
