"""Scene and temporary home of the self-test.

The scene consists of stretches of the watermark, silence, and one spoken wake word. The temporary
home has one keeper and is deleted afterwards.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pyrage
import soundfile

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples
from listener.config import ClipSettings
from listener.envelope import keys
from listener.envelope.format import format_timestamp
from listener.inference.speaker_embedding import SpeakerEmbedding
from listener.selftest.assist import FakeAssist
from listener.selftest.watermark import BLOCK_SAMPLES, Watermark
from listener.storage.home import Home
from listener.storage.voiceprints import VoiceprintStore
from listener.voiceprint.record import Voiceprint, encode_vector

KEEPER: Final = "selftest"
WORD: Final = "alexa"
CLIP_S: Final = 2.0
"""Seconds of watermark after the word. It is not speech, so the clip ends at its greatest length; a
clip that ended without speech would have no command copy."""
MARGIN_S: Final = 3 * FRAME_SAMPLES / SAMPLE_RATE_HZ
"""Three frames: one being read, one being scored, one in the microphone process."""

_SETTLE_S: Final = 0.5
_CHECK_S: Final = 3.0
"""Seconds from a check to the next watermark. The scene goes on, and a busy machine takes the copy
of memory late; it must not contain what is played by then."""
_MUTE_AFTER_S: Final = 0.8
_MUTE_S: Final = 1.6
_MUTED_PLAY_S: Final = 0.2
_BEFORE_WORD_S: Final = 1.0
_AFTER_S: Final = 15.0
"""Seconds from the last check to the end of the scene, at which hear ends. The scene goes on while
memory is searched, which takes long on a loaded machine."""
_FAINT: Final = 3
"""Amplitude of the noise in silence; a device that gives only zeros counts as broken."""
_ANSWER: Final = "yes"
# No server uses the discard port: send tries to connect, and its calls are traced.
_CONFIG: Final = f"""\
device.name = "selftest"
wake.words = ["{WORD}"]
clip.ring_s = {{ring_s}}
clip.post_roll_s = 2.0
clip.no_speech_s = {CLIP_S + 1.0}
clip.longest_s = {CLIP_S}
clip.provisional_parts = {{parts}}
mute.switch = "none"
broker.host = "127.0.0.1"
broker.port = 9
"""
_VOICE_CONFIG: Final = """\
clip.speech_threshold = 1e-9
attribution.mode = "keeper-voice"
attribution.threshold = 0.1
attribution.bystanders = "keep"
"""
_UNTIL_SECOND_MUTE_S: Final = 8.0
"""Seconds from the check after the clip to a second mute, which a busy machine may take."""


@dataclass(frozen=True, slots=True)
class WatermarkScene:
    """Audio of a run and the times of its checks, in seconds from the beginning."""

    samples: Samples
    """int16, shape (n,)."""
    full_s: float
    """The watermark has been played for longer than the ring."""
    forgotten_s: float
    """The watermark has been over for one ring length."""
    mute_s: float
    """Mute begins, during the watermark."""
    muted_s: float
    """Mute has lasted long enough that no frame is in flight."""
    unmute_s: float
    """Mute ends."""
    sealed_s: float
    """The clip after the word has been over for one ring length."""
    second_mute_s: float | None = None
    """A second mute begins, which lasts to the end; None without one."""

    @property
    def length_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class TemporaryHome:
    """Folder of a run, with the home and the configuration in it."""

    folder: Path
    home: Path
    config: Path
    """Configuration file."""
    assist: FakeAssist
    """Assist that the keeper allowed."""

    def enrol(self, samples: Samples) -> None:
        """Enrol the keeper with a sound, and attribute clips by it from the next start of hear on.

        Everything counts as speech then, so that the sound is embedded like speech.

        Args:
            samples: int16, shape (n,), at least 1.5 s.

        Raises:
            ModelRefused: the embedding model cannot be loaded.
        """
        home = Home(self.home)
        key = home.device_key()
        network = SpeakerEmbedding.load()
        voiceprint = Voiceprint(
            owner=KEEPER,
            okey=home.roster().known_owner(KEEPER).okey,
            device=keys.device_text(key.public_key()),
            model=network.model_sha256,
            vector=encode_vector(network.embed(samples)),
            threshold=0.0,
            sentences=1,
            speech_s=len(samples) / SAMPLE_RATE_HZ,
            t=format_timestamp(datetime.now(UTC)),
        )
        VoiceprintStore(self.home).write(voiceprint, key)
        self.config.write_text(self.config.read_text("utf-8") + _VOICE_CONFIG, "utf-8")

    def write_sound(self, name: str, samples: Samples) -> Path:
        """Write a 16-bit WAV file beside the home and return its path.

        Args:
            name: of the file.
            samples: int16, shape (n,).
        """
        path = self.folder / name
        soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="PCM_16")
        return path

    def files(self) -> tuple[Path, ...]:
        """Return all files in the home."""
        return tuple(path for path in sorted(self.home.rglob("*")) if path.is_file())


def compose(
    watermark: Watermark,
    word: Samples,
    ring_s: float,
    clip_s: float,
    *,
    mutes_twice: bool = False,
) -> WatermarkScene:
    """Compose the scene.

    Args:
        watermark: the signal.
        word: the spoken wake word; int16, shape (n,). After further speech, a provisional part is
            due in the watermark, which is not speech.
        ring_s: length of hear's ring in seconds.
        clip_s: seconds of watermark after the word.
        mutes_twice: whether it ends with a mute.
    """
    generator = np.random.default_rng(0)
    parts: list[Samples] = []
    blocks = 0

    def now_s() -> float:
        return sum(map(len, parts)) / SAMPLE_RATE_HZ

    def add_silence(length_s: float) -> None:
        length = round(length_s * SAMPLE_RATE_HZ)
        parts.append(generator.integers(-_FAINT, _FAINT, length, np.int16, endpoint=True))

    def add_watermark(length_s: float) -> None:
        nonlocal blocks
        first, blocks = blocks, blocks + round(length_s * SAMPLE_RATE_HZ) // BLOCK_SAMPLES
        parts.append(watermark.signal(first, blocks))

    add_watermark(ring_s + _SETTLE_S)
    full_s = now_s()
    forgotten_s = full_s + ring_s + MARGIN_S
    add_silence(ring_s + MARGIN_S + _CHECK_S)
    mute_s = now_s() + _MUTE_AFTER_S
    add_watermark(_MUTE_AFTER_S + _MUTED_PLAY_S)
    unmute_s = mute_s + _MUTE_S
    add_silence(_MUTE_S - _MUTED_PLAY_S + _BEFORE_WORD_S)
    parts.append(word)
    add_watermark(clip_s)
    sealed_s = now_s() + ring_s + MARGIN_S
    second_mute_s = sealed_s + _UNTIL_SECOND_MUTE_S if mutes_twice else None
    add_silence(ring_s + MARGIN_S + _AFTER_S + (_UNTIL_SECOND_MUTE_S if mutes_twice else 0))
    return WatermarkScene(
        samples=np.concatenate(parts),
        full_s=full_s - MARGIN_S,
        forgotten_s=forgotten_s,
        mute_s=mute_s,
        muted_s=mute_s + _MUTED_PLAY_S + MARGIN_S,
        unmute_s=unmute_s,
        sealed_s=sealed_s,
        second_mute_s=second_mute_s,
    )


def set_up(folder: Path, clip: ClipSettings) -> TemporaryHome:
    """Create a home with a keeper whose key is confirmed; the secret key is discarded at once.

    Args:
        folder: an empty folder.
        clip: the device's clip settings; `ring_s` and `provisional_parts` are used.
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
    config = folder / "earmark.toml"
    config.write_text(
        _CONFIG.format(ring_s=clip.ring_s, parts=str(clip.provisional_parts).lower()), "utf-8"
    )
    return TemporaryHome(folder, home.path, config, FakeAssist(home.path, KEEPER))
