"""Output of samples through PortAudio, in pieces short enough to stop at once.

Blocking writes, never a callback, for the reason given in `listener.hear.microphone.process`. The
loudspeaker is open only while something sounds.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np

from listener.audio.pcm import Samples

PortAudioModule: TypeAlias = Any
"""The module sounddevice, which has no type annotations; or a fake of it."""
OutputStream: TypeAlias = Any
"""An output stream of sounddevice."""

PIECE_S: Final = 0.02
"""Time between two questions whether the sound may continue, in seconds."""
LATENCY_S: Final = 0.06
"""Requested length of the driver's buffer, in seconds; an abort discards it."""
LONGEST_LATENCY_S: Final = 0.5
OTHER_RATES_HZ: Final = (48_000, 44_100)
"""Rates to try where the card does not support that of the sound."""
_FULL_SCALE: Final = float(1 << 15)


class LoudspeakerError(Exception):
    """The loudspeaker cannot be opened, or failed."""


class Loudspeaker:
    """The loudspeaker of this device. For one thread.

    Args:
        portaudio: the sounddevice module.
        device: index or part of a name; empty for the default.
        volume: factor for all samples, above 0 to 1.
    """

    def __init__(self, portaudio: PortAudioModule, device: str, volume: float) -> None:
        self._portaudio: Final = portaudio
        self._device: Final = int(device) if device.isdecimal() else device or None
        self._volume: Final = volume

    def play(self, samples: Samples, rate_hz: int, may_continue: Callable[[], bool]) -> bool:
        """Play samples to their end, or until they may not continue; overwrite every copy.

        Args:
            samples: int16, shape (n,), mono; not changed.
            rate_hz: sample rate.
            may_continue: asked before each piece of `PIECE_S`; after False nothing more sounds.

        Returns:
            Whether it was played to its end.

        Raises:
            LoudspeakerError: the loudspeaker cannot be opened, or failed.
        """
        stream, channels = self._open(rate_hz)
        scaled = _prepare(samples, rate_hz, round(stream.samplerate), self._volume)
        try:
            return self._write(stream, channels, scaled, may_continue)
        except self._portaudio.PortAudioError as error:
            raise LoudspeakerError(str(error)) from error
        finally:
            scaled[:] = 0
            # An abort discards the driver's buffer; stop would play it to its end.
            for end in (stream.abort, stream.close):
                try:
                    end()
                except self._portaudio.PortAudioError:
                    continue

    def _open(self, rate_hz: int) -> tuple[OutputStream, int]:
        """Return a running stream and its number of channels."""
        for rate in dict.fromkeys((rate_hz, *OTHER_RATES_HZ)):
            for channels in (1, 2):  # a card without conversion may have no mono
                try:
                    stream = self._portaudio.RawOutputStream(
                        samplerate=rate,
                        channels=channels,
                        dtype="int16",
                        device=self._device,
                        latency=LATENCY_S,
                    )
                    stream.start()
                except (self._portaudio.PortAudioError, ValueError):  # ValueError: no such device
                    continue
                return stream, channels
        raise LoudspeakerError("the loudspeaker cannot be opened")

    def _write(
        self,
        stream: OutputStream,
        channels: int,
        samples: Samples,
        may_continue: Callable[[], bool],
    ) -> bool:
        rate_hz = round(stream.samplerate)
        piece_samples = round(PIECE_S * rate_hz)
        # Silence behind the sound, so that its end has left the driver's buffer before the abort.
        silence = round(min(max(stream.latency, PIECE_S), LONGEST_LATENCY_S) * rate_hz)
        for at in range(0, len(samples) + silence, piece_samples):
            if not may_continue():
                return False
            piece = np.zeros(piece_samples, np.int16)
            part = samples[at : at + piece_samples]
            piece[: len(part)] = part
            frames = np.repeat(piece, channels)
            stream.write(frames.tobytes())
            piece[:] = 0
            frames[:] = 0
        return True


def _prepare(samples: Samples, from_hz: int, to_hz: int, volume: float) -> Samples:
    """Return the samples at the volume and rate of the stream, in memory of their own."""
    scaled = samples.astype(np.float32)
    scaled *= volume
    if from_hz != to_hz:
        import soxr  # noqa: PLC0415 - needed for a card without conversion only

        resampled = soxr.resample(scaled, from_hz, to_hz)
        scaled[:] = 0
        scaled = resampled
    whole = np.rint(scaled).clip(-_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
    scaled[:] = 0
    return whole
