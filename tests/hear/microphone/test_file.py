"""Recordings as a microphone, and their pace."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, GapReason, Samples
from listener.errors import Unavailable, UsageError
from listener.hear.microphone.file import FileMicrophone, RealTimePacer


def wav(path: Path, values: Samples) -> Path:
    soundfile.write(path, values, SAMPLE_RATE_HZ, subtype="PCM_16")
    return path


def ramp(length: int) -> Samples:
    return np.arange(1, length + 1).astype(np.int16)


def drain(microphone: FileMicrophone) -> None:
    while microphone.read() is not None:
        pass


class FakeClock:
    """Clock that advances only while sleeping."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.sleeps_s: list[float] = []

    def monotonic_s(self) -> float:
        return self.now_s

    def wait_s(self, seconds: float) -> None:
        self.sleeps_s.append(seconds)
        self.now_s += seconds


def test_files_are_read_in_order_with_a_gap_between(tmp_path: Path) -> None:
    files = [wav(tmp_path / "a.wav", ramp(2_000)), wav(tmp_path / "b.wav", ramp(FRAME_SAMPLES))]
    microphone = FileMicrophone(files, 0, None)

    read = [microphone.read() for _ in range(5)]

    assert [len(x) if isinstance(x, np.ndarray) else x for x in read] == [
        FRAME_SAMPLES,
        720,
        GapReason.START,
        FRAME_SAMPLES,
        None,
    ]
    microphone.close()
    assert microphone.read() is None


def test_skip_advances_and_returns_sample_counts(tmp_path: Path) -> None:
    files = [wav(tmp_path / "a.wav", ramp(3_000)), wav(tmp_path / "b.wav", ramp(FRAME_SAMPLES))]
    microphone = FileMicrophone(files, 0, None)

    skipped = [microphone.skip() for _ in range(6)]

    assert skipped == [1_280, 1_280, 440, 0, 1_280, None]


def test_missing_file_is_reported_before_the_first_is_read(tmp_path: Path) -> None:
    existing = wav(tmp_path / "a.wav", ramp(10))

    with pytest.raises(Unavailable, match=r"there is no file .*gone\.wav"):
        FileMicrophone([existing, tmp_path / "gone.wav"], 0, None)


def test_channel_out_of_range_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="channel"):
        FileMicrophone([wav(tmp_path / "a.wav", ramp(10))], 1, None)


def test_truncated_file_raises_once_and_the_next_file_follows(tmp_path: Path) -> None:
    damaged = tmp_path / "a.flac"
    noise = np.random.default_rng(1).integers(-9_999, 9_999, 80_000).astype(np.int16)
    soundfile.write(damaged, noise, SAMPLE_RATE_HZ)
    with damaged.open("rb+") as file:
        file.truncate(damaged.stat().st_size // 2)
    microphone = FileMicrophone([damaged, wav(tmp_path / "b.wav", ramp(FRAME_SAMPLES))], 0, None)

    with pytest.raises(Unavailable, match="damaged"):
        drain(microphone)
    after = [microphone.read() for _ in range(3)]

    assert after[0] is GapReason.START
    assert len(after[1]) == FRAME_SAMPLES  # type: ignore[arg-type]  # a block, or this fails
    assert after[2] is None


def test_pacer_does_not_drift_and_catches_up_after_a_delay() -> None:
    clock = FakeClock()
    pace = RealTimePacer(clock.monotonic_s, clock.wait_s)

    for index in range(100):
        if index == 50:
            clock.now_s += 0.5  # something took half a second
        pace.wait_for(FRAME_SAMPLES)

    assert clock.now_s == pytest.approx(100.0 + 100 * 0.08)


def test_recording_in_real_time_takes_its_own_length(tmp_path: Path) -> None:
    clock = FakeClock()
    microphone = FileMicrophone(
        [wav(tmp_path / "a.wav", ramp(16_000))], 0, RealTimePacer(clock.monotonic_s, clock.wait_s)
    )

    while microphone.read() is not None:
        pass

    assert clock.now_s == pytest.approx(101.0)
    assert max(clock.sleeps_s) <= 0.0801


@pytest.mark.parametrize("length", [0, 1, 1_279])
def test_file_shorter_than_a_step_raises_and_the_next_file_follows(
    tmp_path: Path, length: int
) -> None:
    files = [
        wav(tmp_path / "short.wav", ramp(length)),
        wav(tmp_path / "b.wav", ramp(FRAME_SAMPLES)),
    ]
    microphone = FileMicrophone(files, 0, None)

    with pytest.raises(Unavailable, match=rf"contains {length} samples?: fewer than one step"):
        drain(microphone)

    assert microphone.read() is GapReason.START
    drain(microphone)


def test_length_of_each_file_counts_alone(tmp_path: Path) -> None:
    files = [
        wav(tmp_path / "a.wav", ramp(FRAME_SAMPLES)),
        wav(tmp_path / "short.wav", ramp(1_279)),
    ]
    microphone = FileMicrophone(files, 0, None)

    with pytest.raises(Unavailable, match=r"short\.wav contains 1279 samples"):
        drain(microphone)


def test_cut_wav_raises_as_other_formats_do(tmp_path: Path) -> None:
    cut = wav(tmp_path / "a.wav", ramp(20_000))
    with cut.open("rb+") as file:
        file.truncate(cut.stat().st_size // 2)
    microphone = FileMicrophone([cut], 0, None)

    with pytest.raises(Unavailable, match="damaged: it ends after"):
        drain(microphone)

    assert microphone.read() is None
