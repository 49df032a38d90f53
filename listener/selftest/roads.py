"""The ways by which the selftest's sound reaches hear."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.selftest.processes import Process, read_position_bytes
from listener.selftest.scene import WatermarkScene

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
