import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from listener.audio.clip import Clip, EndReason, Recorder, encode_clip, longest_samples
from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Framer, Samples
from listener.audio.ring_buffer import Ring
from listener.config import ClipSettings
from tests.fakes import LoudnessModel, PlainBuffers, told

SETTINGS = ClipSettings()
LOUD, QUIET = 5_000, 3


class Scene:
    """A recorder with everything it needs; sound is a list of (seconds, is loud)."""

    def __init__(self, settings: ClipSettings = SETTINGS) -> None:
        self.settings = settings
        self.ring = Ring(np.zeros(25 * FRAME_SAMPLES, np.int16))
        self.speech = LoudnessModel()
        self.buffers = PlainBuffers(1, longest_samples(settings))
        self.recorder = Recorder(self.ring, self.speech, settings, self.buffers)
        self.framer = Framer()
        self.sound = np.zeros(0, np.int16)

    def hear(self, seconds: float, level: int, *, wake_at_end: bool = False) -> Clip | None:
        """Hear that long, or until a clip ends; a wake may end with it."""
        block = np.full(round(seconds * SAMPLE_RATE_HZ), level, np.int16)
        self.sound = np.concatenate([self.sound, block])
        for frame in self.framer.push(block):
            self.ring.push(frame)
            clip = self.recorder.push(frame)
            if clip is not None:
                return clip
        if wake_at_end:
            assert self.recorder.start(self.ring.end_sample)
        return None


def with_word(settings: ClipSettings = SETTINGS) -> Scene:
    """Three quiet seconds, then a word of 0.56 s whose last frame woke."""
    scene = Scene(settings)
    scene.hear(2.96, QUIET)
    scene.hear(0.56, LOUD, wake_at_end=True)
    return scene


WAKE = round(3.52 * SAMPLE_RATE_HZ)


def test_word_and_command_without_pause_are_one_clip() -> None:
    scene = with_word()
    scene.hear(1.2, LOUD)

    clip = scene.hear(4.0, QUIET)

    assert clip is not None
    assert clip.end_reason is EndReason.SILENCE
    assert clip.first_sample == WAKE - round(SETTINGS.pre_roll_s * SAMPLE_RATE_HZ)
    assert clip.end_sample == WAKE + round((1.2 + SETTINGS.post_roll_s) * SAMPLE_RATE_HZ)
    assert (clip.samples == scene.sound[clip.first_sample : clip.end_sample]).all()


def test_command_after_a_pause_is_recorded() -> None:
    scene = with_word()
    scene.hear(0.16, LOUD)
    assert scene.hear(2.4, QUIET) is None
    scene.hear(0.8, LOUD)

    clip = scene.hear(4.0, QUIET)

    assert clip is not None
    assert clip.end_reason is EndReason.SILENCE
    assert clip.end_sample > WAKE + round(3.3 * SAMPLE_RATE_HZ)


def test_clip_without_speech_after_the_word_ends_as_no_speech() -> None:
    scene = with_word()
    scene.hear(0.24, LOUD)

    clip = scene.hear(6.0, QUIET)

    assert clip is not None
    assert clip.end_reason is EndReason.NO_SPEECH
    assert clip.end_sample == WAKE + round((0.24 + SETTINGS.post_roll_s) * SAMPLE_RATE_HZ), (
        "what was waited for in vain must not be kept"
    )


def test_continuous_speech_ends_exactly_at_the_maximum_length() -> None:
    scene = with_word(ClipSettings(longest_s=1.013))

    clip = scene.hear(9.0, LOUD)

    assert clip is not None
    assert clip.end_reason is EndReason.CAP
    assert clip.end_sample == WAKE + round(1.013 * SAMPLE_RATE_HZ)
    assert len(clip.samples) == longest_samples(scene.settings)


def test_end_of_stream_ends_the_clip_with_all_samples() -> None:
    scene = with_word()
    scene.hear(0.4, LOUD)

    clip = scene.recorder.finish()

    assert clip is not None
    assert clip.end_reason is EndReason.END
    assert clip.end_sample == scene.ring.end_sample
    assert scene.recorder.finish() is None


def test_abandoned_clip_is_wiped_and_its_buffer_released() -> None:
    scene = with_word()
    scene.hear(0.4, LOUD)

    scene.recorder.abandon()

    assert not scene.recorder.is_recording
    assert not scene.buffers.all[0].any()
    assert scene.buffers.free
    assert scene.hear(0.4, LOUD) is None


def test_recording_does_not_start_without_a_free_buffer() -> None:
    scene = with_word()
    scene.hear(2.0, LOUD)
    assert scene.hear(2.0, QUIET) is not None

    began = scene.recorder.start(scene.ring.end_sample)

    assert not began
    assert not scene.recorder.is_recording


def test_second_start_while_recording_is_an_error() -> None:
    scene = with_word()

    with pytest.raises(ValueError, match="already being recorded"):
        scene.recorder.start(scene.ring.end_sample)


def test_late_wake_still_has_its_pre_roll() -> None:
    scene = Scene()
    scene.hear(1.6, QUIET)
    scene.hear(0.4, LOUD)
    scene.hear(0.16, QUIET)
    wake = 2 * SAMPLE_RATE_HZ

    scene.recorder.start(wake)
    clip = scene.hear(8.0, QUIET)

    assert clip is not None
    assert (clip.first_sample, clip.wake_sample) == (wake - 24_000, wake)
    assert clip.pre_roll_samples == 24_000


def test_wake_older_than_the_ring_starts_at_its_first_sample() -> None:
    scene = Scene()
    scene.hear(4.0, QUIET)

    scene.recorder.start(0)

    assert scene.recorder.first_sample == scene.ring.first_sample


@given(
    before=st.integers(1, 40),
    parts=st.lists(st.tuples(st.integers(1, 15), st.booleans()), max_size=20),
    longest_s=st.floats(1, 4),
    post_roll_s=st.floats(0, 2),
    silence_s=st.floats(0.2, 3),
)
def test_clip_is_contiguous_and_within_its_limits(
    before: int,
    parts: list[tuple[int, bool]],
    longest_s: float,
    post_roll_s: float,
    silence_s: float,
) -> None:
    settings = ClipSettings(longest_s=longest_s, post_roll_s=post_roll_s, silence_s=silence_s)
    ring = Ring(np.zeros(25 * FRAME_SAMPLES, np.int16))
    buffers = PlainBuffers(1, longest_samples(settings))
    recorder = Recorder(ring, LoudnessModel(10_000), settings, buffers)
    frames = told(before + sum(count for count, _ in parts))
    clip = None

    for index, frame in enumerate(frames):
        ring.push(frame)
        clip = recorder.push(frame)
        if clip is not None:
            break
        if index == before - 1:
            recorder.start(frame.end_sample)
    clip = clip or recorder.finish()

    assert clip is not None
    wake = before * FRAME_SAMPLES
    assert clip.first_sample == max(0, wake - round(1.5 * SAMPLE_RATE_HZ))
    assert clip.first_sample < clip.wake_sample <= clip.end_sample
    assert clip.end_sample - clip.wake_sample <= round(longest_s * SAMPLE_RATE_HZ)
    places = np.arange(clip.first_sample, clip.end_sample)
    assert (clip.samples == (places % 30_000 + 1).astype(np.int16)).all()
    assert not clip.samples.flags.writeable


@given(st.integers(1, 40_000), st.integers(0, 2**32 - 1))
def test_clip_flac_round_trip_keeps_samples_and_comment(length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples: Samples = rng.integers(-32_768, 32_768, length).astype(np.int16)

    flac = encode_clip(samples, '{"clip":"x"}')

    with soundfile.SoundFile(io.BytesIO(flac)) as file:
        assert (file.format, file.samplerate, file.channels) == ("FLAC", SAMPLE_RATE_HZ, 1)
        assert file.comment == '{"clip":"x"}'
        assert (file.read(dtype="int16") == samples).all()
