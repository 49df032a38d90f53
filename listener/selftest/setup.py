"""What the selftest plays: stretches of the watermark, silence, and one spoken wake word.

A place to play in: a home of its own with one keeper, thrown away afterwards.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyrage
import soundfile

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples
from listener.config import ClipSettings
from listener.selftest.watermark import BLOCK_SAMPLES, Watermark
from listener.storage.home import Home

MARGIN_S: Final = 3 * FRAME_SAMPLES / SAMPLE_RATE_HZ
"""A frame is read, one is being judged, one is what the microphone may hold back."""

_SETTLE_S: Final = 0.5
_MUTE_AFTER_S: Final = 0.8
_MUTE_S: Final = 1.6
_MUTED_PLAY_S: Final = 0.2
_BEFORE_WORD_S: Final = 1.0
_AFTER_S: Final = 5.0
"""A busy machine may take as long from the last moment until it looks; hear ends with the sound."""
_FAINT: Final = 3
"""Silence has a bit of noise: a device that gives nothing but zeros counts as broken."""


@dataclass(frozen=True, slots=True)
class WatermarkScene:
    """The sound, and when to look, in seconds from its beginning."""

    samples: Samples
    """int16, shape (n,)."""
    full_s: float
    """The watermark has been played for longer than the ring."""
    forgotten_s: float
    """It has been over for the ring's length."""
    mute_s: float
    """The switch is thrown, in the midst of the watermark."""
    muted_s: float
    """It has been thrown for long enough that nothing is in flight."""
    unmute_s: float
    """The switch is released."""
    sealed_s: float
    """The clip after the word has been over for the ring's length."""

    @property
    def length_s(self) -> float:
        """How long all of it takes."""
        return len(self.samples) / SAMPLE_RATE_HZ


def compose(watermark: Watermark, word: Samples, ring_s: float, clip_s: float) -> WatermarkScene:
    """Lay out the scene.

    Args:
        watermark: the signal.
        word: somebody says the wake word; int16, shape (n,).
        ring_s: how long sound may exist.
        clip_s: how much watermark follows the word.
    """
    chance = np.random.default_rng(0)
    parts: list[Samples] = []
    blocks = 0

    def now_s() -> float:
        return sum(map(len, parts)) / SAMPLE_RATE_HZ

    def be_silent(length_s: float) -> None:
        length = round(length_s * SAMPLE_RATE_HZ)
        parts.append(chance.integers(-_FAINT, _FAINT, length, np.int16, endpoint=True))

    def mark(length_s: float) -> None:
        nonlocal blocks
        first, blocks = blocks, blocks + round(length_s * SAMPLE_RATE_HZ) // BLOCK_SAMPLES
        parts.append(watermark.signal(first, blocks))

    mark(ring_s + _SETTLE_S)
    full_s = now_s()
    forgotten_s = full_s + ring_s + MARGIN_S
    be_silent(ring_s + MARGIN_S + _SETTLE_S)
    mute_s = now_s() + _MUTE_AFTER_S
    mark(_MUTE_AFTER_S + _MUTED_PLAY_S)
    unmute_s = mute_s + _MUTE_S
    be_silent(_MUTE_S - _MUTED_PLAY_S + _BEFORE_WORD_S)
    parts.append(word)
    mark(clip_s)
    sealed_s = now_s() + ring_s + MARGIN_S
    be_silent(ring_s + MARGIN_S + _AFTER_S)
    return WatermarkScene(
        samples=np.concatenate(parts),
        full_s=full_s - MARGIN_S,
        forgotten_s=forgotten_s,
        mute_s=mute_s,
        muted_s=mute_s + _MUTED_PLAY_S + MARGIN_S,
        unmute_s=unmute_s,
        sealed_s=sealed_s,
    )


KEEPER: Final = "selftest"
WORD: Final = "alexa"
CLIP_S: Final = 2.0
"""How much noise follows the word; it is no speech, so hear waits for some, and keeps the noise."""

_ANSWER: Final = "yes"
# Nobody listens on the discard port of this machine: send tries, and what it would send is traced.
_SETTINGS: Final = f"""\
device.name = "selftest"
wake.words = ["{WORD}"]
clip.ring_s = {{ring_s}}
clip.post_roll_s = 2.0
clip.no_speech_s = {CLIP_S - 0.5}
mute.switch = "none"
broker.host = "127.0.0.1"
broker.port = 9
"""


@dataclass(frozen=True, slots=True)
class TemporaryHome:
    """What a run needs on the disk."""

    folder: Path
    home: Path
    settings: Path
    """A configuration."""

    def write_sound(self, name: str, samples: Samples) -> Path:
        """Write a WAV file beside the home, which programs read as it is, and return its path."""
        path = self.folder / name
        soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="PCM_16")
        return path

    def files(self) -> tuple[Path, ...]:
        """Return all that stands in the home."""
        return tuple(path for path in sorted(self.home.rglob("*")) if path.is_file())


def set_up(folder: Path, clip: ClipSettings) -> TemporaryHome:
    """Make a home whose keeper has proved her key; the private half is thrown away at once.

    Args:
        folder: an empty one.
        clip: the device's settings, of which the ring's length is taken over.
    """
    folder = folder.resolve()  # as /proc shows it
    home = Home(folder / "home")
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    now_s = int(time.time())
    home.change_roster(
        lambda roster: (
            roster.with_owner(KEEPER, recipient)
            .with_challenge(KEEPER, _ANSWER, now_s)
            .with_confirmation(KEEPER, _ANSWER, now_s)
        )
    )
    settings = folder / "earmark.toml"
    settings.write_text(_SETTINGS.format(ring_s=clip.ring_s), "utf-8")
    return TemporaryHome(folder, home.path, settings)
