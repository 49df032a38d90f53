"""``make training``: trains words from synthetic speech alone, and counts misses of real people.

    python -m benchmarks.training [--voices fast|best] [--home DIR] [WORD ...]

DIR is a data directory to which neural voices were added; without it the programs alone speak.

The recordings are those of EARMARK_RECORDINGS, with a ``manifest.json`` and ``positive/WORD``. They
train nothing and fix no threshold. Prints for each word the minutes, and the misses at the model's
threshold, clean and with noise at 10 dB.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.sounds import recordings_folder
from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import Unavailable
from listener.evaluate.corpus.augmentation import Condition, MixChoice, Mixer, choose_mix
from listener.evaluate.metrics.intervals import wilson
from listener.inference.catalogue import Catalogue
from listener.inference.onnx import HeadNet
from listener.storage.recordings import read_recording
from listener.train.features import FIRST_WINDOW, WINDOW_FRAMES, Embedder
from listener.train.thresholds import sustain

WORDS: Final = ("alexa", "jarvis")
LEAD_S: Final = 2.0
TAIL_S: Final = 0.5
_LONGEST_SAMPLES: Final = 60 * SAMPLE_RATE_HZ
CONDITIONS: Final = (None, 10.0)
"""Signal-to-noise ratios in decibels; None: no noise is added."""


def main() -> int:
    """Train, measure and print; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", default=WORDS)
    parser.add_argument("--voices", choices=("fast", "best"), default="fast")
    parser.add_argument("--home", type=Path, help="data directory with neural voices")
    parser.add_argument("--seed", default="1")
    arguments = parser.parse_args()
    audio = recordings_folder()
    if audio is None:
        raise Unavailable("no real recordings: set EARMARK_RECORDINGS to their folder")
    for word in arguments.words:
        with tempfile.TemporaryDirectory() as folder:
            home = arguments.home or Path(folder)
            started_s = time.monotonic()
            subprocess.run(  # noqa: S603 - a list without a shell: this program
                [
                    *(sys.executable, "-m", "listener", "train", word, "--silent"),
                    *("--home", str(home), "--to", folder, "--name", "trained"),
                    *("--voices", arguments.voices, "--seed", arguments.seed),
                ],
                check=True,
            )
            minutes = (time.monotonic() - started_s) / 60
            model = Catalogue(home, Path(folder)).load("trained")
            print(f"{word}: {minutes:.1f} min, {len(model.data)} bytes")
            for snr_db in CONDITIONS:
                scores = score_clips(HeadNet(model.data, word), audio, word, snr_db)
                threshold = model.manifest.threshold or 0.5
                missed = sum(score < threshold for score in scores)
                rate = wilson(missed, len(scores))
                print(
                    f"  {'clean' if snr_db is None else f'{snr_db:.0f} dB'}: {missed} of"
                    f" {len(scores)} missed, {100 * (rate.low or 0):.1f} to"
                    f" {100 * (rate.high or 0):.1f} %"
                )
    return 0


def score_clips(head: HeadNet, audio: Path, word: str, snr_db: float | None) -> list[float]:
    """Return the highest sustained score of each recording of a word.

    Args:
        head: the model.
        audio: folder with a ``manifest.json``.
        word: label of the recordings.
        snr_db: noise to add, in decibels; None for none.
    """
    catalogue = Catalogue(audio)
    embedder = Embedder(catalogue.embedding(), catalogue.long_embedding())
    scores = []
    for samples in _clips(audio, word, snr_db):
        embeddings = embedder.embed(samples)
        steps = [
            float(head.score(embeddings[end - WINDOW_FRAMES + 1 : end + 1])[0])
            for end in range(FIRST_WINDOW, len(embeddings))
        ]
        scores.append(float(sustain(np.array(steps, np.float32)).max()))
    return scores


def _clips(audio: Path, word: str, snr_db: float | None) -> Iterator[Samples]:
    listed: dict[str, Any] = json.loads((audio / "manifest.json").read_text("utf-8"))
    noises = tuple(
        audio / each["file"] for each in listed["streams"] if each["group"].startswith("noise/")
    )
    condition = Condition(str(snr_db), snr_db, noises)
    files = [each["file"] for each in listed["clips"] if each["group"] == f"positive/{word}"]
    if not files:
        raise Unavailable(f"{audio} has no recordings of {word!r}")
    lead, tail = (np.zeros(round(s * SAMPLE_RATE_HZ), np.int16) for s in (LEAD_S, TAIL_S))
    for file in files:
        padded = np.concatenate([lead, read_recording(audio / file, _LONGEST_SAMPLES), tail])
        yield np.concatenate(list(_mix(padded, choose_mix(condition, 1, file, 0))))


def _mix(samples: Samples, choice: MixChoice) -> Sequence[Samples]:
    return list(Mixer().mix(lambda: iter([samples]), choice))


if __name__ == "__main__":
    sys.exit(main())
