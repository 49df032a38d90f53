"""Endpoints of spoken phrases, in quiet and in noise, for two releases of Silero VAD.

``python -m benchmarks.endpoints`` plays phrases of real readers to the real `Recorder` and writes
docs/research/endpoints.md. A phrase is a stretch of a reading between two pauses of at least 0.3 s,
1 to 5 s long; its end is the last 20 ms that are less than 30 dB below the reading's speech. The
clip begins at the phrase, as after a wake. The delay is the time from the end of the phrase to the
frame that ended the clip. The older release is the copy in the openwakeword wheel.
"""

import importlib.util
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.report import splice
from benchmarks.sounds import ROOT, SEED, recordings_folder
from listener.audio.clip import EndReason, Recorder, SpeechModel, longest_samples
from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Framer, Samples
from listener.audio.ring_buffer import Ring
from listener.config import ClipSettings
from listener.errors import EarmarkError, Unavailable
from listener.evaluate.corpus.augmentation import Condition, Mixer, choose_mix
from listener.inference.catalogue import Catalogue
from listener.inference.onnx import SpeechNet, open_session
from listener.storage.recordings import open_recording

PAGE: Final = ROOT / "docs" / "research" / "endpoints.md"
PHRASES: Final = 100
SILENCES_S: Final = (0.3, 0.4, 0.5, 0.6, 0.8)
DEFAULT_S: Final = ClipSettings().silence_s
CONDITIONS: Final = (
    Condition("digital silence"),
    Condition("quiet room"),
    Condition("noise at 20 dB", 20.0),
    Condition("noise at 10 dB", 10.0),
    Condition("noise at 5 dB", 5.0),
    Condition("noise at 0 dB", 0.0),
)

_HEADS: Final = ("delay p50", "delay p95", "phrases cut", "no endpoint in 10 s")
_BLOCK_SAMPLES: Final = SAMPLE_RATE_HZ // 50
_SPEECH_DB: Final = 30
_PAUSE_BLOCKS: Final = 15
_PHRASE_BLOCKS: Final = (50, 250)
_BEFORE_SAMPLES: Final = 26 * FRAME_SAMPLES  # more than the ring buffer
_AFTER_SAMPLES: Final = 12 * SAMPLE_RATE_HZ
_MARGIN_SAMPLES: Final = SAMPLE_RATE_HZ // 20
_EARLY_SAMPLES: Final = SAMPLE_RATE_HZ // 10
_ROOM_RMS: Final = 10


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase of a reading."""

    name: str
    samples: Samples
    """int16, with 50 ms before it and up to 50 ms after it."""
    end_sample: int
    """End of the speech in ``samples``."""


@dataclass(frozen=True, slots=True)
class EndpointCounts:
    """Endpoints of all phrases under one condition."""

    delays_s: tuple[float, ...]
    """From the end of a phrase to the endpoint."""
    cut: int
    """Clips that ended over 0.1 s before their phrase."""
    late: int
    """Clips that only the maximum length ended."""

    def row(self) -> str:
        """Return the cells of a table: delay, cut, without an endpoint."""
        if not self.delays_s:
            return f"- | - | {self.cut} | {self.late}"
        p50, p95 = np.percentile(self.delays_s, (50, 95))
        return f"{p50:.2f} s | {p95:.2f} s | {self.cut} | {self.late}"


def main() -> int:
    """Measure, and write the page."""
    folder = recordings_folder()
    if folder is None:
        raise Unavailable(
            "the recordings are absent",
            "set EARMARK_RECORDINGS to a folder of recordings with a manifest.json",
        )
    phrases = find_phrases(folder)
    print(f"endpoints: {len(phrases)} phrases", file=sys.stderr)
    new = SpeechNet(Catalogue(Path(os.devnull)).speech())
    text = PAGE.read_text("utf-8")
    text = splice(text, "releases", _compare(folder, phrases, new, _EarlierNet()))
    text = splice(text, "silences", _sweep(folder, phrases, new))
    PAGE.write_text(text, "utf-8")
    return 0


def find_phrases(folder: Path) -> Sequence[Phrase]:
    """Return phrases of the readers, in a fixed random order.

    Args:
        folder: the recordings.
    """
    found = [
        phrase
        for path in sorted((folder / "speakers" / "librispeech").rglob("*.flac"))
        for phrase in _split(path)
    ]
    random.Random(SEED).shuffle(found)  # noqa: S311 - an order, not a secret
    return found[:PHRASES]


def measure(
    folder: Path,
    phrases: Sequence[Phrase],
    speech: SpeechModel,
    condition: Condition,
    silence_s: float,
) -> EndpointCounts:
    """Play all phrases under one condition and count their endpoints.

    Args:
        folder: the recordings, of which the noise is used.
        phrases: from `find_phrases`.
        speech: the voice activity detector.
        condition: level of the noise; each phrase has its own noise and place in it.
        silence_s: silence that ends the clip.
    """
    noises = tuple(sorted((folder / "noise").rglob("*.opus")))
    condition = Condition(condition.name, condition.snr_db, noises)
    settings = ClipSettings(silence_s=silence_s)
    delays_s, counts = [], Counter[str]()
    for phrase in phrases:
        scene = _scene(phrase, condition)
        end, reason, kept_end = _find_endpoint(scene, speech, settings)
        spoken = _BEFORE_SAMPLES + phrase.end_sample
        if reason is EndReason.CAP:
            counts["late"] += 1
        elif min(end, kept_end) < spoken - _EARLY_SAMPLES:
            counts["cut"] += 1
        else:
            delays_s.append((end - spoken) / SAMPLE_RATE_HZ)
    return EndpointCounts(tuple(delays_s), counts["cut"], counts["late"])


def _compare(
    folder: Path, phrases: Sequence[Phrase], new: SpeechModel, earlier: SpeechModel
) -> str:
    heads = ["background", "release", *_HEADS]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for condition in CONDITIONS:
        for name, speech in (("6.2.3", new), ("before 5", earlier)):
            counts = measure(folder, phrases, speech, condition, DEFAULT_S)
            rows.append(f"| {condition.name} | {name} | {counts.row()} |")
            print(rows[-1], file=sys.stderr)
    return f"{len(phrases)} phrases, `clip.silence_s` {DEFAULT_S:g}.\n\n" + "\n".join(rows)


def _sweep(folder: Path, phrases: Sequence[Phrase], speech: SpeechModel) -> str:
    heads = ["`clip.silence_s`", "background", *_HEADS]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for silence_s in SILENCES_S:
        for condition in (CONDITIONS[1], CONDITIONS[3]):
            counts = measure(folder, phrases, speech, condition, silence_s)
            rows.append(f"| {silence_s:g} s | {condition.name} | {counts.row()} |")
            print(rows[-1], file=sys.stderr)
    return "\n".join(rows)


def _split(path: Path) -> Iterator[Phrase]:
    """Yield the phrases of a reading."""
    parts = []
    with open_recording(path) as recording:
        while (part := recording.read(1 << 14)) is not None:
            parts.append(part.copy())
    sound = np.concatenate(parts)
    blocks = sound[: len(sound) // _BLOCK_SAMPLES * _BLOCK_SAMPLES].astype(np.float64)
    power = (blocks.reshape(-1, _BLOCK_SAMPLES) ** 2).mean(axis=1) + 1
    level_db = 10 * np.log10(power)
    loud = np.flatnonzero(level_db > np.percentile(level_db, 95) - _SPEECH_DB)
    ends = np.flatnonzero(np.diff(loud) > _PAUSE_BLOCKS)
    for first, last in zip(loud[[0, *(ends + 1)]], loud[[*ends, -1]], strict=True):
        if not _PHRASE_BLOCKS[0] <= last - first <= _PHRASE_BLOCKS[1]:
            continue
        begin = max(0, first * _BLOCK_SAMPLES - _MARGIN_SAMPLES)
        end = (last + 1) * _BLOCK_SAMPLES
        samples = sound[begin : end + _MARGIN_SAMPLES].copy()
        yield Phrase(f"{path.name} {first}", samples, int(end - begin))


def _scene(phrase: Phrase, condition: Condition) -> Samples:
    """Return the phrase with quiet around it, and noise over all of it."""
    quiet = np.zeros(_BEFORE_SAMPLES + len(phrase.samples) + _AFTER_SAMPLES, np.float64)
    quiet[_BEFORE_SAMPLES : _BEFORE_SAMPLES + len(phrase.samples)] = phrase.samples
    if condition.name != CONDITIONS[0].name:
        quiet += np.random.default_rng(SEED).normal(0, _ROOM_RMS, len(quiet))
    limits = np.iinfo(np.int16)
    samples = np.clip(np.rint(quiet), limits.min, limits.max).astype(np.int16)
    if condition.snr_db is None:
        return samples
    choice = choose_mix(condition, SEED, phrase.name, 0)
    return np.concatenate(list(Mixer().mix(lambda: iter((samples,)), choice)))


def _find_endpoint(
    scene: Samples, speech: SpeechModel, settings: ClipSettings
) -> tuple[int, EndReason, int]:
    """Return the end of the frame that ended the clip, the reason, and the end of the clip."""
    ring = Ring(np.zeros(25 * FRAME_SAMPLES, np.int16))
    recorder = Recorder(ring, speech, settings, OneBuffer(longest_samples(settings)))
    for frame in Framer().push(scene):
        ring.push(frame)
        clip = recorder.push(frame)
        if clip is not None:
            return frame.end_sample, clip.end_reason, clip.end_sample
        if frame.end_sample == _BEFORE_SAMPLES:
            recorder.start(frame.end_sample)
    raise Unavailable("the scene ended before the clip")


class OneBuffer:
    """Buffers of one recorder; see `clip.Buffers`."""

    def __init__(self, samples: int) -> None:
        self._samples = samples

    def take(self) -> Samples:
        """Return a new buffer; see `clip.Buffers`."""
        return np.zeros(self._samples, np.int16)

    def release(self, samples: Samples) -> None:
        """Keep nothing; see `clip.Buffers`."""


class _EarlierNet:
    """Silero VAD before release 5, from the openwakeword wheel. See `clip.SpeechModel`."""

    def __init__(self) -> None:
        found = importlib.util.find_spec("openwakeword")
        if found is None or not found.submodule_search_locations:
            raise Unavailable("openwakeword is not installed", "pip install openwakeword==0.4.0")
        folder = Path(found.submodule_search_locations[0]) / "resources" / "models"
        data = (folder / "silero_vad.onnx").read_bytes()
        self._session = open_session(data, "silero-vad before 5", keeps_memory=False)
        self._rate = np.array(SAMPLE_RATE_HZ, np.int64)
        self._h: Any = None
        self._c: Any = None
        self.reset()

    def reset(self) -> None:
        """Clear the state."""
        self._h = self._c = np.zeros((2, 1, 64), np.float32)

    def probability(self, samples: Samples) -> float:
        """Return the probability of speech of one chunk."""
        level = (samples / np.float32(32767)).astype(np.float32)[None]
        probability, self._h, self._c = self._session.run(
            None, {"input": level, "sr": self._rate, "h": self._h, "c": self._c}
        )
        return float(probability[0, 0])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EarmarkError as error:
        sys.exit(f"endpoints: {error}")
