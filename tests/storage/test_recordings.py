"""Recordings: int16 blocks at 16 kHz from audio files."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import EarmarkError, Unavailable, UsageError
from listener.storage.recordings import open_recording

RNG = np.random.default_rng(7)
NOISE: NDArray[np.int16] = RNG.integers(-9000, 9000, 3 * SAMPLE_RATE_HZ, np.int16)


def drain(path: Path, channel: int = 0, block_samples: int = 1280) -> Samples:
    with open_recording(path, channel) as recording:
        blocks = [np.zeros(0, np.int16)]
        while (block := recording.read(block_samples)) is not None:
            blocks.append(block)
        return np.concatenate(blocks)


def tone(rate_hz: int, seconds: float = 1.0) -> NDArray[np.float64]:
    return np.asarray(0.5 * np.sin(2 * np.pi * 440 * np.arange(int(rate_hz * seconds)) / rate_hz))


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_16_khz_file_is_read_bit_for_bit(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"noise.{suffix}"
    soundfile.write(path, NOISE, SAMPLE_RATE_HZ)

    samples = drain(path)

    assert samples.dtype == np.int16
    assert np.array_equal(samples, NOISE)


def test_ogg_opus_equals_soundfile(tmp_path: Path) -> None:
    path = tmp_path / "noise.opus"
    soundfile.write(path, NOISE, SAMPLE_RATE_HZ, format="OGG", subtype="OPUS")

    samples = drain(path)

    assert np.abs(samples - soundfile.read(path, dtype="int16")[0].astype(int)).max() <= 1


def test_float_file_is_scaled(tmp_path: Path) -> None:
    path = tmp_path / "noise.wav"
    soundfile.write(path, NOISE / 32768, SAMPLE_RATE_HZ, subtype="FLOAT")

    samples = drain(path)

    assert np.array_equal(samples, NOISE)


def test_floats_beyond_full_scale_are_clipped_and_nan_is_silence(tmp_path: Path) -> None:
    path = tmp_path / "wild.wav"
    wild = np.array([2.0, -2.0, np.nan, np.inf, 0.5], np.float32)
    soundfile.write(path, wild, SAMPLE_RATE_HZ, subtype="FLOAT")

    samples = drain(path)

    assert samples.tolist() == [32767, -32768, 0, 0, 16384]


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS", "MPEG_LAYER_III"])
@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_decoder_output_above_full_scale_is_clipped(
    tmp_path: Path, subtype: str, rate_hz: int
) -> None:
    """Compression of a clipped wave exceeds full scale, as loud recordings do."""
    path = tmp_path / "loud"
    loud = np.clip(6 * tone(rate_hz), -1, 1)
    kind = "MP3" if subtype.startswith("MPEG") else "OGG"
    soundfile.write(path, loud, rate_hz, format=kind, subtype=subtype)
    decoded = soundfile.read(path, dtype="float32")[0]
    assert decoded.max() > 1
    assert decoded.min() < -1

    samples = drain(path)

    if rate_hz == SAMPLE_RATE_HZ:
        expected = np.clip(decoded.astype(np.float64) * 32768, -32768, 32767)
        assert np.abs(samples - expected).max() <= 2
    # No neighbours of opposite sign, as samples that wrapped round would be.
    assert np.abs(np.diff(samples.astype(int))).max() < 40_000


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    block_samples=st.integers(1, 40_000),
    rate_hz=st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000]),
)
def test_block_size_does_not_change_the_samples(
    tmp_path: Path, block_samples: int, rate_hz: int
) -> None:
    path = tmp_path / f"{rate_hz}.wav"
    soundfile.write(path, tone(rate_hz, 0.3), rate_hz)

    small = drain(path, block_samples=block_samples)
    whole = drain(path, block_samples=1 << 20)

    assert np.abs(small.astype(int) - whole).max() <= 1
    assert len(small) == len(whole)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100, 48_000, 96_000])
def test_other_rates_are_resampled(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(rate_hz), rate_hz, subtype="PCM_24")

    samples = drain(path)
    with open_recording(path) as recording:
        claimed = recording.length_samples

    expected = np.rint(tone(SAMPLE_RATE_HZ) * 32768)
    assert abs(len(samples) - claimed) <= 1
    assert abs(len(samples) - SAMPLE_RATE_HZ) <= 1
    middle = slice(1000, 15000)
    assert np.abs(samples[middle] - expected[middle]).max() < 40


def test_selected_channel_is_read(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([NOISE, NOISE[::-1]], axis=1), SAMPLE_RATE_HZ)

    second = drain(path, channel=1)

    assert np.array_equal(second, NOISE[::-1])


def test_missing_channel_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "mono.wav"
    soundfile.write(path, NOISE, SAMPLE_RATE_HZ)

    with pytest.raises(UsageError, match="has 1 channel, and not channel 1"):
        open_recording(path, 1)


@pytest.mark.parametrize("rate_hz", [1, 1_000_000])
def test_unsupported_sample_rate_is_refused(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "odd.wav"
    soundfile.write(path, NOISE, rate_hz)

    with pytest.raises(UsageError, match="unsupported sample rate"):
        open_recording(path)


def test_an_empty_file_has_no_samples(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    soundfile.write(path, NOISE[:0], SAMPLE_RATE_HZ)

    with open_recording(path) as recording:
        assert recording.length_samples == 0
        assert recording.read(100) is None
        assert recording.read(100) is None


@pytest.mark.parametrize(
    "name", ["absent.wav", ".", "notes.wav", "headerless.raw", "x" * 300, "\0"]
)
def test_other_files_are_unavailable(tmp_path: Path, name: str) -> None:
    for plain in ("notes.wav", "headerless.raw"):
        (tmp_path / plain).write_text("these are not samples")

    with pytest.raises(Unavailable):
        open_recording(tmp_path / name)


def test_flac_of_unknown_length_is_refused_with_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "piped.flac"
    soundfile.write(path, NOISE, SAMPLE_RATE_HZ)
    content = bytearray(path.read_bytes())
    # The 36 bits of STREAMINFO that hold the number of samples; 0 is "unknown".
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)

    with pytest.raises(Unavailable, match="does not contain its length") as caught:
        open_recording(path)

    assert "encode it again" in caught.value.hint


def test_truncated_flac_is_reported_as_damaged(tmp_path: Path) -> None:
    path = tmp_path / "cut.flac"
    soundfile.write(path, NOISE, SAMPLE_RATE_HZ)
    path.write_bytes(path.read_bytes()[:-20_000])

    with pytest.raises(Unavailable, match="is damaged"):
        drain(path)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(["wav", "flac", "ogg"]), data=st.data())
def test_damaged_file_raises_only_earmark_errors(
    tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    path = tmp_path / f"damaged.{kind}"
    soundfile.write(path, NOISE[:8000], SAMPLE_RATE_HZ)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])

    with contextlib.suppress(EarmarkError):
        drain(path)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("start_s", [0.0, 0.5, 1.23456])
def test_reading_starts_at_start_s(tmp_path: Path, suffix: str, start_s: float) -> None:
    path = tmp_path / f"noise.{suffix}"
    soundfile.write(path, NOISE, SAMPLE_RATE_HZ)

    with open_recording(path, start_s=start_s) as recording:
        samples = recording.read(len(NOISE))

    assert samples is not None
    assert np.array_equal(samples, NOISE[round(start_s * SAMPLE_RATE_HZ) :])


def test_start_s_behind_the_end_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "noise.wav"
    soundfile.write(path, NOISE, SAMPLE_RATE_HZ)

    with pytest.raises(Unavailable, match=r"ends after 3\.00 s, before 3\.00 s"):
        open_recording(path, start_s=3.0)
