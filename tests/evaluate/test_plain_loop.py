"""The instrument against a plain loop over openwakeword 0.4.0, event by event."""

import copy
import itertools
import json
import os
import warnings
from collections import deque
from pathlib import Path

import numpy as np
import pytest
import soundfile
from joblib import Parallel, delayed
from scipy import stats

from listener.evaluate.metrics.results import EventKind
from listener.evaluate.plan import EngineSettings
from tests.evaluate.spoken import evaluate, plan

THRESHOLD = 0.5
REFRACTORY_S = 2.0
PARTS = 4
"""Parts of the files, each played by a model of its own."""
POSITIVES = "positive/alexa"
PLAYED_S = {
    "negative/speech_commands": 340.0,
    "negative/other_keywords": 40.0,
    "negative/meeting": 30.0,
}
"""Seconds of each stream of a group: openwakeword takes several minutes for all of them."""

pytestmark = [pytest.mark.recordings, pytest.mark.timeout(900)]


class PlainLoop:
    """openwakeword, 80 ms at a time; a wake is a score at the threshold.

    Its ``reset`` keeps the sound of the last file, so its buffers are set to what they are in a new
    model; loading one takes seconds.
    """

    def __init__(self) -> None:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import openwakeword  # noqa: PLC0415 - once its telemetry is off
        from openwakeword.model import Model  # noqa: PLC0415 - once its telemetry is off

        warnings.filterwarnings("ignore", category=UserWarning)  # onnxruntime has no CUDA
        folder = Path(openwakeword.__file__).parent / "resources" / "models"
        self._model = Model(wakeword_model_paths=[str(folder / "alexa_v0.1.onnx")])
        self._new = {
            name: value
            for name, value in vars(self._model.preprocessor).items()
            if isinstance(value, int | deque | np.ndarray)
        }

    def wakes(self, path: Path) -> list[tuple[float, float]]:
        """Return the time and the score of each wake."""
        self._model.reset()
        for name, value in self._new.items():
            setattr(self._model.preprocessor, name, copy.copy(value))
        samples, _ = soundfile.read(path, dtype="int16")
        found: list[tuple[float, float]] = []
        for end in range(1280, len(samples) + 1, 1280):
            (score,) = self._model.predict(samples[end - 1280 : end]).values()
            at_s = end / 16_000
            if score >= THRESHOLD and (not found or at_s - found[-1][0] >= REFRACTORY_S):
                found.append((at_s, float(score)))
        return found


def plain_wakes(paths: list[Path]) -> list[list[tuple[float, float]]]:
    """Play files to one model, and the last one to a new model, too."""
    loop = PlainLoop()
    found = [loop.wakes(path) for path in paths]
    assert found[-1] == PlainLoop().wakes(paths[-1])
    return found


@pytest.fixture
def corpus(recordings: Path, tmp_path: Path) -> Path:
    """All recordings of the word, and the beginning of each stream without it."""
    listing = json.loads((recordings / "manifest.json").read_text("utf-8"))
    folder = tmp_path / "corpus"
    (folder / "positive").mkdir(parents=True)
    (folder / POSITIVES).symlink_to((recordings / POSITIVES).resolve())
    clips = [each for each in listing["clips"] if each["group"] == POSITIVES]
    streams = []
    for stream in listing["streams"]:
        seconds = PLAYED_S.get(stream["group"])
        if seconds is None:
            continue
        path = Path(stream["file"]).with_suffix(".flac")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        whole = recordings / stream["file"]
        most = int(seconds * soundfile.info(whole).samplerate)
        samples, rate = soundfile.read(whole, most, dtype="int16")
        soundfile.write(folder / path, samples, rate)
        segments = [part for part in stream["segments"] if part["end"] <= seconds]
        cut = {"file": str(path), "seconds": len(samples) / rate, "segments": segments}
        streams.append(stream | cut)
    text = json.dumps({"clips": clips, "streams": streams})
    (folder / "manifest.json").write_text(text, "utf-8")
    return folder


def test_misses_and_false_wakes_equal_those_of_a_plain_loop(corpus: Path) -> None:
    listing = json.loads((corpus / "manifest.json").read_text("utf-8"))
    files = [each["file"] for each in listing["clips"] + listing["streams"]]
    shares = [files[first::PARTS] for first in range(PARTS)]
    found = Parallel(n_jobs=-1)(
        delayed(plain_wakes)([corpus / file for file in share]) for share in shares
    )
    plain = dict(zip(itertools.chain(*shares), itertools.chain(*found), strict=True))

    head = EngineSettings(second_opinion=False)  # the plain loop has no second network
    made = plan(corpus, head, only=["positive/*", "negative/*"])
    result = evaluate(made)

    (word,) = result.words
    assert result.missing == ()
    assert word.items == len(files)
    ours: dict[str, list[tuple[float, float]]] = {file: [] for file in files}
    for event in word.events:
        if event.kind in {EventKind.HIT, EventKind.FALSE_WAKE}:
            ours[event.item].append((event.at_s, event.score))
    for file in files:
        assert [at_s for at_s, _ in sorted(ours[file])] == [at_s for at_s, _ in plain[file]], file
        for (_, score), (_, expected) in zip(sorted(ours[file]), plain[file], strict=True):
            assert score == pytest.approx(expected, abs=1e-4)

    # And the figures, by hand: a file with the word has it once, all other wakes are false.
    positive = [file for file in files if file.startswith("positive")]
    missed = sum(not plain[file] for file in positive)
    false = sum(max(len(plain[file]) - (file in positive), 0) for file in files)
    hours = sum(soundfile.info(corpus / f).frames for f in files if f not in positive)
    hours /= 16_000 * 3_600
    assert (word.misses.count, word.misses.exposure) == (missed, len(positive))
    assert word.false_wakes.count == false > 0
    assert word.hours == pytest.approx(hours, rel=1e-9)
    assert word.misses.value == pytest.approx(missed / len(positive))
    assert word.false_wakes.value == pytest.approx(false / hours)
    assert word.false_wakes.high == pytest.approx(stats.chi2.isf(0.025, 2 * false + 2) / 2 / hours)
    interval = stats.binomtest(missed, len(positive)).proportion_ci(method="wilson")
    assert (word.misses.low, word.misses.high) == pytest.approx((interval.low, interval.high))


def test_curve_equals_separate_runs_at_each_threshold(recordings: Path, tmp_path: Path) -> None:
    folders = ["positive/alexa/*", "negative/speech_commands/*"]
    whole = evaluate(plan(recordings, EngineSettings(), only=folders), tmp_path).words[0]

    for threshold in (0.05, 0.75):
        alone = EngineSettings(thresholds={"alexa": threshold})
        word = evaluate(plan(recordings, alone, only=folders), tmp_path).words[0]
        # A curve's points are where it changes: the last one at or below holds.
        point = max(
            (each for each in whole.curve if each.threshold <= threshold),
            key=lambda each: each.threshold,
        )
        assert point.misses == word.misses
        assert point.false_wakes == word.false_wakes
    assert np.all(np.diff([each.false_wakes.count for each in whole.curve]) <= 0)
