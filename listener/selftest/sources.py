"""Audio sources of the self-test: the file microphone, and a virtual ALSA device.

The virtual device is ALSA's ``file`` plugin, opened through PortAudio like a real microphone. It
reads from a FIFO that the self-test fills in real time. The plugin treats a short read as a whole
one, so the FIFO is filled with one period at a time.
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
_WAV_HEADER_BYTES: Final = 44


class AudioSource(Protocol):
    """Source that plays a scene to hear. One thread."""

    @property
    def name(self) -> str:
        """Name in the report; one word."""

    @property
    def arguments(self) -> Sequence[str]:
        """Command-line arguments for hear."""

    @property
    def environ(self) -> Mapping[str, str]:
        """Additional environment variables for hear."""

    @property
    def lag_s(self) -> float:
        """Latency from `played_s` to hear's ring in seconds, at most."""

    @property
    def is_scripted(self) -> bool:
        """True if mute and the end follow the scene, as with the file microphone."""

    def played_s(self, processes: Sequence[Process]) -> float:
        """Return how many seconds of the scene were read, and supply the next if needed.

        Args:
            processes: hear and its children.
        """

    def close(self) -> None:
        """Stop playing; may be repeated."""


def explain_unavailable() -> str:
    """Return what this machine lacks for the virtual device, or an empty string."""
    if importlib.util.find_spec("sounddevice") is None:
        return "the package sounddevice is not installed"
    if ctypes.util.find_library("portaudio") is None:
        return "PortAudio is not installed (apt install libportaudio2)"
    if not _SYSTEM.exists():
        return "ALSA has no configuration (apt install libasound2-data)"
    return ""


class AlsaSource:
    """Virtual ALSA device, opened by hear's microphone process. See `AudioSource`."""

    name = "device"
    is_scripted = False
    lag_s = 0.3
    """Seconds that ALSA, PortAudio and the pipe to hear may buffer."""

    def __init__(self, folder: Path, sound: Samples) -> None:
        """Create the FIFO and ALSA's configuration.

        Args:
            folder: for both files.
            sound: audio of the scene; int16, shape (n,).
        """
        self._fifo = folder / "microphone"
        self._config = folder / "asound.conf"
        self._config.write_text(_configuration(self._fifo), "utf-8")
        os.mkfifo(self._fifo)
        # Opened for reading and writing, so that it never blocks and has no end of file.
        self._file = os.open(self._fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._sound = sound.tobytes()
        self._written_bytes = 0
        self._due_s: float | None = None

    @property
    def arguments(self) -> Sequence[str]:
        """See `AudioSource`."""
        return ["--device", _NAME]

    @property
    def environ(self) -> Mapping[str, str]:
        """See `AudioSource`."""
        return {"ALSA_CONFIG_PATH": str(self._config)}

    def played_s(self, processes: Sequence[Process]) -> float:
        """Write the next chunk when it is due; return how many seconds were read."""
        if not has_open(processes, self._fifo):
            if (left_bytes := self._waiting_bytes()) % _CHUNK_BYTES:
                os.read(self._file, left_bytes)  # The reader was killed in the middle of a chunk.
            self._due_s = None  # The scene pauses until a process opens the device.
        elif not self._waiting_bytes():
            self._write_when_due()
        return (self._written_bytes - self._waiting_bytes()) / 2 / SAMPLE_RATE_HZ

    def _write_when_due(self) -> None:
        now_s = time.monotonic()
        due_s = now_s if self._due_s is None else self._due_s
        if now_s < due_s or self._written_bytes >= len(self._sound):
            return
        end_byte = self._written_bytes + _CHUNK_BYTES
        chunk = self._sound[self._written_bytes : end_byte]
        os.write(self._file, chunk.ljust(_CHUNK_BYTES, b"\1"))
        self._written_bytes = end_byte
        # After a pause the audio continues in real time; it does not catch up.
        self._due_s = max(due_s, now_s - _CHUNK_S) + _CHUNK_S

    def close(self) -> None:
        """Close the FIFO; may be repeated."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _waiting_bytes(self) -> int:
        answer = fcntl.ioctl(self._file, termios.FIONREAD, bytes(4))
        return int(struct.unpack("i", answer)[0])


class RecordingSource:
    """File microphone, in real time. See `AudioSource`."""

    lag_s = 0.0
    is_scripted = True

    def __init__(self, sound: Path, scene: WatermarkScene, name: str = "recording") -> None:
        """Take the mute times from the scene; opens nothing.

        Args:
            sound: the scene as a WAV file.
            scene: gives the times of mute.
            name: of the source.
        """
        self.name = name
        self._sound = sound
        mutes = [(scene.mute_s, scene.unmute_s)]
        if scene.second_mute_s is not None:
            mutes.append((scene.second_mute_s, scene.length_s + 1))
        self._mute = ",".join(f"{begin_s:.3f}-{end_s:.3f}" for begin_s, end_s in mutes)
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
        """Return the position in the file from the kernel, exact on a slow machine too."""
        read_bytes = read_position_bytes(processes, self._sound)
        if read_bytes is not None:
            read_samples = max(0, read_bytes - _WAV_HEADER_BYTES) // 2
            self._played_s = max(self._played_s, read_samples / SAMPLE_RATE_HZ)
        return self._played_s

    def close(self) -> None:
        """Do nothing; hear reads the file itself."""


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
