"""Record what pymicro-wakeword gives for stretches of two seconds of the project's recordings.

The vectors test the front end in ``listener/wakeword/micro_features.py`` and the converted networks
against code that is not ours. Each stretch is given to a fresh program of the package: its features
of the first stretches are recorded, and its averaged probability after each step of three frames.
Run it with ``python -m models.microwakeword.record``, in an environment with the extra ``peers``.
"""

import json
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from listener.audio.pcm import Samples
from listener.wakeword.micro_features import FEATURE_SCALE
from models.microwakeword.convert import (
    MEAN_STEPS,
    SHA256,
    VECTORS,
    installed_models,
    read_model,
    read_windows,
)

CLIPS: Final = (
    # file, last sample: wake words of synthetic voices, speech without one, and noise
    ("alexa_command.flac", 54_400),
    ("alexa_twice.flac", 48_000),
    ("hey_jarvis_command.flac", 56_320),
    ("hey_mycroft_command.flac", 56_320),
    ("talk.flac", 67_200),
    ("talk.flac", 150_400),
    ("quiet.flac", 40_000),
)
FEATURE_CLIPS: Final = 5
"""The features of so many stretches are recorded."""
_STEP_FRAMES: Final = 3


def main() -> None:
    """Record the vectors."""
    VECTORS.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(f"  {json.dumps({'file': file, 'end_sample': end})}" for file, end in CLIPS)
    (VECTORS / "clips.json").write_text(f"[\n{lines}\n]\n", "utf-8")
    windows = read_windows()
    features = [compute_features(window) for window in windows]
    scaled = np.round(np.stack(features[:FEATURE_CLIPS]) / FEATURE_SCALE)
    np.save(VECTORS / "features.npy", scaled.astype(np.uint16))
    for name in SHA256:
        read_model(installed_models(), name)
        probabilities = np.stack([compute_probabilities(name, each) for each in features])
        np.save(VECTORS / f"{name}.npy", probabilities.astype(np.float32))


def compute_features(samples: Samples) -> NDArray[np.float64]:
    """Return pymicro-wakeword's features of a recording from a fresh start, shape (n, 40)."""
    from pymicro_wakeword import MicroWakeWordFeatures  # noqa: PLC0415 - only for this program

    rows = MicroWakeWordFeatures().process_streaming(samples.tobytes())
    return np.array([row[0, 0] for row in rows])


def compute_probabilities(name: str, features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return pymicro-wakeword's averaged probability at each step that has one."""
    from pymicro_wakeword import MicroWakeWord  # noqa: PLC0415 - only for this program

    model = MicroWakeWord.from_config(installed_models() / f"{name}.json")
    given: list[Any] = [model.process_streaming_prob(row[None, None]) for row in features]
    # Between strides, and before its window is full, the package returns 0, which is not a score.
    steps = given[_STEP_FRAMES - 1 :: _STEP_FRAMES]
    return np.array(steps[MEAN_STEPS - 1 :])


if __name__ == "__main__":
    main()
