"""Worker that runs one engine on one recording: ``python -m benchmarks.engines``.

Arguments: the engine, a file of raw int16 samples, the parent's monotonic clock in seconds when it
started this process, and for ``earmark-home`` a data directory. Prints one JSON object: CPU time of
the kernel, time from the start of the process to the first score, peak memory, and the highest
score.
"""

import importlib.util
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Framer, Samples

if TYPE_CHECKING:
    from listener.inference.catalogue import Catalogue

WORD: Final = "alexa"
SETTLE_S: Final = 4
"""Seconds of warm-up, not counted."""
FEED_SAMPLES: Final = {"pymicro": 160}
"""Samples per call of an engine, one step of its features, where that is not a frame."""

Score = Callable[[Samples], float | None]
"""Returns the newest score, or None before the first."""


def main() -> None:
    """Measure one engine and print the result."""
    engine, sound, started_s = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    engines: dict[str, Callable[[], Score]] = {
        "earmark": _earmark,
        "earmark-stages": partial(_earmark, first_stage=True),
        "earmark-all": partial(_earmark, first_stage=True, every_word=True),
        "earmark-home": lambda: _earmark(first_stage=True, every_word=True, home=Path(sys.argv[4])),
        "openwakeword": _openwakeword,
        "pymicro": _pymicro,
    }
    score = engines[engine]()
    step = FEED_SAMPLES.get(engine, FRAME_SAMPLES)
    samples = np.fromfile(sound, np.int16)
    at = step
    while score(samples[at - step : at]) is None:
        at += step
    first_score_s = time.monotonic() - started_s
    # One-time work of a cold start counts as start, not as CPU time per second.
    settled = SETTLE_S * SAMPLE_RATE_HZ
    _run(score, samples[at:settled], step)
    samples = samples[settled:]
    cpu_ms, peak = _run(score, samples, step)
    print(
        json.dumps(
            {
                "cpu_ms_per_s": cpu_ms / (len(samples) / SAMPLE_RATE_HZ),
                "first_score_s": first_score_s,
                "rss_mib": _peak_rss_mib(),
                "peak_score": peak,
            }
        )
    )


def _peak_rss_mib() -> float:
    """Return the peak of this process; ru_maxrss includes the parent's memory before the start."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _run(score: Score, samples: Samples, step: int) -> tuple[float, float]:
    """Return the CPU time in ms that ``samples`` took, and the highest score."""
    peak = 0.0
    before = resource.getrusage(resource.RUSAGE_SELF)
    for first in range(0, len(samples) - step + 1, step):
        peak = max(peak, score(samples[first : first + step]) or 0.0)
    after = resource.getrusage(resource.RUSAGE_SELF)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used_s * 1000, peak


def list_words(catalogue: "Catalogue", *, only_openwakeword: bool) -> list[str]:
    """Return the names of all wake words.

    Args:
        catalogue: its models, shipped and added.
        only_openwakeword: only the six of the package of openWakeWord.
    """
    return [
        each.name
        for each in catalogue.manifests()
        if each.kind == "wake-word" and (each.package or not only_openwakeword)
    ]


def _earmark(
    *, first_stage: bool = False, every_word: bool = False, home: Path | None = None
) -> Score:
    """Load Earmark's detector.

    Args:
        first_stage: with the first stage.
        every_word: all six of openWakeWord at once, or with ``home`` all words; one otherwise.
        home: a data directory.
    """
    from listener.config import WakeSettings
    from listener.inference.build import load_detector
    from listener.inference.catalogue import Catalogue

    catalogue = Catalogue(home or Path(tempfile.gettempdir()) / "earmark-benchmark-home")
    names = list_words(catalogue, only_openwakeword=home is None) if every_word else [WORD]
    words = [catalogue.load(name) for name in names]
    if first_stage and catalogue.first_stage(words) is None:
        raise SystemExit("there is no first stage for these words")
    settings = WakeSettings(words=tuple(word.name for word in words), first_stage=first_stage)
    detector = load_detector(catalogue, words, settings)
    framer = Framer()

    def score(block: Samples) -> float | None:
        for frame in framer.push(block):
            detector.push(frame)
        # A score that was not computed is below every threshold; it counts as a score.
        return float(detector.scores.get(WORD, 0.0))

    return score


def _openwakeword() -> Score:
    found = importlib.util.find_spec("openwakeword")
    if found is None or found.origin is None:
        raise SystemExit("openwakeword is not installed")
    model = Path(found.origin).parent / "resources" / "models" / f"{WORD}_v0.1.onnx"
    from openwakeword.model import Model

    engine = Model(wakeword_model_paths=[str(model)])

    def score(block: Samples) -> float | None:
        return float(max(engine.predict(block).values()))

    return score


def _pymicro() -> Score:
    import pymicro_wakeword

    features = pymicro_wakeword.MicroWakeWordFeatures()
    engine = pymicro_wakeword.MicroWakeWord.from_builtin(pymicro_wakeword.Model(WORD))
    newest: float | None = None

    def score(block: Samples) -> float | None:
        nonlocal newest
        for feature in features.process_streaming(block.tobytes()):
            probability = engine.process_streaming_prob(feature)
            newest = newest if probability is None else float(probability)
        return newest

    return score


if __name__ == "__main__":
    main()
