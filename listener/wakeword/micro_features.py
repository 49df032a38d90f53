"""Features of microWakeWord from audio, equal to those of TensorFlow Lite Micro's audio front end.

A frame covers 480 samples and comes every 160 samples (10 ms); it gives 40 numbers, one for each
band from 125 to 7500 Hz: a transform of 512 points in 16-bit arithmetic, the square root of the
power in triangular bands, minus an estimate of the steady noise, divided by that noise
("per-channel amplitude normalisation", PCAN), and a logarithm. The arithmetic is that of the
original, in integers, so that every number is the same: quiet bands have few bits, and a different
rounding would change them. Source: ``tensorflow/lite/experimental/microfrontend`` and its 16-bit
kissfft, with the settings of microWakeWord.
"""

from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from listener.audio.pcm import Samples

Whole = NDArray[np.int32]
Long = NDArray[np.int64]

CHANNELS: Final = 40
FRAME_SAMPLES: Final = 480
STRIDE_SAMPLES: Final = 160
TRANSFORM_SAMPLES: Final = 512
FEATURE_SCALE: Final = 0.0390625
"""What a feature is multiplied by before a network takes it."""

_POINTS: Final = TRANSFORM_SAMPLES // 2  # of the complex transform that two real ones share
_RADIX: Final = 4
_LARGEST: Final = 32_767
_HALF: Final = 1 << 14
_FRACTION_BITS: Final = 15
_WINDOW_BITS: Final = 12

_NOISE_BITS: Final = 10
_SMOOTHING_BITS: Final = 14
_SMOOTHING: Final = (0.025, 0.06)  # of even and odd channels
_LEAST_SIGNAL: Final = 0.05

_CORRECTION_BITS: Final = 3  # of the transform's length against the bits of the filters
_GAIN_BITS: Final = 21
_GAIN_STRENGTH: Final = 0.95
_GAIN_OFFSET: Final = 80.0
_RATIO_BITS: Final = 12
_RATIO_SHIFT: Final = _GAIN_BITS - _CORRECTION_BITS - _RATIO_BITS
_RATIO_SQUARE_SHIFT: Final = 20
_RATIO_KNEE: Final = 64

_LOG_BITS: Final = 16
_LOG_SEGMENT_BITS: Final = 7
_LOG_OF_TWO: Final = 45_426  # in units of 2**-16
_LOG_SCALE_BITS: Final = 6
_HIGHEST_FEATURE: Final = 65_535

_INT32_MASK: Final = (1 << 32) - 1


class MicroFeatures:
    """Audio front end of microWakeWord for up to ``longest_frames`` frames at once.

    Buffers of the audio and its spectrum are allocated once. Not safe for use by several threads.
    """

    def __init__(self, filters: NDArray[np.int16], longest_frames: int) -> None:
        """Allocate the buffers.

        Args:
            filters: weights from bins of the spectrum to channels, in units of 2**-12, shape
                (bins, 40); the first bin is that of 0 Hz.
            longest_frames: frames in the longest step.
        """
        bins = len(filters)
        self.longest_frames: Final = longest_frames
        self._filters = filters.astype(np.float64)
        self._window = _window()
        self._order = _digit_reversed()
        self._turns = _turns(-2 * np.pi * np.arange(_POINTS) / _POINTS)
        half = np.arange(_POINTS // 2)
        self._unpack_turns = _turns(-np.pi * ((half + 1) / _POINTS + 0.5))
        self._gains, self._gain_curve = _gains()
        self._logarithms = _logarithms()
        smoothing = [int(np.float32(share) * (1 << _SMOOTHING_BITS)) for share in _SMOOTHING]
        self._smoothing = np.array(smoothing * (CHANNELS // 2), np.int64)
        self._keeping = (1 << _SMOOTHING_BITS) - self._smoothing
        self._least = int(np.float32(_LEAST_SIGNAL) * (1 << _SMOOTHING_BITS))
        frames = longest_frames
        self._samples = np.zeros((frames - 1) * STRIDE_SAMPLES + FRAME_SAMPLES, np.int16)
        stride = self._samples.strides[0]
        self._frames = as_strided(
            self._samples, (frames, FRAME_SAMPLES), (STRIDE_SAMPLES * stride, stride)
        )
        self._wave = np.zeros((frames, TRANSFORM_SAMPLES), np.int32)
        self._real = np.zeros((frames, _POINTS), np.int32)
        self._imaginary = np.zeros((frames, _POINTS), np.int32)
        self._next_real = np.zeros((frames, _POINTS), np.int32)
        self._next_imaginary = np.zeros((frames, _POINTS), np.int32)
        self._parts = np.zeros((12, frames, _POINTS // _RADIX), np.int32)
        self._spectrum = np.zeros((2, frames, _POINTS + 1), np.int32)
        self._power = np.zeros((frames, bins), np.float64)
        self._noise = np.zeros(CHANNELS, np.int64)
        self._noises = np.zeros((frames, CHANNELS), np.int64)

    def restart(self) -> None:
        """Overwrite all audio and features, and start anew."""
        self._noise[:] = 0
        self._wipe()

    def _wipe(self) -> None:
        """Overwrite all audio and spectra; the estimate of the noise stays."""
        for buffer in (
            self._samples,
            self._wave,
            self._real,
            self._imaginary,
            self._next_real,
            self._next_imaginary,
            self._parts,
            self._spectrum,
            self._power,
            self._noises,
        ):
            buffer[...] = 0

    def step(self, samples: Samples) -> Whole:
        """Return the features of the next frames.

        Args:
            samples: int16, shape ((n - 1) * 160 + 480,), n from 1 to ``longest_frames``. The next
                step begins n * 160 samples after the begin of this one.

        Returns:
            int32, shape (n, 40), 0 to 65535. No audio is left in the buffers.
        """
        frames = (len(samples) - FRAME_SAMPLES) // STRIDE_SAMPLES + 1
        self._samples[: len(samples)] = samples
        shift = self._apply_window(frames)
        self._transform(frames)
        power = self._power[:frames]
        bins = power.shape[1]
        real, imaginary = self._spectrum[0, :frames, :bins], self._spectrum[1, :frames, :bins]
        np.multiply(real, real, out=real)
        np.multiply(imaginary, imaginary, out=imaginary)
        np.add(real, imaginary, out=real)
        power[:] = real
        amplitude = _rounded_root(power @ self._filters) >> shift[:, None]
        features = self._logarithm(self._normalise(amplitude))
        self._wipe()
        return features

    def _apply_window(self, frames: int) -> Long:
        """Fill the wave of each frame; return the bits by which it was amplified."""
        wave = self._wave[:frames, :FRAME_SAMPLES]
        np.multiply(self._frames[:frames], self._window, out=wave)
        wave >>= _WINDOW_BITS
        # The original's loudest value is an int16, whose lowest has no positive counterpart.
        loudest = np.maximum(wave.max(axis=1), -np.maximum(wave.min(axis=1), -_LARGEST))
        shift = _FRACTION_BITS - _bit_length(loudest)
        wave <<= shift[:, None].astype(np.int32)
        wave[wave > _LARGEST] -= 1 << 16
        wave[wave < -_LARGEST - 1] += 1 << 16
        return shift

    def _transform(self, frames: int) -> None:
        """Transform the waves; the spectrum is 1/512 of the sum, as kissfft scales it."""
        wave = self._wave[:frames]
        real, imaginary = self._real[:frames], self._imaginary[:frames]
        after = self._next_real[:frames], self._next_imaginary[:frames]
        np.take(wave[:, 0::2], self._order, axis=1, out=real)
        np.take(wave[:, 1::2], self._order, axis=1, out=imaginary)
        length = 1
        while length < _POINTS:
            self._butterflies((real, imaginary), after, length)
            (real, imaginary), after = after, (real, imaginary)
            length *= _RADIX
        self._unpack(real, imaginary, frames)

    def _butterflies(
        self, before: tuple[Whole, Whole], after: tuple[Whole, Whole], length: int
    ) -> None:
        """Combine each four transforms of ``length`` points into one of four times as many."""
        frames = len(before[0])
        groups = _POINTS // (_RADIX * length)
        shape = (frames, groups, _RADIX, length)
        for values in before:
            _divide(values, _RADIX)
        real, imaginary = (values.reshape(shape) for values in before)
        parts = self._parts[:, :frames].reshape(12, frames, groups, length)
        turns = np.arange(length) * groups
        for leg in range(1, _RADIX):
            turn = self._turns[:, leg * turns]
            _rotate(
                (real[:, :, leg], imaginary[:, :, leg]),
                turn,
                (parts[2 * leg - 2], parts[2 * leg - 1]),
                (parts[10], parts[11]),
            )
        first, second, third = (parts[0], parts[1]), (parts[2], parts[3]), (parts[4], parts[5])
        low, high = (parts[6], parts[7]), (parts[8], parts[9])
        new_real, new_imaginary = (values.reshape(shape) for values in after)
        for axis, origin in enumerate((real[:, :, 0], imaginary[:, :, 0])):
            np.add(origin, second[axis], out=low[axis])
            np.subtract(origin, second[axis], out=high[axis])
            np.add(first[axis], third[axis], out=parts[10 + axis])
            np.subtract(first[axis], third[axis], out=second[axis])
        np.add(low[0], parts[10], out=new_real[:, :, 0])
        np.add(low[1], parts[11], out=new_imaginary[:, :, 0])
        np.subtract(low[0], parts[10], out=new_real[:, :, 2])
        np.subtract(low[1], parts[11], out=new_imaginary[:, :, 2])
        np.add(high[0], second[1], out=new_real[:, :, 1])
        np.subtract(high[1], second[0], out=new_imaginary[:, :, 1])
        np.subtract(high[0], second[1], out=new_real[:, :, 3])
        np.add(high[1], second[0], out=new_imaginary[:, :, 3])

    def _unpack(self, real: Whole, imaginary: Whole, frames: int) -> None:
        """Write the spectrum of the real wave from the transform of its even and odd samples."""
        half = _POINTS // 2
        _divide(real, 2)
        _divide(imaginary, 2)
        spectrum_real, spectrum_imaginary = self._spectrum[0, :frames], self._spectrum[1, :frames]
        np.add(real[:, 0], imaginary[:, 0], out=spectrum_real[:, 0])
        np.subtract(real[:, 0], imaginary[:, 0], out=spectrum_real[:, _POINTS])
        spectrum_imaginary[:, 0] = spectrum_imaginary[:, _POINTS] = 0
        up, down = slice(1, half + 1), slice(_POINTS - 1, half - 1, -1)
        parts = self._parts.reshape(6, -1)[:, : frames * half].reshape(6, frames, half)
        even_real, even_imaginary, odd_real, odd_imaginary, *scratch = parts
        np.add(real[:, up], real[:, down], out=even_real)
        np.subtract(imaginary[:, up], imaginary[:, down], out=even_imaginary)
        np.subtract(real[:, up], real[:, down], out=odd_real)
        np.add(imaginary[:, up], imaginary[:, down], out=odd_imaginary)
        turned = self._next_real[:frames, :half], self._next_imaginary[:frames, :half]
        _rotate((odd_real, odd_imaginary), self._unpack_turns, turned, (scratch[0], scratch[1]))
        np.add(even_real, turned[0], out=spectrum_real[:, up])
        np.add(even_imaginary, turned[1], out=spectrum_imaginary[:, up])
        np.subtract(even_real, turned[0], out=spectrum_real[:, down])
        np.subtract(turned[1], even_imaginary, out=spectrum_imaginary[:, down])
        self._spectrum[:, :frames, 1:_POINTS] >>= 1

    def _normalise(self, amplitude: Long) -> Long:
        """Subtract the steady noise, and divide by it."""
        scaled = (amplitude << _NOISE_BITS) & _INT32_MASK
        noises = self._noises[: len(scaled)]
        np.multiply(scaled, self._smoothing, out=noises)
        noise = self._noise
        for row in noises:
            noise *= self._keeping
            noise += row
            noise >>= _SMOOTHING_BITS
            row[:] = noise
        above = (scaled - np.minimum(noises, scaled)) >> _NOISE_BITS
        signal = np.maximum(above, (amplitude * self._least) >> _SMOOTHING_BITS)
        ratio = (signal * self._gain(noises)) >> _RATIO_SHIFT
        is_small = ratio < 2 << _RATIO_BITS
        shrunk: Long = np.where(
            is_small, (ratio * ratio) >> _RATIO_SQUARE_SHIFT, (ratio >> 6) - _RATIO_KNEE
        )
        return shrunk

    def _gain(self, noise: Long) -> Long:
        """Return the gain for a level of noise: a parabola in each octave."""
        octave = _bit_length(noise)
        shift = 11 - octave
        place = np.where(shift > 0, noise << np.maximum(shift, 0), noise >> np.maximum(-shift, 0))
        place &= 0x3FF
        level, slope, curve = self._gain_curve[:, octave]
        gain = (((curve * place >> 5) + (slope << 5)) * place + _HALF >> _FRACTION_BITS) + level
        gain = np.where(noise < len(self._gains), self._gains[np.minimum(noise, 1)], gain)
        return gain.astype(np.int64)

    def _logarithm(self, values: Long) -> Whole:
        """Return the natural logarithm in units of 1/64; 0 of 0 and 1."""
        values = (values << _CORRECTION_BITS) & _INT32_MASK
        powers = _bit_length(values)
        powers -= 1
        np.maximum(powers, 1, out=powers)
        place = values - (np.int64(1) << powers)
        more = _LOG_BITS - powers
        place = np.where(more > 0, place << np.maximum(more, 0), place >> np.maximum(-more, 0))
        segment_bits = _LOG_BITS - _LOG_SEGMENT_BITS
        segment = np.clip(place >> segment_bits, 0, (1 << _LOG_SEGMENT_BITS) - 1)
        begin, end = self._logarithms[segment], self._logarithms[segment + 1]
        place += begin + ((end - begin) * (place - (segment << segment_bits)) >> _LOG_BITS)
        half = 1 << (_LOG_BITS - 1)
        natural = _LOG_OF_TWO * ((powers << _LOG_BITS) + place) + half >> _LOG_BITS
        scaled = (natural << _LOG_SCALE_BITS) + half >> _LOG_BITS
        scaled = np.where(values > 1, np.minimum(scaled, _HIGHEST_FEATURE), 0)
        return scaled.astype(np.int32)


def _divide(values: Whole, divisor: int) -> None:
    """Multiply by the 15-bit reciprocal in place, rounding."""
    values *= _LARGEST // divisor
    values += _HALF
    values >>= _FRACTION_BITS


def _rotate(
    values: tuple[Whole, Whole],
    turn: Whole,
    out: tuple[Whole, Whole],
    scratch: tuple[Whole, Whole],
) -> None:
    """Multiply complex values by 15-bit factors, rounding."""
    (real, imaginary), (cosine, sine) = values, turn
    product, _ = scratch
    for result, (a, b), combine in (
        (out[0], (cosine, sine), np.subtract),
        (out[1], (sine, cosine), np.add),
    ):
        np.multiply(real, a, out=result)
        np.multiply(imaginary, b, out=product)
        combine(result, product, out=result)
        np.add(result, _HALF, out=result)
        np.right_shift(result, _FRACTION_BITS, out=result)


def _turns(phases: NDArray[np.float64]) -> Whole:
    """Return cosines and sines in 15 bits, int32, shape (2, n)."""
    turns = np.floor(0.5 + _LARGEST * np.stack([np.cos(phases), np.sin(phases)]))
    return turns.astype(np.int32)


def _digit_reversed() -> NDArray[np.intp]:
    """Return the order of the points before the first butterflies."""
    digits = round(np.log(_POINTS) / np.log(_RADIX))
    points = np.arange(_POINTS).reshape((_RADIX,) * digits)
    return points.transpose(range(digits)[::-1]).reshape(-1)


def _window() -> Whole:
    """Return the Hann window in 12 bits; the original computes it in 32-bit floating point."""
    step = np.float32(2 * np.pi / FRAME_SAMPLES)
    phases = step * (np.arange(FRAME_SAMPLES) + 0.5).astype(np.float32)
    cosines = np.cos(phases.astype(np.float64)).astype(np.float32)
    window = np.float32(0.5) - np.float32(0.5) * cosines
    return np.floor(window.astype(np.float64) * (1 << _WINDOW_BITS) + 0.5).astype(np.int32)


def _gains() -> tuple[Long, Long]:
    """Return the gains for the two lowest levels, and a parabola for each octave, (3, 33)."""

    def gain(noise: int) -> int:
        level = np.float32(noise) / np.float32(1 << (_NOISE_BITS - _CORRECTION_BITS))
        base = float(level + np.float32(_GAIN_OFFSET))
        power = np.float32(base ** float(np.float32(-_GAIN_STRENGTH)))
        value = np.float32(1 << _GAIN_BITS) * power
        return min(int(value + np.float32(0.5)), _LARGEST)

    curve = np.zeros((3, 33), np.int64)
    for octave in range(2, 33):
        low = 1 << (octave - 1)
        high = 2 * low - (octave == 32)  # noqa: PLR2004 - the last octave ends with the type
        begin = gain(low)
        middle, end = gain(low + low // 2) - begin, gain(high) - begin
        slope = 4 * middle - end
        curve[:, octave] = begin, slope, end - slope
    return np.array([gain(0), gain(1)], np.int64), curve


def _logarithms() -> Long:
    """Return by how much the binary logarithm exceeds a line at 129 places of an octave."""
    place = np.arange((1 << _LOG_SEGMENT_BITS) + 1) / (1 << _LOG_SEGMENT_BITS)
    return np.rint((np.log2(1 + place) - place) * (1 << _LOG_BITS)).astype(np.int64)


def _bit_length(values: NDArray[Any]) -> Long:
    """Return the number of bits of whole numbers below 2**53; 0 of 0."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def _rounded_root(values: NDArray[np.float64]) -> Long:
    """Return the square root of whole numbers below 2**53, rounded, at most a 16- or 32-bit one."""
    whole = values.astype(np.int64)
    root = np.sqrt(values).astype(np.int64)
    root -= root * root > whole
    root += (root + 1) * (root + 1) <= whole
    largest = np.where(whole >> 32 > 0, _INT32_MASK, (1 << 16) - 1)
    root += (whole - root * root > root) & (root != largest)
    return root
