"""Audio files that are cut, unfinished, tagged or joined, made for the tests."""

import io
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.storage import mpeg_audio

KINDS = {
    "wav": ("WAV", "PCM_16"),
    "extensible.wav": ("WAVEX", "PCM_24"),
    "float.wav": ("WAV", "FLOAT"),
    "adpcm.wav": ("WAV", "IMA_ADPCM"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "nist": ("NIST", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
"""Format and codec by the end of a file's name."""


def speech_like(seconds: float = 3.0, rate_hz: int = SAMPLE_RATE_HZ) -> NDArray[np.float64]:
    """Return tones with noise whose level changes, so that bit rates vary."""
    at = np.arange(int(seconds * rate_hz)) / rate_hz
    noise = np.random.default_rng(5).normal(0, 0.05, len(at))
    level = 0.5 + 0.5 * np.sin(2 * np.pi * 1.7 * at)
    sound: NDArray[np.float64] = level * (0.3 * np.sin(2 * np.pi * (200 + 150 * at) * at) + noise)
    return sound


def encode(kind: str, seconds: float = 3.0) -> bytes:
    """Return a whole file of one of the ``KINDS``."""
    container, codec = KINDS[kind]
    stream = io.BytesIO()
    soundfile.write(stream, speech_like(seconds), SAMPLE_RATE_HZ, format=container, subtype=codec)
    return stream.getvalue()


def encode_mp3(mode: str, rate_hz: int = SAMPLE_RATE_HZ, seconds: float = 3.0) -> bytes:
    """Return an MP3 file with a Xing or Info header.

    Args:
        mode: CONSTANT, AVERAGE or VARIABLE bit rate.
        rate_hz: sample rate.
        seconds: length.
    """
    stream = io.BytesIO()
    soundfile.write(
        stream,
        speech_like(seconds, rate_hz),
        rate_hz,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode=mode,
        compression_level=0.5,
    )
    return stream.getvalue()


def without_header(mp3: bytes) -> bytes:
    """Return the audio frames of an MP3 file alone, as a streaming encoder writes them."""
    found = mpeg_audio.scan(io.BytesIO(mp3))
    assert found is not None
    ((start, length),) = found.runs
    return mp3[start : start + length]


def id3v2_picture() -> bytes:
    """Return an ID3v2 tag of 80 kB, full of what looks like frame headers."""
    return b"ID3\x04\0\0" + bytes([0, 5, 0, 0]) + b"\xff\xfb\x90\xc4" * (5 * 128 * 128 // 4)


def ape_tag(*, has_header: bool) -> bytes:
    """Return an APEv2 tag, or an APEv1 tag, which has only a footer."""
    items = b"\x10\0\0\0\0\0\0\0Title\0" + b"\xff\xfb" * 8
    length = (len(items) + 32).to_bytes(4, "little")
    version = (2000 if has_header else 1000).to_bytes(4, "little")
    start = b"APETAGEX" + version + length + (1).to_bytes(4, "little")
    header = start + (0xA000_0000).to_bytes(4, "little") + bytes(8) if has_header else b""
    flags = 0x8000_0000 if has_header else 0
    return header + items + start + flags.to_bytes(4, "little") + bytes(8)


def write(folder: Path, name: str, content: bytes) -> Path:
    """Write a file; return its path."""
    path = folder / name
    path.write_bytes(content)
    return path
