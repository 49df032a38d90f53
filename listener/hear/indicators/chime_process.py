"""Chime process: ``python -m listener.hear.indicators.chime_process`` plays one tone on request.

It does not open a microphone. Each byte on standard input requests the tone; one byte on standard
output answers it: ``PLAYED`` after the end of the tone, or ``FAILED``. Blocking writes, never a
callback, for the reason given in `listener.hear.microphone.process`.
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
_FULL_SCALE: Final = 32_767


def main(argv: Sequence[str] | None = None) -> int:
    """Play on each request until standard input ends; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m listener.hear.indicators.chime_process", description=__doc__
    )
    parser.add_argument("--device", default="", help="default, an index or part of a name")
    parser.add_argument("--volume", type=float, required=True, help="above 0, to 1")
    parser.add_argument("--parent", type=int, required=True, help="exit when this process id exits")
    arguments = parser.parse_args(argv)
    pipe = harden(arguments.parent)
    try:
        portaudio = load_portaudio()
    except (Unavailable, ModuleNotFoundError):
        portaudio = None
    while os.read(sys.stdin.fileno(), 1):
        was_played = portaudio is not None and play_chime(
            portaudio, arguments.device, arguments.volume
        )
        os.write(pipe, PLAYED if was_played else FAILED)
    return 0


def synthesize_chime(rate_hz: int, volume: float) -> bytes:
    """Return two short rising notes.

    Args:
        rate_hz: sample rate.
        volume: amplitude relative to full scale, above 0 to 1.

    Returns:
        Mono int16 samples in native byte order.
    """
    samples = array.array("h")
    length = round(_NOTE_S * rate_hz)
    fade = _FADE_S * rate_hz
    for note_hz in _NOTES_HZ:
        for index in range(length):
            envelope = min(1.0, index / fade, (length - index) / fade)
            wave = math.sin(2 * math.pi * note_hz * index / rate_hz)
            samples.append(round(volume * _FULL_SCALE * envelope * wave))
    return samples.tobytes()


def play_chime(portaudio: PortAudio, device: str, volume: float) -> bool:
    """Play the tone to its end; return whether that succeeded.

    The loudspeaker is open only while the tone plays.

    Args:
        portaudio: the sounddevice module.
        device: index or part of a name; empty for the default.
        volume: amplitude relative to full scale, above 0 to 1.
    """
    for rate_hz in RATES_HZ:
        try:
            with portaudio.RawOutputStream(
                samplerate=rate_hz, channels=1, dtype="int16", device=_find_device(device)
            ) as stream:
                stream.write(synthesize_chime(rate_hz, volume))
                stream.stop()  # once the last sample has been played
        except (portaudio.PortAudioError, ValueError):  # ValueError: no such device
            continue
        return True
    return False


def _find_device(device: str) -> str | int | None:
    return int(device) if device.isdigit() else device or None


if __name__ == "__main__":
    sys.exit(main())
