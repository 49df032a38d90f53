"""Microphone process with a fake of PortAudio; tests/system runs it with the real one."""

import contextlib
from collections.abc import Sequence

import numpy as np
import pytest

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples
from listener.hear.microphone.devices import InputDevice
from listener.hear.microphone.process import OTHER_RATES_HZ, CaptureError, open_stream, run_capture
from listener.hear.microphone.protocol import (
    HEADER,
    BlockRecord,
    Cause,
    OverrunRecord,
    Reader,
    RecordType,
)


class PortAudioError(Exception):
    """Text, number and the error of the host API."""


class Enough(Exception):
    """The test has read enough."""


class FakeStream:
    """Stream of interleaved samples, with overruns and a failure at given reads."""

    def __init__(
        self, samples: Samples, rate_hz: int, *, overruns: Sequence[int] = (), fails_at: int = -1
    ) -> None:
        self.samplerate = float(rate_hz)
        self._left = samples
        self._overruns = overruns
        self._fails_at = fails_at
        self._reads = 0
        self.handed_out: list[bytearray] = []

    def read(self, frames: int) -> tuple[bytearray, bool]:
        at, self._reads = self._reads, self._reads + 1
        if at == self._fails_at:
            raise PortAudioError("Unanticipated host error", -9999)
        if len(self._left) < frames:
            raise Enough
        block, self._left = self._left[:frames], self._left[frames:]
        data = bytearray(block.astype("<i2").tobytes())
        self.handed_out.append(data)
        return data, at in self._overruns


class FakeCard:
    """Fake of sounddevice with one card, which opens at given rates and numbers of channels."""

    PortAudioError = PortAudioError

    def __init__(self, rates_hz: Sequence[int], channels: Sequence[int], number: int = 0) -> None:
        self._rates_hz = rates_hz
        self._channels = channels
        self._number = number
        self.tried: list[tuple[int, int]] = []

    def RawInputStream(  # noqa: N802 - sounddevice's name
        self, *, device: int, samplerate: int, channels: int, dtype: str
    ) -> "FakeCard":
        assert (device, dtype) == (2, "int16")
        self.tried.append((samplerate, channels))
        if self._number:
            raise PortAudioError("no", self._number)
        if channels not in self._channels:
            raise PortAudioError("Invalid number of channels", -9998)
        if samplerate not in self._rates_hz:
            raise PortAudioError("Invalid sample rate", -9997)
        return self

    def start(self) -> None:
        self.is_started = True


def capture(
    stream: FakeStream, *, channels: int = 1, channel: int = 0
) -> tuple[Samples, list[object]]:
    """Return all sound that is written, and all records, a block as its length."""
    reader = Reader(memoryview(bytearray(HEADER.size + 2 * FRAME_SAMPLES)))
    blocks: list[Samples] = []
    records: list[object] = []

    def write(data: bytes | bytearray) -> None:
        assert HEADER.unpack_from(data)[0] in (RecordType.SOUND, RecordType.OVERRUN)
        left = bytes(data)
        while left:
            room = reader.room()
            count = min(len(room), len(left))
            room[:count], left = left[:count], left[count:]
            record = reader.take(count)
            if isinstance(record, BlockRecord):
                blocks.append(np.frombuffer(bytes(record.payload), "<i2").astype(np.int16))
                records.append(len(blocks[-1]))
            elif record is not None:
                records.append(record)

    with contextlib.suppress(Enough):
        run_capture(
            FakeCard((), ()),
            stream,
            write,
            channels=channels,
            channel=channel,
            rate_hz=SAMPLE_RATE_HZ,
            block_samples=FRAME_SAMPLES,
        )
    return np.concatenate(blocks) if blocks else np.zeros(0, np.int16), records


def ramp(length: int) -> Samples:
    return (np.arange(length) % 30_000 + 1).astype(np.int16)


def test_sound_at_16_khz_is_passed_sample_for_sample() -> None:
    sound = ramp(5 * FRAME_SAMPLES)

    out, records = capture(FakeStream(sound, SAMPLE_RATE_HZ))

    assert np.array_equal(out, sound)
    assert records == [FRAME_SAMPLES] * 5


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_one_channel_of_an_array_is_written(channel: int) -> None:
    sound = np.stack([ramp(2 * FRAME_SAMPLES) + np.int16(k) for k in range(3)], axis=1)

    out, _ = capture(FakeStream(sound, SAMPLE_RATE_HZ), channels=3, channel=channel)

    assert np.array_equal(out, sound[:, channel])


@pytest.mark.parametrize("rate_hz", [44_100, 48_000, 96_000, 8_000])
def test_other_rates_are_resampled_and_keep_a_tone(rate_hz: int) -> None:
    times_s = np.arange(3 * rate_hz) / rate_hz
    sound = np.rint(10_000 * np.sin(2 * np.pi * 440 * times_s)).astype(np.int16)

    out, records = capture(FakeStream(sound, rate_hz))

    assert abs(len(out) / SAMPLE_RATE_HZ - 3) < 0.1
    assert all(isinstance(n, int) and n <= FRAME_SAMPLES for n in records)
    middle = out[8_000:40_000].astype(float)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) * SAMPLE_RATE_HZ / len(middle) == pytest.approx(440, abs=1)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(10_000 / np.sqrt(2), rel=0.01)


def test_resampling_clips_instead_of_wrapping() -> None:
    square = np.where(np.arange(48_000) // 48 % 2, 32_767, -32_768).astype(np.int16)

    out, _ = capture(FakeStream(square, 48_000))

    # A wrapped peak would stand on the wrong side of zero.
    steps = np.abs(np.diff(out.astype(int)))
    assert steps.max() < 65_000
    assert (out == 32_767).any()
    assert (out == -32_768).any()


def test_zeros_stay_exact_zeros_when_resampled() -> None:
    out, _ = capture(FakeStream(np.zeros(48_000, np.int16), 48_000))

    assert len(out) > 0
    assert not out.any()


def test_overrun_record_precedes_the_next_block() -> None:
    stream = FakeStream(ramp(3 * FRAME_SAMPLES), SAMPLE_RATE_HZ, overruns=[1])

    _, records = capture(stream)

    assert records == [FRAME_SAMPLES, OverrunRecord(), FRAME_SAMPLES, FRAME_SAMPLES]


def test_blocks_of_the_driver_are_overwritten() -> None:
    stream = FakeStream(ramp(3 * FRAME_SAMPLES), SAMPLE_RATE_HZ)

    capture(stream)

    assert len(stream.handed_out) == 3
    assert not any(any(block) for block in stream.handed_out)


def test_device_failure_while_reading_has_cause_gone() -> None:
    with pytest.raises(CaptureError) as failure:
        capture(FakeStream(ramp(3 * FRAME_SAMPLES), SAMPLE_RATE_HZ, fails_at=1))

    assert failure.value.cause is Cause.GONE


def card(channels: int, rate_hz: int) -> InputDevice:
    return InputDevice(2, "Card", channels, rate_hz)


def test_card_that_offers_16_khz_is_opened_at_it() -> None:
    sound = FakeCard([16_000, 48_000], [1, 2])

    stream, channels = open_stream(sound, card(2, 48_000), 0, SAMPLE_RATE_HZ)

    assert stream.is_started
    assert sound.tried == [(16_000, 1)]
    assert channels == 1


@pytest.mark.parametrize(
    ("rates_hz", "counts", "channel", "opened"),
    [
        ([48_000], [1, 2], 0, (48_000, 1)),
        ([48_000], [2], 0, (48_000, 2)),
        ([44_100], [6], 3, (44_100, 6)),
        ([16_000], [4], 2, (16_000, 4)),
        ([96_000], [1], 0, (96_000, 1)),
    ],
)
def test_card_is_opened_at_a_rate_and_channels_it_offers(
    rates_hz: list[int], counts: list[int], channel: int, opened: tuple[int, int]
) -> None:
    sound = FakeCard(rates_hz, counts)

    _, channels = open_stream(sound, card(max(counts), 48_000), channel, SAMPLE_RATE_HZ)

    assert sound.tried[-1] == opened
    assert channels == opened[1]


@pytest.mark.parametrize(
    ("sound", "channel", "cause"),
    [
        (FakeCard([8_000], [1]), 0, Cause.RATE),
        (FakeCard([16_000], [9]), 0, Cause.CHANNEL),
        (FakeCard([16_000], [1]), 2, Cause.CHANNEL),
        (FakeCard([16_000], [1], number=-9985), 0, Cause.BUSY),
        (FakeCard([16_000], [1], number=-9999), 0, Cause.GONE),
    ],
)
def test_card_that_does_not_open_raises_its_cause(
    sound: FakeCard, channel: int, cause: Cause
) -> None:
    with pytest.raises(CaptureError) as failure:
        open_stream(sound, card(2, 48_000), channel, SAMPLE_RATE_HZ)

    assert failure.value.cause is cause


def test_busy_card_is_tried_once() -> None:
    sound = FakeCard([16_000], [1], number=-9985)

    with pytest.raises(CaptureError):
        open_stream(sound, card(2, 48_000), 0, SAMPLE_RATE_HZ)

    assert len(sound.tried) == 1
    assert OTHER_RATES_HZ
