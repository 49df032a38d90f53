"""A place to play in: a home of its own with one keeper, thrown away afterwards."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyrage
import soundfile

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.config import ClipSettings
from listener.storage.home import Home

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
