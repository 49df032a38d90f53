"""In a quiet room steps are put off, and nothing that matters changes by it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from listener.audio.pcm import Frame, Gap, GapReason, Samples
from listener.wakeword.detector import NearMiss, StreamDetector, Wake

pytestmark = pytest.mark.system  # real models over whole scenes

WORDS = ("alexa", "hey-jarvis", "hey-marvin", "hey-mycroft")
LONG_WORDS = ("timer", "weather")
MATTERS = 0.05
SAME = 1e-5

Build = Callable[..., StreamDetector]
Cut = Callable[[Samples], Iterator[Frame]]
Event = Wake | NearMiss


def heard(detector: StreamDetector, frames: Iterator[Frame]) -> tuple[list[Event], Any]:
    """Play ``frames``; return the events, and the scores with NaN where they were put off."""
    events: list[Event] = []
    rows: list[list[float]] = []
    width = 0
    for frame in frames:
        events += detector.push(frame)
        rows += [list(step.scores.values()) for step in detector.steps]
        width = max(width, len(rows[-1]))
    return events, np.array([row or [np.nan] * width for row in rows])


def assert_nothing_that_matters_differs(
    lazy: tuple[list[Event], Any], full: tuple[list[Event], Any]
) -> float:
    """Compare two hearings; return the part of the steps that were put off."""
    events, scores = lazy
    expected_events, expected = full
    put_off = np.isnan(scores[:, 0])
    assert [(e.word, e.end_sample) for e in events] == [
        (e.word, e.end_sample) for e in expected_events
    ]
    np.testing.assert_allclose(scores[~put_off], expected[~put_off], rtol=0, atol=SAME)
    assert expected[put_off].max(initial=0) < MATTERS
    return float(put_off.mean())


def mixed(samples: Samples, noise: Any) -> Samples:
    mixture: Samples = np.clip(samples + noise, -32_768, 32_767).astype(np.int16)
    return mixture


def pink(length: int, level: float, seed: int) -> Any:
    """A noise like that of a room: as much of it in each octave."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(length))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    noise = np.fft.irfft(spectrum, length)
    return noise * (level / noise.std())


def with_pauses(parts: list[Samples], seed: int) -> Samples:
    """Join ``parts`` with pauses of 3 to 6 s of digital silence."""
    random = np.random.default_rng(seed)
    pieces = []
    for part in parts:
        pieces += [np.zeros(int(random.integers(48_000, 96_000)), np.int16), part]
    return np.concatenate([*pieces, np.zeros(64_000, np.int16)])


@pytest.fixture(scope="module")
def scene(spoken: dict[str, Samples]) -> Samples:
    """What the project's own recordings hold, with pauses of digital silence."""
    names = ("alexa", "hey_jarvis_command", "talk", "hey_mycroft_command", "near", "alexa_twice")
    return with_pauses([spoken[name] for name in names], 1)


@pytest.mark.parametrize("hop_ms", [80, 40])
@pytest.mark.parametrize("level", [0, 3, 30])
def test_lazy_mode_has_the_same_events_in_the_test_scene(
    build: Build, cut: Cut, scene: Samples, hop_ms: int, level: int
) -> None:
    samples = mixed(scene, pink(len(scene), level, 2)) if level else scene

    lazy = heard(build(*WORDS, hop_ms=hop_ms, lazy=True), cut(samples))
    full = heard(build(*WORDS, hop_ms=hop_ms, lazy=False), cut(samples))

    assert any(isinstance(event, Wake) for event in full[0])
    assert assert_nothing_that_matters_differs(lazy, full) > 0.1


@pytest.mark.parametrize("hop_ms", [80, 40])
@pytest.mark.parametrize("level", [0, 1, 10, 100])
def test_lazy_mode_defers_most_steps_in_a_quiet_room(
    build: Build, cut: Cut, hop_ms: int, level: int
) -> None:
    noise = pink(60 * 16_000, level, 3).round().astype(np.int16) if level else None
    samples = np.zeros(60 * 16_000, np.int16) if noise is None else noise

    _, scores = heard(build("alexa", hop_ms=hop_ms), cut(samples))

    assert np.isnan(scores[:, 0]).mean() > 0.9


@pytest.mark.parametrize("word", LONG_WORDS)
def test_head_with_a_longer_window_is_never_deferred(build: Build, cut: Cut, word: str) -> None:
    silence = np.zeros(10 * 16_000, np.int16)

    _, scores = heard(build("alexa", word), cut(silence))

    assert not np.isnan(scores).any()


def test_detector_after_a_gap_equals_a_new_detector(
    build: Build, cut: Cut, spoken: dict[str, Samples]
) -> None:
    used, fresh = build("alexa"), build("alexa")
    heard(used, cut(np.zeros(80_000, np.int16)))

    used.push(Gap(GapReason.MUTED, 80_000, 16_000))

    events, scores = heard(used, cut(spoken["alexa"]))
    expected_events, expected = heard(fresh, cut(spoken["alexa"]))
    assert events == expected_events
    np.testing.assert_array_equal(scores, expected)


def test_gap_wipes_stored_mel_frames(build: Build, cut: Cut, spoken: dict[str, Samples]) -> None:
    detector = build("alexa")
    heard(detector, cut(spoken["alexa"]))

    detector.push(Gap(GapReason.MUTED, 0))

    assert not detector._model._stored.any()  # type: ignore[attr-defined] # noqa: SLF001 - nothing of the sound may stay


@pytest.fixture
def group_of(
    recordings: Path, read_folder: Callable[[Path, float], Samples]
) -> Callable[[str, float], list[Samples]]:
    """Read so many seconds of each folder of a group of recordings."""

    def read(group: str, seconds: float) -> list[Samples]:
        folders = sorted(folder for folder in (recordings / group).iterdir() if folder.is_dir())
        return [read_folder(folder, seconds) for folder in folders]

    return read


@pytest.mark.recordings
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("gain", "noise_level"), [(1.0, 0), (1.0, 20), (0.1, 5), (0.03, 40), (0.05, 150), (0.003, 0)]
)
def test_lazy_mode_has_the_same_events_for_words_in_quiet(
    group_of: Callable[[str, float], list[Samples]],
    build: Build,
    cut: Cut,
    gain: float,
    noise_level: float,
) -> None:
    words = [
        np.round(part * gain).astype(np.int16)
        for positives in group_of("positive", 30)
        for part in np.array_split(positives, 9)
    ]
    samples = with_pauses(words, 5)
    samples = mixed(samples, pink(len(samples), noise_level, 6)) if noise_level else samples

    lazy = heard(build(*WORDS), cut(samples))
    full = heard(build(*WORDS, lazy=False), cut(samples))

    assert sum(isinstance(event, Wake) for event in full[0]) >= 5
    assert assert_nothing_that_matters_differs(lazy, full) > 0.1


@pytest.mark.recordings
@pytest.mark.timeout(240)
@pytest.mark.parametrize("group", ["negative", "noise"])
@pytest.mark.parametrize("gain", [1.0, 0.05])
def test_lazy_mode_has_the_same_events_for_speech_and_noise(
    group_of: Callable[[str, float], list[Samples]],
    build: Build,
    cut: Cut,
    group: str,
    gain: float,
) -> None:
    parts = [np.round(part * gain).astype(np.int16) for part in group_of(group, 12)]
    samples = with_pauses(parts, 7)

    lazy = heard(build(*WORDS), cut(samples))
    full = heard(build(*WORDS, lazy=False), cut(samples))

    assert_nothing_that_matters_differs(lazy, full)
