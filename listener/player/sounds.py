"""Built-in sounds, synthesised. Each outcome has a shape of its own, by pitch and by rhythm."""

from collections.abc import Mapping
from typing import Final

from listener.audio.pcm import Samples
from listener.audio.tones import synthesize_notes
from listener.ipc.player_state import SoundName

BUILT_IN_RATE_HZ: Final = 16_000

_NOTES: Final[Mapping[SoundName, tuple[tuple[float, float], ...]]] = {
    "wake": ((880.0, 0.09), (1318.5, 0.09)),
    "done": ((1046.5, 0.08), (1568.0, 0.16)),
    "failed": ((440.0, 0.16), (311.1, 0.28)),
    "not-understood": ((587.3, 0.1), (0.0, 0.06), (587.3, 0.1), (0.0, 0.06), (698.5, 0.2)),
    "late": ((392.0, 0.45), (0.0, 0.08), (392.0, 0.12)),
    "unknown": ((523.3, 0.12), (659.3, 0.12), (523.3, 0.24)),
    "refused": ((311.1, 0.12), (0.0, 0.06), (311.1, 0.12), (0.0, 0.06), (311.1, 0.12)),
    "consent": ((659.3, 0.14), (830.6, 0.14), (987.8, 0.14), (1318.5, 0.4)),
}


def synthesize_sound(sound: SoundName) -> Samples:
    """Return a built-in sound at full scale, at `BUILT_IN_RATE_HZ`; int16, shape (n,), mono."""
    return synthesize_notes(_NOTES[sound], BUILT_IN_RATE_HZ)
