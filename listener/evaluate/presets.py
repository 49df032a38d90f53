"""Presets: plans of public protocols, over checkouts in the layouts that they publish.

``picovoice`` is github.com/Picovoice/wake-word-benchmark: recordings of a word from its folder
``audio``, LibriSpeech test-clean as speech without the word, and DEMAND at 10 dB, in one stream;
the figure of merit is the miss rate at one false alarm in ten hours.
"""

from pathlib import Path
from typing import Any, Final

from listener.errors import UsageError

PRESETS: Final = ("picovoice",)

SNR_DB: Final = 10.0
FALSE_WAKES_PER_HOUR: Final = 0.1
DEMAND_FILES: Final = "*/ch01.wav"
"""Of the sixteen channels of each environment the protocol takes the first."""


def picovoice(checkout: Path, librispeech: Path, demand: Path, word: str) -> dict[str, Any]:
    """Return the tables of the plan of Picovoice's wake-word benchmark.

    Args:
        checkout: checkout of the repository; ``audio/WORD/`` in it has the recordings.
        librispeech: the folder ``test-clean`` of LibriSpeech, or the one that holds it.
        demand: the folder of DEMAND with ``ENVIRONMENT/ch01.wav``.
        word: label of the word; hyphens stand for the spaces of the folder's name.

    Raises:
        UsageError: a folder is missing or has another layout.
    """
    spoken = word.replace("-", " ")
    recordings = next(
        (place for name in (spoken, word) if (place := checkout / "audio" / name).is_dir()), None
    )
    if recordings is None:
        raise UsageError(
            f"there is no folder {checkout / 'audio' / spoken} of recordings of the word",
            "pass --checkout with a checkout of Picovoice/wake-word-benchmark, and --model or"
            " --said with one of its words",
        )
    inner = librispeech / "test-clean"
    speech = inner if inner.is_dir() else librispeech
    if next(speech.glob("*/*/*.trans.txt"), None) is None:
        raise UsageError(
            f"{librispeech} has no SPEAKER/CHAPTER/*.trans.txt",
            "pass --librispeech with the folder test-clean of LibriSpeech",
        )
    if next(demand.glob(DEMAND_FILES), None) is None:
        raise UsageError(
            f"{demand} has no ENVIRONMENT/ch01.wav", "pass --demand with the folder of DEMAND"
        )
    return {
        "corpus": [
            {"path": str(recordings), "word": word},
            {"path": str(speech), "without": spoken},
        ],
        "condition": [
            {
                "name": f"{SNR_DB:g} dB DEMAND",
                "noise": str(demand),
                "noise_files": DEMAND_FILES,
                "snr_db": SNR_DB,
            }
        ],
        "stream": True,
        "target_false_wakes_per_hour": FALSE_WAKES_PER_HOUR,
    }
