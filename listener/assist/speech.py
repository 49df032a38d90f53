"""Spoken replies: text to sound, by Home Assistant or by a program of this computer.

The text goes to the program's standard input and the sound comes from its standard output, so that
neither is in a list of processes or in a file.
"""

import logging
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from listener.audio.pcm import Samples
from listener.audio.tones import RING_PAUSE_S, synthesize_ring
from listener.errors import Unavailable
from listener.voice.limits import LONGEST_REPLY_MS

LONGEST_TEXT: Final = 300
"""Characters of a text that is spoken; longer ones are cut."""
GATE_TAIL_S: Final = 0.4
"""Time after a sound in which the speaker's microphone gate is still closed."""
_RING_HZ: Final = 16_000
RING_VOLUME: Final = 0.5
_SPEAK_S: Final = 10.0
_LEAST_HZ: Final = 8_000
_MOST_HZ: Final = 48_000
_PCM: Final = (1, 0xFFFE)
_BITS: Final = 16

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReplySound:
    """Sound to be played at a speaker."""

    samples: Samples
    """int16, shape (n,), mono, at most 30 s."""
    rate_hz: int


class SpeechEngine(Protocol):
    """Text to speech."""

    def speak(self, text: str) -> bytes:
        """Return a WAV file of a text.

        Raises:
            Unavailable: there is no voice, or it failed.
        """


class ProgramVoice:
    """Speech of espeak-ng.

    Args:
        language: language of the text.
    """

    def __init__(self, language: str) -> None:
        self._language = language

    def speak(self, text: str) -> bytes:
        """Return a WAV file of a text; see `SpeechEngine`.

        Raises:
            Unavailable: it is not installed, or it failed.
        """
        try:
            done = subprocess.run(  # noqa: S603 - a list without a shell; the text goes to standard input
                find_program(self._language),
                input=text.encode(),
                capture_output=True,
                timeout=_SPEAK_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable("espeak-ng failed") from error
        if done.returncode:
            raise Unavailable("espeak-ng failed")
        return done.stdout


def find_program(language: str) -> list[str]:
    """Return the command that speaks: text on its input, WAV on its output.

    flite cannot be used: it writes the header last, over the beginning of a file.

    Raises:
        Unavailable: it is not installed.
    """
    if (espeak := shutil.which("espeak-ng")) is not None:
        return [espeak, "--stdin", "--stdout", "-v", language]
    raise Unavailable("espeak-ng is not installed", "apt install espeak-ng")


def speak(text: str, voices: Sequence[SpeechEngine]) -> ReplySound | None:
    """Return the sound of a text by the first voice that works, or None without one."""
    for voice in voices:
        try:
            return parse_wav(voice.speak(text[:LONGEST_TEXT]))
        except (Unavailable, ValueError) as error:
            _log.info("a voice failed: %s", error if isinstance(error, Unavailable) else "format")
    return None


def with_ring(sound: ReplySound | None) -> ReplySound:
    """Return a sound, or nothing, with the ring of a timer behind it, of 30 s at most together."""
    rate_hz = sound.rate_hz if sound is not None else _RING_HZ
    pause = np.zeros(round((RING_PAUSE_S + GATE_TAIL_S) * rate_hz), np.int16)
    before = np.concatenate([sound.samples, pause]) if sound is not None else pause[:0]
    longest = LONGEST_REPLY_MS * rate_hz // 1000
    length_s = (longest - len(before)) / rate_hz
    ring = synthesize_ring(rate_hz, length_s, GATE_TAIL_S, RING_VOLUME)
    return ReplySound(np.concatenate([before, ring])[:longest], rate_hz)


def parse_wav(data: bytes) -> ReplySound:
    """Return the sound of a WAV file of 16 bits; several channels are averaged.

    A length in the header that is longer than the file is taken as its end: programs that write to
    a pipe do not know the length before.

    Raises:
        ValueError: it is not such a file, or it has no sound.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("not a WAV file")
    at, channels, rate_hz = 12, 0, 0
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = at + 8
        if kind == b"fmt ":
            form, channels = (int.from_bytes(data[i : i + 2], "little") for i in (body, body + 2))
            rate_hz = int.from_bytes(data[body + 4 : body + 8], "little")
            bits = int.from_bytes(data[body + 14 : body + 16], "little")
            if form not in _PCM or bits != _BITS or channels not in {1, 2}:
                raise ValueError("not PCM of 16 bits")
        elif kind == b"data":
            if not _LEAST_HZ <= rate_hz <= _MOST_HZ:
                raise ValueError("an unusual sample rate")
            most = rate_hz * LONGEST_REPLY_MS // 1000
            end = min(body + size, len(data), body + most * 2 * channels)
            end -= (end - body) % (2 * channels)
            samples = np.frombuffer(data, "<i2", (end - body) // 2, body).reshape(-1, channels)
            if not len(samples):
                break
            return ReplySound(samples.mean(1).astype(np.int16), rate_hz)
        at = body + size + size % 2
    raise ValueError("no sound")
