"""Features of microWakeWord from audio, equal to those of TensorFlow Lite Micro's audio front end.

A frame covers 480 samples and comes every 160 samples (10 ms); it gives 40 numbers, one for each
band from 125 to 7500 Hz: a transform of 512 points in 16-bit arithmetic, the square root of the
power in triangular bands, minus an estimate of the steady noise, divided by that noise
("per-channel amplitude normalisation", PCAN), and a logarithm. The arithmetic is that of the
original, in integers, so that every number is the same: quiet bands have few bits, and a different
rounding would change them. Source: ``tensorflow/lite/experimental/microfrontend`` and its 16-bit
kissfft, with the settings of microWakeWord.

Frames are the last axis of the transform's buffers, so that numpy computes each operation in long
runs; the transform is in the order of Stockham, which reads and writes in place of digit reversal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from listener.audio.pcm import Samples

Whole = NDArray[np.int32]
Long = NDArray[np.int64]
_Factors = tuple[Whole, Whole]  # cosines, and sines with the sign of the real and imaginary part

CHANNELS: Final = 40
FRAME_SAMPLES: Final = 480
STRIDE_SAMPLES: Final = 160
TRANSFORM_SAMPLES: Final = 512
FEATURE_SCALE: Final = 0.0390625
"""What a feature is multiplied by before a network takes it."""

_POINTS: Final = TRANSFORM_SAMPLES // 2  # of the complex transform that two real ones share
_RADIX: Final = 4
_LARGEST: Final = 32_767
_LOWEST: Final = -32_768
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

# Numbers of 64-bit floating point: their bits hold the binary logarithm of a whole number as its
# exponent, and the bits after the leading one as its fraction.
_FLOAT_FRACTION_BITS: Final = 52
_FLOAT_BIAS: Final = 1023
_GAIN_PLACE_BITS: Final = 10

_LEVELS: Final = 5
"""Buffers for levels of the channels."""
_WAVE_SIZES: Final = FRAME_SAMPLES + 4 * 2 * _POINTS
"""Whole numbers of a frame: its wave, and four spectra."""
_UNPACK_AXES: Final = 3
"""Axes of the values that are rotated in the unpacking: both parts, points and frames."""
_FEW_FRAMES: Final = 16
"""Frames up to which factors are stored for each frame: loops over so few are slow."""


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
        frames = longest_frames
        self.longest_frames: Final = longest_frames
        self._filters = filters.astype(np.float64)
        self._window = _window()
        self._factors = _all_factors()
        self._gains = _gains()
        self._logarithms, self._logarithm_steps = _logarithms()
        smoothing = [int(np.float32(share) * (1 << _SMOOTHING_BITS)) for share in _SMOOTHING]
        self._smoothing = np.array(smoothing * (CHANNELS // 2), np.int64)
        self._keeping = (1 << _SMOOTHING_BITS) - self._smoothing
        self._least = int(np.float32(_LEAST_SIGNAL) * (1 << _SMOOTHING_BITS))
        self._samples = np.zeros((frames - 1) * STRIDE_SAMPLES + FRAME_SAMPLES, np.int32)
        # Used from the begin on, so that what a step has written is one run.
        self._waves = np.zeros(_WAVE_SIZES * frames, np.int32)
        self._levels = np.zeros((len(filters) + _LEVELS * CHANNELS) * frames, np.int64)
        self._noise = np.zeros(CHANNELS, np.int64)
        self._kept_noise = np.zeros(CHANNELS, np.int64)
        self._views: dict[int, _Views] = {}

    def restart(self) -> None:
        """Overwrite all audio and features, and start anew."""
        self._noise[:] = 0
        self._kept_noise[:] = 0
        self._samples[:] = 0
        self._waves[:] = 0
        self._levels[:] = 0

    def step(self, samples: Samples) -> Whole:
        """Return the features of the next frames.

        Args:
            samples: int16, shape ((n - 1) * 160 + 480,), n from 1 to ``longest_frames``. The next
                step begins n * 160 samples after the begin of this one.

        Returns:
            int32, shape (n, 40), 0 to 65535. No audio is left in the buffers.
        """
        frames = (len(samples) - FRAME_SAMPLES) // STRIDE_SAMPLES + 1
        views = self._views.get(frames)
        if views is None:
            views = self._views[frames] = _Views(
                (self._samples, self._waves, self._levels),
                *(frames, len(self._filters), self._factors),
            )
        np.copyto(views.samples, samples)
        shift = self._apply_window(views)
        self._transform(views)
        self._sum_bands(views)
        amplitude = views.levels[0]
        np.copyto(amplitude, views.energy, casting="unsafe")
        amplitude >>= shift
        self._normalise(views)
        features = self._logarithm(views)
        for buffer in views.written:
            buffer[...] = 0
        return features

    def _apply_window(self, views: "_Views") -> Long:
        """Fill the wave of each frame; return the bits by which it was amplified."""
        wave = np.multiply(views.frames, self._window, out=views.wave)
        wave >>= _WINDOW_BITS
        least = np.minimum.reduce(wave, axis=1)
        # The lowest int16 has no positive counterpart: it counts as no loudness in the original,
        # and amplified its 16 bits are 0.
        lowest = wave == _LOWEST if least.min() == _LOWEST else None
        if lowest is not None:
            wave[lowest] = 0
            least = np.minimum.reduce(wave, axis=1)
        loudest = np.maximum(np.maximum.reduce(wave, axis=1), -least)
        shift = _FRACTION_BITS - np.frexp(loudest)[1][:, None]
        wave <<= shift
        if lowest is not None:
            wave[lowest & (shift == 0)] = _LOWEST
        bits: Long = shift.astype(np.int64)
        return bits

    def _transform(self, views: "_Views") -> None:
        """Transform the waves; the spectrum is 1/512 of the sum, as kissfft scales it.

        A complex transform takes even samples as real and odd ones as imaginary parts.
        """
        for points, pairs in views.packed:
            np.multiply(pairs, _LARGEST // _RADIX, out=points)
        for stage in views.stages:
            legs = stage.legs
            if stage.factors is not None:
                legs *= _LARGEST // _RADIX
            legs += _HALF
            legs >>= _FRACTION_BITS
            if stage.factors is not None:
                _rotate(stage.turning, stage.factors, stage.scratch)
            # Of the first and third, and of the second and fourth.
            np.add(legs[:2], legs[2:], out=stage.sums[0])
            np.subtract(legs[0], legs[2], out=stage.sums[1, 0])
            # Times -i: the imaginary part, and the negative real one.
            np.subtract(legs[1, 1], legs[3, 1], out=stage.sums[1, 1, 0])
            np.subtract(legs[3, 0], legs[1, 0], out=stage.sums[1, 1, 1])
            even, odd = stage.ordered_sums
            np.add(even, odd, out=stage.results[0])
            np.subtract(even, odd, out=stage.results[1])
        self._unpack(views)

    @staticmethod
    def _unpack(views: "_Views") -> None:
        """Write the spectrum of the real wave from the transform of its even and odd samples."""
        points, spectrum = views.transformed, views.spectrum
        points *= _LARGEST // 2
        points += _HALF
        points >>= _FRACTION_BITS
        np.add(views.up, views.down, out=views.sums[0])
        np.subtract(views.up, views.down, out=views.sums[1])
        np.add(points[0, 0], points[1, 0], out=spectrum[0, 0])
        spectrum[1, 0] = 0
        odd, even = views.odd, views.even
        _rotate(odd, views.unpack_factors, views.odd_scratch)
        np.add(even, odd, out=views.spectrum_up)
        np.subtract(even[0], odd[0], out=views.spectrum_down[0])
        np.subtract(odd[1], even[1], out=views.spectrum_down[1])
        spectrum[:, 1:] >>= 1

    def _sum_bands(self, views: "_Views") -> None:
        """Write the rounded square roots of the power in each channel."""
        spectrum = views.bands
        np.multiply(spectrum, spectrum, out=spectrum)
        np.add(spectrum[0], spectrum[1], out=views.power)
        energy = np.matmul(views.power.T, self._filters, out=views.energy)
        is_short = energy <= _INT32_MASK
        np.sqrt(energy, out=energy)
        # Exact: a whole number below 2**50 is never so near to the middle of two roots that the
        # rounding of its root crosses it.
        np.rint(energy, out=energy)
        energy[is_short & (energy == 1 << 16)] = (1 << 16) - 1

    def _normalise(self, views: "_Views") -> None:
        """Subtract the steady noise from the first of the levels, and divide by it, in place."""
        amplitude, signal, noises, other, bits = views.levels
        np.left_shift(amplitude, _NOISE_BITS, out=signal)
        signal &= _INT32_MASK
        np.multiply(signal, self._smoothing, out=noises)
        noise, kept, keeping = self._noise, self._kept_noise, self._keeping
        for row in noises:
            np.multiply(noise, keeping, kept)
            np.add(kept, row, kept)
            noise = np.right_shift(kept, _SMOOTHING_BITS, row)
        self._noise[:] = noise
        np.minimum(noises, signal, out=other)
        signal -= other
        signal >>= _NOISE_BITS
        amplitude *= self._least
        amplitude >>= _SMOOTHING_BITS
        np.maximum(signal, amplitude, out=signal)
        # The octave of the noise, and the ten bits after its leading one.
        np.copyto(views.last_level, noises)
        bits >>= _FLOAT_FRACTION_BITS - _GAIN_PLACE_BITS
        bits -= (_FLOAT_BIAS - 1) << _GAIN_PLACE_BITS
        np.take(self._gains, bits, out=other, mode="clip")
        ratio = np.multiply(signal, other, out=amplitude)
        ratio >>= _RATIO_SHIFT
        # A parabola, and from the knee on its tangent, which is below it elsewhere.
        np.right_shift(ratio, 6, out=other)
        other -= _RATIO_KNEE
        np.minimum(ratio, 2 << _RATIO_BITS, out=ratio)
        np.multiply(ratio, ratio, out=ratio)
        ratio >>= _RATIO_SQUARE_SHIFT
        np.maximum(ratio, other, out=ratio)

    def _logarithm(self, views: "_Views") -> Whole:
        """Return the natural logarithm of the first of the levels in units of 1/64; 0 of 0."""
        values, other, segment, begin, logarithm = views.levels
        values <<= _CORRECTION_BITS
        values &= _INT32_MASK
        np.copyto(views.last_level, values)
        # A binary logarithm with 16 bits after the point, and a line in each octave.
        logarithm >>= _FLOAT_FRACTION_BITS - _LOG_BITS
        segment_bits = _LOG_BITS - _LOG_SEGMENT_BITS
        np.right_shift(logarithm, segment_bits, out=segment)
        segment &= (1 << _LOG_SEGMENT_BITS) - 1
        np.take(self._logarithms, segment, out=begin, mode="clip")
        np.take(self._logarithm_steps, segment, out=other, mode="clip")
        np.bitwise_and(logarithm, (1 << segment_bits) - 1, out=segment)
        other *= segment
        other >>= _LOG_BITS
        logarithm += begin
        logarithm += other
        half = 1 << (_LOG_BITS - 1)
        logarithm *= _LOG_OF_TWO
        logarithm += half
        logarithm >>= _LOG_BITS
        logarithm <<= _LOG_SCALE_BITS
        logarithm += half
        logarithm >>= _LOG_BITS
        return np.clip(logarithm, 0, _HIGHEST_FEATURE, out=logarithm).astype(np.int32)


@dataclass(frozen=True, slots=True)
class _Stage:
    """Views of one stage of the transform, in which four transforms become one."""

    legs: Whole
    """The four, each with the real and the imaginary parts of 64 points in all frames."""
    factors: _Factors | None
    """Factors of the second to fourth; None in the first stage, where they are 1."""
    turning: Whole
    """The second to fourth with the axes of the factors."""
    scratch: Sequence[Whole]
    """Two buffers of that size and with these axes."""
    sums: Whole
    """Buffer of sums and differences of two legs, shape (2, 2, 2, n)."""
    ordered_sums: Sequence[Whole]
    """Its halves along the second axis, with the axes of the results."""
    results: Sequence[Whole]
    """The first and second quarters of the new transforms, and the others."""


class _Views:
    """Views of the buffers for one number of frames."""

    def __init__(
        self,
        buffers: tuple[Whole, Whole, Long],
        frames: int,
        bins: int,
        factors: Sequence[_Factors],
    ) -> None:
        """Cut the buffers.

        Args:
            buffers: of the samples, of the waves and spectra, and of power and levels.
            frames: frames in the step.
            bins: bins of the spectrum that are used.
            factors: of each stage but the first, and of the unpacking.
        """
        samples, waves, levels = buffers
        self.samples = samples[: (frames - 1) * STRIDE_SAMPLES + FRAME_SAMPLES]
        stride = samples.strides[0]
        self.frames = as_strided(
            samples, (frames, FRAME_SAMPLES), (STRIDE_SAMPLES * stride, stride), writeable=False
        )
        self.wave = waves[: FRAME_SAMPLES * frames].reshape(frames, FRAME_SAMPLES)
        used = waves[: _WAVE_SIZES * frames]
        before, after, turned, parts = used[FRAME_SAMPLES * frames :].reshape(4, -1)
        self.packed = tuple(self._pack(before.reshape(_RADIX, 2, -1, frames)))
        if frames <= _FEW_FRAMES:
            factors = [_spread(factor, frames) for factor in factors]
        *turns, self.unpack_factors = factors
        self.stages: list[_Stage] = []
        for index, factor in enumerate((None, *turns)):
            self.stages.append(_stage(before, after, (turned, parts), factor, _RADIX**index))
            before, after = after, before
        half = _POINTS // 2
        self.transformed = before.reshape(2, _POINTS, frames)
        self.spectrum = after.reshape(2, _POINTS, frames)
        up, down = slice(1, half + 1), slice(_POINTS - 1, half - 1, -1)
        self.up, self.down = self.transformed[:, up], self.transformed[:, down]
        self.spectrum_up, self.spectrum_down = self.spectrum[:, up], self.spectrum[:, down]
        self.sums = turned.reshape(2, 2, half, frames)
        """Sums, and differences, of the real and the imaginary parts."""
        parts_of_sums = turned.reshape(4, half, frames)
        self.even, self.odd = parts_of_sums[::3], parts_of_sums[2:0:-1]
        self.odd_scratch = tuple(parts.reshape(2, 2, half, frames))
        self.bands = self.spectrum[:, :bins]
        channels = _LEVELS * CHANNELS * frames
        self.levels = levels[:channels].reshape(_LEVELS, frames, CHANNELS)
        self.last_level = self.levels[-1].view(np.float64)
        self.energy = self.levels[1].view(np.float64)
        levels = levels[: channels + bins * frames]
        self.power = levels[channels:].view(np.float64).reshape(bins, frames)
        self.written = (self.samples, used, levels)
        """All that a step writes."""

    def _pack(self, points: Whole) -> Iterator[tuple[Whole, Whole]]:
        """Yield parts of the points, and the samples that go there.

        Even samples are the real parts and odd ones the imaginary parts. The wave is shorter than
        the transform; the points after it are 0.

        Args:
            points: shape (4, 2, 64, frames).
        """
        frames = points.shape[3]
        pairs = self.wave.reshape(frames, FRAME_SAMPLES // 2, 2).transpose(2, 1, 0)
        quarter = points.shape[2]
        for leg, part in enumerate(points):
            these = pairs[:, leg * quarter : (leg + 1) * quarter]
            yield part[:, : these.shape[1]], these


def _stage(
    before: Whole, after: Whole, scratch: tuple[Whole, Whole], factors: _Factors | None, length: int
) -> _Stage:
    """Cut the buffers for the stage that combines transforms of ``length`` points.

    Args:
        before: the transforms: the four legs, both parts, groups, points, and frames.
        after: the same for the results; in the last stage, the parts come first.
        scratch: two buffers of the same size.
        factors: of the stage.
        length: 1, 4, 16 or 64.
    """
    quarter = len(before) // (2 * _RADIX)
    frames = quarter * _RADIX // _POINTS
    groups = _POINTS // (_RADIX * length)
    legs = before.reshape(_RADIX, 2, quarter)
    axes = (_RADIX - 1, 2, groups, length, frames)
    turning = legs[1:].reshape(axes)
    sums = scratch[1].reshape(2, 2, 2, quarter)
    if groups == 1:
        ordered = sums.transpose(1, 0, 2, 3)
        results = after.reshape(2, _RADIX, quarter).transpose(1, 0, 2)
    else:
        shape = (_RADIX, groups // _RADIX, length * frames)
        ordered = sums.reshape(2, 2, 2, *shape).transpose(1, 0, 3, 2, 4, 5)
        results = after.reshape(_RADIX, 2, shape[1], _RADIX, shape[2]).transpose(3, 0, 1, 2, 4)
    return _Stage(
        legs,
        factors,
        turning,
        tuple(buffer[: turning.size].reshape(axes) for buffer in scratch),
        sums,
        tuple(ordered),
        (results[:2], results[2:]),
    )


def _rotate(values: Whole, factors: _Factors, scratch: Sequence[Whole]) -> None:
    """Multiply complex values by 15-bit factors in place, rounding.

    Args:
        values: real and imaginary parts are one axis of them, the same as of the factors.
        factors: cosines and sines.
        scratch: two buffers of the shape of the values, which are overwritten.
    """
    products, crossed = scratch
    exchanged = values[::-1] if values.ndim == _UNPACK_AXES else values[:, ::-1]
    np.multiply(values, factors[0], out=products)
    np.multiply(exchanged, factors[1], out=crossed)
    products += crossed
    products += _HALF
    np.right_shift(products, _FRACTION_BITS, out=values)


def _turns(phases: NDArray[np.float64], axis: int) -> _Factors:
    """Return the factors of some phases in 15 bits, with an axis for both parts."""
    cosine, sine = (
        np.floor(0.5 + _LARGEST * values).astype(np.int32)
        for values in (np.cos(phases), np.sin(phases))
    )
    return np.expand_dims(cosine, axis), np.stack([-sine, sine], axis)


def _all_factors() -> list[_Factors]:
    """Return the factors of each stage but the first, and of the unpacking.

    Those of the first stage are 32767/32768, which changes no number of 14 bits.
    """
    factors = []
    length = _RADIX
    while length < _POINTS:
        legs = np.arange(1, _RADIX)[:, None, None, None]
        turns = legs * np.arange(length)[:, None] * (_POINTS // (_RADIX * length))
        factors.append(_turns(-2 * np.pi * turns / _POINTS, 1))
        length *= _RADIX
    half = np.arange(_POINTS // 2)[:, None]
    return [*factors, _turns(-np.pi * ((half + 1) / _POINTS + 0.5), 0)]


def _spread(factors: _Factors, frames: int) -> _Factors:
    """Return the factors of both parts, each group and each frame, so that a product is one run."""
    sines = factors[1]
    shape = [*sines.shape[:-1], frames]
    if sines.ndim > _UNPACK_AXES:
        shape[2] = _POINTS // (_RADIX * shape[3])
    cosines, sines = (np.ascontiguousarray(np.broadcast_to(each, shape)) for each in factors)
    return cosines, sines


def _window() -> Whole:
    """Return the Hann window in 12 bits; the original computes it in 32-bit floating point."""
    step = np.float32(2 * np.pi / FRAME_SAMPLES)
    phases = step * (np.arange(FRAME_SAMPLES) + 0.5).astype(np.float32)
    cosines = np.cos(phases.astype(np.float64)).astype(np.float32)
    window = np.float32(0.5) - np.float32(0.5) * cosines
    return np.floor(window.astype(np.float64) * (1 << _WINDOW_BITS) + 0.5).astype(np.int32)


def _gains() -> Long:
    """Return the gain for each level of noise: by its octave, and ten bits of its place there.

    Shape (33 * 1024,). Between three levels in each octave the gain is a parabola.
    """

    def gain(noise: int) -> int:
        level = np.float32(noise) / np.float32(1 << (_NOISE_BITS - _CORRECTION_BITS))
        base = float(level + np.float32(_GAIN_OFFSET))
        power = np.float32(base ** float(np.float32(-_GAIN_STRENGTH)))
        value = np.float32(1 << _GAIN_BITS) * power
        return min(int(value + np.float32(0.5)), _LARGEST)

    place = np.arange(1 << _GAIN_PLACE_BITS)
    gains = np.zeros((33, len(place)), np.int64)
    gains[0], gains[1] = gain(0), gain(1)
    for octave in range(2, 33):
        low = 1 << (octave - 1)
        high = 2 * low - (octave == 32)  # noqa: PLR2004 - the last octave ends with the type
        begin = gain(low)
        middle, end = gain(low + low // 2) - begin, gain(high) - begin
        slope = 4 * middle - end
        curve = (end - slope) * place >> 5
        gains[octave] = ((curve + (slope << 5)) * place + _HALF >> _FRACTION_BITS) + begin
    return gains.reshape(-1)


def _logarithms() -> tuple[Long, Long]:
    """Return by how much the binary logarithm exceeds a line at 128 places of an octave.

    The second are the differences to the next places. The exponent's bias is subtracted.
    """
    place = np.arange((1 << _LOG_SEGMENT_BITS) + 1) / (1 << _LOG_SEGMENT_BITS)
    excess = np.rint((np.log2(1 + place) - place) * (1 << _LOG_BITS)).astype(np.int64)
    return excess[:-1] - (_FLOAT_BIAS << _LOG_BITS), np.diff(excess)
