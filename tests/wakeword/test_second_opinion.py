"""A second network is asked where a word scores faintly, and the mean of both logits decides."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.audio.pcm import FRAME_SAMPLES, Frame, Gap, GapReason, Samples
from listener.config import WakeSettings
from listener.errors import ModelRefused
from listener.inference.build import build_batch, build_detector, load_detector
from listener.inference.catalogue import Catalogue
from listener.wakeword.detector import StreamDetector, Wake
from listener.wakeword.features import Floats
from listener.wakeword.manifest import FAINTEST_SCORE
from listener.wakeword.micro_features import MicroFeatures, Whole
from listener.wakeword.second_opinion import (
    CHUNK_FRAMES,
    CONTINUED_SAMPLES,
    HELD_FRAMES,
    LATEST_FRAMES,
    OPINION_FRAMES,
    OPINION_SAMPLES,
    Opinion,
    SecondOpinions,
    combine,
    window_features,
)
from models.microwakeword.filters import make_filters

FILTERS = make_filters()
FAINT = 0.01


class Recorder:
    """A network that keeps the features it was asked about."""

    def __init__(self, probability: float = 0.5) -> None:
        self.asked: list[Whole] = []
        self.probability = probability
        self.wiped = 0

    def probabilities(self, features: Whole) -> Floats:
        self.asked.append(features.copy())
        return np.array([0.0, self.probability, 0.0], np.float32)

    def wipe(self) -> None:
        self.wiped += 1


def front_end() -> MicroFeatures:
    return MicroFeatures(FILTERS, CHUNK_FRAMES)


def opinions(*networks: Recorder, step_samples: int = FRAME_SAMPLES) -> SecondOpinions:
    asked = [Opinion(column, network, FAINT) for column, network in enumerate(networks)]
    return SecondOpinions(front_end(), asked, step_samples)


def noise(frames: int) -> Samples:
    rng = np.random.default_rng(7)
    return rng.normal(0, 2_000, frames * FRAME_SAMPLES).astype(np.int16)


def feed(second: SecondOpinions, samples: Samples, scores: dict[int, float]) -> dict[int, float]:
    """Feed frames with the scores of some; return the scores after each."""
    revised = {}
    for index, frame in enumerate(samples.reshape(-1, FRAME_SAMPLES)):
        second.push(frame)
        row = np.array([[scores.get(index, 0.0)]], np.float32)
        second.revise(row)
        revised[index] = float(row[0, 0])
    return revised


def test_mean_of_both_logits_is_the_score() -> None:
    assert combine(0.5, 0.5) == pytest.approx(0.5)
    assert combine(0.9, 0.1) == pytest.approx(0.5)
    assert combine(0.8, 0.2) < combine(0.8, 0.3) < combine(0.9, 0.3)
    logit = (math.log(0.7 / 0.3) + math.log(0.6 / 0.4)) / 2
    assert combine(0.7, 0.6) == pytest.approx(1 / (1 + math.exp(-logit)))


def test_no_engine_decides_alone_however_certain_it_is() -> None:
    assert combine(1.0, 0.0) < 0.45
    assert combine(FAINTEST_SCORE, 255 / 256) == pytest.approx(0.5, abs=0.01)
    assert 0 < combine(0.0, 0.0) < 0.01
    assert 0.99 < combine(1.0, 1.0) < 1


def test_network_is_asked_only_from_the_bound_on() -> None:
    network = Recorder(0.25)
    below = math.nextafter(FAINT, 0)

    revised = feed(opinions(network), noise(40), {30: below - 1e-6, 31: FAINT + 1e-6, 32: math.nan})

    # The score is held, but a step without a score is not asked about.
    assert len(network.asked) == HELD_FRAMES
    assert revised[31] == pytest.approx(combine(FAINT + 1e-6, 0.25), abs=1e-6)
    assert revised[30] == pytest.approx(below, abs=1e-5)
    assert math.isnan(revised[32])
    assert revised[29] == 0.0


def test_score_of_the_head_is_held_for_two_frames() -> None:
    network = Recorder(0.75)

    revised = feed(opinions(network), noise(40), {30: 0.3, 31: 0.02, 34: 0.001})

    for index in (30, 31, 32):
        assert revised[index] == pytest.approx(combine(0.3, 0.75), abs=1e-6)
    assert revised[33] == pytest.approx(combine(0.02, 0.75), abs=1e-6)
    assert revised[34] == pytest.approx(0.001)
    assert len(network.asked) == 4


def test_half_steps_hold_the_score_as_long() -> None:
    network = Recorder()
    second = opinions(network, step_samples=FRAME_SAMPLES // 2)

    second.revise(np.array([[0.5], *[[0.0]] * 5], np.float32))

    assert len(network.asked) == 1 + 2 * HELD_FRAMES


def test_network_takes_the_two_seconds_up_to_the_step() -> None:
    network, samples = Recorder(), noise(60)

    feed(opinions(network), samples, {41: 0.5})

    end = 42 * FRAME_SAMPLES
    expected = window_features(front_end(), samples[end - OPINION_SAMPLES : end])
    assert expected.shape == (OPINION_FRAMES, 40)
    assert np.array_equal(network.asked[0], expected)


def test_audio_before_the_start_of_a_stream_is_silence() -> None:
    network, samples = Recorder(), noise(10)

    feed(opinions(network), samples, {9: 0.5})

    padded = np.concatenate([np.zeros(OPINION_SAMPLES - len(samples), np.int16), samples])
    assert np.array_equal(network.asked[0], window_features(front_end(), padded))


def test_front_end_goes_on_while_steps_follow() -> None:
    network, samples = Recorder(), noise(60)

    feed(opinions(network), samples, {40: 0.5, 46: 0.5})

    begin = 41 * FRAME_SAMPLES - OPINION_SAMPLES
    whole = window_features(front_end(), samples[begin : 49 * FRAME_SAMPLES])
    for features, later in zip(network.asked, (0, 1, 2, 6, 7, 8), strict=True):
        frames = later * FRAME_SAMPLES // 160
        assert np.array_equal(features, whole[frames : frames + OPINION_FRAMES])


def test_front_end_starts_anew_after_a_second_without_a_question() -> None:
    network, samples = Recorder(), noise(80)
    apart = CONTINUED_SAMPLES // FRAME_SAMPLES + HELD_FRAMES + 1

    feed(opinions(network), samples, {40: 0.5, 40 + apart: 0.5})

    end = (41 + apart) * FRAME_SAMPLES
    expected = window_features(front_end(), samples[end - OPINION_SAMPLES : end])
    assert np.array_equal(network.asked[1 + HELD_FRAMES], expected)


def padded(features: Whole) -> Whole:
    """Return features with zeros in place of older ones, as many as a network takes."""
    whole = np.zeros((OPINION_FRAMES, features.shape[1]), np.int32)
    whole[len(whole) - len(features) :] = features
    return whole


def test_scores_that_come_late_are_asked_about_their_own_audio() -> None:
    late, samples = Recorder(), noise(50)
    second = opinions(late)

    for index, frame in enumerate(samples.reshape(-1, FRAME_SAMPLES)):
        second.push(frame)
        if index < 46:
            second.revise(np.zeros((1, 1), np.float32))
    second.revise(np.full((LATEST_FRAMES, 1), 0.5, np.float32))

    assert len(late.asked) == LATEST_FRAMES
    oldest = len(samples) - OPINION_SAMPLES
    for index, asked in enumerate(late.asked):
        end = (47 + index) * FRAME_SAMPLES
        assert np.array_equal(asked, padded(window_features(front_end(), samples[oldest:end])))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_recordings_are_asked_about_the_audio_that_a_stream_has_left(data: st.DataObject) -> None:
    # Any scores, which come up to LATEST_FRAMES - 1 frames late, together with later ones.
    frames = 70
    samples = noise(frames)
    faint = data.draw(st.dictionaries(st.integers(0, frames - 1), st.sampled_from([0.02, 0.5])))
    scores = np.array([[faint.get(step, 0.0)] for step in range(frames)], np.float32)
    scores[list(data.draw(st.sets(st.integers(0, frames - 1), max_size=9)))] = math.nan
    stream, recording = Recorder(), Recorder()
    streaming, batch = opinions(stream), opinions(recording)

    late: list[int] = []
    for index, frame in enumerate(samples.reshape(-1, FRAME_SAMPLES)):
        streaming.push(frame)
        waiting = index + 1 - len(late)
        if waiting == LATEST_FRAMES or index + 1 == frames or data.draw(st.booleans()):
            streaming.revise(scores[len(late) : index + 1].copy())
            late += range(waiting - 1, -1, -1)
    for index, frame in enumerate(samples.reshape(-1, FRAME_SAMPLES)):
        batch.push(frame)
        batch.revise(scores[index : index + 1].copy(), late[index])

    assert len(stream.asked) == len(recording.asked)
    assert all(map(np.array_equal, stream.asked, recording.asked))


def test_half_steps_end_in_the_middle_of_a_frame() -> None:
    network, samples = Recorder(), noise(40)
    second = opinions(network, step_samples=FRAME_SAMPLES // 2)

    for index, frame in enumerate(samples.reshape(-1, FRAME_SAMPLES)):
        second.push(frame)
        first_half = 0.5 if index == 39 else 0.0
        second.revise(np.array([[first_half], [math.nan]], np.float32))

    end = 39 * FRAME_SAMPLES + FRAME_SAMPLES // 2
    oldest = 40 * FRAME_SAMPLES - OPINION_SAMPLES
    expected = padded(window_features(front_end(), samples[oldest:end]))
    assert np.array_equal(network.asked[0], expected)


def test_audio_and_features_are_kept_for_two_seconds() -> None:
    network, samples = Recorder(), noise(30)
    second = opinions(network)
    feed(second, samples, {29: 0.5})
    quiet = np.zeros(FRAME_SAMPLES, np.int16)

    for frame in range(1, OPINION_SAMPLES // FRAME_SAMPLES + 1):
        second.push(quiet)
        features = [
            value
            for value in vars(second).values()
            if isinstance(value, np.ndarray) and value.shape == (OPINION_FRAMES, 40)
        ]
        since = frame - min(frame - 1, HELD_FRAMES)  # the held score is asked about too
        assert not features[0][: since * FRAME_SAMPLES // 160].any()
        second.revise(np.zeros((1, 1), np.float32))

    buffers = [value for value in vars(second).values() if isinstance(value, np.ndarray)]
    assert not any(buffer.any() for buffer in buffers)


def test_two_words_share_the_features_of_a_step() -> None:
    one, other = Recorder(0.9), Recorder(0.1)
    second, samples = opinions(one, other), noise(30)
    for frame in samples.reshape(-1, FRAME_SAMPLES):
        second.push(frame)
    scores = np.array([[0.5, 0.5, 0.5]], np.float32)

    second.revise(scores)

    assert np.array_equal(one.asked[0], other.asked[0])
    assert scores[0].tolist() == pytest.approx([combine(0.5, 0.9), combine(0.5, 0.1), 0.5])


def test_restart_overwrites_audio_and_features() -> None:
    network, samples = Recorder(), noise(40)
    second = opinions(network)
    feed(second, samples, {39: 0.5})

    second.restart()

    buffers = [value for value in vars(second).values() if isinstance(value, np.ndarray)]
    assert len(buffers) == 3
    assert not any(buffer.any() for buffer in buffers)
    assert network.wiped == 2, "after the question, and at the restart"
    feed(second, samples, {39: 0.5})
    assert np.array_equal(network.asked[0], network.asked[1])


def test_detector_asks_the_second_network_of_its_words(
    catalogue: Catalogue,
    spoken: dict[str, Samples],
    cut: Callable[[Samples], Iterator[Frame]],
) -> None:
    with_it = score(detector(catalogue, "alexa"), cut(spoken["alexa_command"]))
    without = score(
        detector(catalogue, "alexa", second_opinion=False), cut(spoken["alexa_command"])
    )

    faint = without >= FAINTEST_SCORE
    asked = np.convolve(faint, np.ones(1 + HELD_FRAMES))[: len(faint)] > 0
    assert faint.any()
    assert np.array_equal(with_it[~asked], without[~asked])
    assert np.abs(with_it[asked] - without[asked]).max() > 1e-3
    assert with_it.max() > 0.9


@pytest.mark.parametrize("recording", ["alexa_command", "alexa_twice", "talk", "near"])
def test_batch_scores_equal_streaming_scores(
    recording: str,
    catalogue: Catalogue,
    spoken: dict[str, Samples],
    cut: Callable[[Samples], Iterator[Frame]],
) -> None:
    words = [catalogue.load(word) for word in ("alexa", "hey-jarvis", "hey-mycroft")]
    samples = spoken[recording]
    samples = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES]
    batch = build_batch(
        words,
        catalogue.embedding(),
        catalogue.long_embedding(),
        opinions=catalogue.second_opinions(words),
    )
    names = tuple(word.name for word in words)
    chosen = WakeSettings(words=names, lazy=False, first_stage=False)
    streaming = load_detector(catalogue, words, chosen)

    parts = [samples[first : first + 163_840] for first in range(0, len(samples), 163_840)]
    together = np.concatenate([batch.push(part) for part in parts])

    assert np.abs(together - scores(streaming, cut(samples), names)).max() < 1e-4


def test_lazy_steps_change_no_wake(
    catalogue: Catalogue, spoken: dict[str, Samples], cut: Callable[[Samples], Iterator[Frame]]
) -> None:
    samples = np.concatenate([spoken["quiet"], spoken["alexa_twice"]])

    found = [
        [wake for frame in cut(samples) for wake in listening.push(frame) if isinstance(wake, Wake)]
        for listening in (detector(catalogue, "alexa"), detector(catalogue, "alexa", lazy=True))
    ]

    assert found[0]
    assert found[0] == found[1]


def test_no_audio_spans_a_gap(
    catalogue: Catalogue, spoken: dict[str, Samples], cut: Callable[[Samples], Iterator[Frame]]
) -> None:
    listening = detector(catalogue, "alexa")
    fresh = score(listening, cut(spoken["alexa_command"]))

    for frame in cut(spoken["alexa_twice"]):
        listening.push(frame)
    listening.push(Gap(GapReason.LOST, 0))

    assert np.array_equal(score(listening, cut(spoken["alexa_command"])), fresh)


def test_word_without_the_model_of_its_opinion_is_scored_by_its_head_alone(
    catalogue: Catalogue, spoken: dict[str, Samples], cut: Callable[[Samples], Iterator[Frame]]
) -> None:
    alexa = catalogue.load("alexa")

    alone = build_detector([alexa], catalogue.embedding(), WakeSettings(lazy=False))

    without = score(detector(catalogue, "alexa", second_opinion=False), cut(spoken["near"]))
    assert without.max() >= FAINTEST_SCORE
    assert np.array_equal(score(alone, cut(spoken["near"])), without)


def test_words_without_a_second_opinion_load_no_model(catalogue: Catalogue) -> None:
    weather, alexa = catalogue.load("weather"), catalogue.load("alexa")

    assert catalogue.second_opinions([weather]) == ()
    assert [model.name for model in catalogue.second_opinions([alexa, weather, alexa])] == [
        "microwakeword"
    ]


def test_an_opinion_of_another_kind_of_model_is_refused(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    added = added_alexa(catalogue, tmp_path, 'model = "silero-vad"\nfile = "alexa.onnx"')

    with pytest.raises(ModelRefused, match="silero-vad is of the kind speech, not a second"):
        added.second_opinions([added.load("my-alexa")])


def test_an_opinion_without_its_network_is_refused(catalogue: Catalogue, tmp_path: Path) -> None:
    added = added_alexa(catalogue, tmp_path, 'model = "microwakeword"\nfile = "other.onnx"')

    with pytest.raises(ModelRefused, match=r"microwakeword has no file 'other\.onnx'"):
        load_detector(added, [added.load("my-alexa")], WakeSettings(words=("my-alexa",)))


def added_alexa(catalogue: Catalogue, home: Path, opinion: str) -> Catalogue:
    """Add alexa under another name, with another second opinion."""
    folder = home / "models" / "my-alexa"
    folder.mkdir(parents=True)
    shipped = catalogue.folder("alexa") / "manifest.toml"
    text = shipped.read_text("utf-8").replace('name = "alexa"', 'name = "my-alexa"', 1)
    own = 'model = "microwakeword"\nfile = "alexa.onnx"'
    assert own in text
    (folder / "manifest.toml").write_text(text.replace(own, opinion), "utf-8")
    return Catalogue(home)


def detector(catalogue: Catalogue, word: str, **settings: Any) -> StreamDetector:
    every_step = {"lazy": False, "first_stage": False}
    chosen = WakeSettings(**{"words": (word,), **every_step, **settings})
    return load_detector(catalogue, [catalogue.load(word)], chosen)


def score(listening: StreamDetector, frames: Iterator[Frame]) -> Floats:
    return scores(listening, frames, tuple(listening.thresholds))[:, 0]


def scores(listening: StreamDetector, frames: Iterator[Frame], words: tuple[str, ...]) -> Floats:
    rows = []
    for frame in frames:
        listening.push(frame)
        rows += [[step.scores[word] for word in words] for step in listening.steps]
    return np.array(rows, np.float32)
