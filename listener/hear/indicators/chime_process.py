"""Chime process: ``python -m listener.hear.indicators.chime_process`` plays one tone on request.

And nothing else: it opens no microphone, and is told nothing but when. Each byte on standard input
asks for the tone, and once it has been played a byte on standard output says so. Blocking writes,
for the reason that `capture` has.
"""

import argparse
import array
import math
import os
import sys
from collections.abc import Sequence
from typing import Final

from listener.errors import Unavailable
from listener.hear.child_process import harden
from listener.hear.microphone.devices import PortAudio, load_portaudio

RATES_HZ: Final = (48_000, 44_100, 16_000)
PLAYED: Final = b"."
FAILED: Final = b"!"

_NOTES_HZ: Final = (880.0, 1318.5)
_NOTE_S: Final = 0.09
_FADE_S: Final = 0.01
_FULL: Final = 32_767


def main(argv: Sequence[str] | None = None) -> int:
    """Play whenever told to, until nobody can tell any more; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m listener.hear.indicators.chime_process", description=__doc__
    )
    parser.add_argument("--device", default="", help="default, an index or part of a name")
    parser.add_argument("--volume", type=float, required=True, help="above 0, to 1")
    parser.add_argument("--parent", type=int, required=True, help="its end is ours")
    arguments = parser.parse_args(argv)
    pipe = harden(arguments.parent)
    try:
        sound = load_portaudio()
    except (Unavailable, ModuleNotFoundError):
        sound = None
    while os.read(sys.stdin.fileno(), 1):
        was_played = sound is not None and play_chime(sound, arguments.device, arguments.volume)
        os.write(pipe, PLAYED if was_played else FAILED)
    return 0


def synthesize_chime(rate_hz: int, volume: float) -> bytes:
    """Return two short notes that go up.

    Args:
        rate_hz: of the samples.
        volume: of full scale.

    Returns:
        int16, mono.
    """
    samples = array.array("h")
    length = round(_NOTE_S * rate_hz)
    fade = _FADE_S * rate_hz
    for note_hz in _NOTES_HZ:
        for at in range(length):
            envelope = min(1.0, at / fade, (length - at) / fade)
            wave = math.sin(2 * math.pi * note_hz * at / rate_hz)
            samples.append(round(volume * _FULL * envelope * wave))
    return samples.tobytes()


def play_chime(
    sound: PortAudio,
    device: str,
    volume: float,
) -> bool:
    """Play the tone to its end; say whether that could be done.

    The loudspeaker is held only as long as it sounds.
    """
    for rate_hz in RATES_HZ:
        try:
            with sound.RawOutputStream(
                samplerate=rate_hz, channels=1, dtype="int16", device=_find_device(device)
            ) as stream:
                stream.write(synthesize_chime(rate_hz, volume))
                stream.stop()  # once the last sample has been played
        except (sound.PortAudioError, ValueError):  # ValueError: no such device
            continue
        return True
    return False


def _find_device(device: str) -> str | int | None:
    return int(device) if device.isdigit() else device or None


if __name__ == "__main__":
    sys.exit(main())
