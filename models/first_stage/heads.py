"""Train the student heads of the first stage: small heads of words on the student's embeddings.

Run it with ``python -m models.first_stage.heads AUDIO [FOLDER]`` after
``models.first_stage.train``, whose streams it uses: the synthetic clips of each word, the
sentences, and the half of the recordings that trains. The labels are the ends of the words in the
clips; no output of any wake word's head trains anything. Then run ``models.first_stage.measure``,
which fixes the bounds. Same streams and student, same machine: same bytes.
"""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from listener.train.heads import DenseHead, Standard, fit_standard, gather, input_scale
from listener.train.optimise import HeadTrainer, Pool
from listener.train.student import TeacherStream
from listener.train.tuning import WEIGHTS
from listener.train.voices.synthesis import derive_generator
from listener.wakeword.batch import settle
from listener.wakeword.features import BANDS, START_LEVEL, Floats
from listener.wakeword.student import LongStudent, StudentWeights, read_weights
from listener.wakeword.student_head import (
    STUDENT_WINDOW_FRAMES,
    StudentHeadWeights,
    write_student_head,
)
from models.first_stage.train import SEED, add_stream_options, read_or_make_streams, say

if TYPE_CHECKING:
    from pathlib import Path

WORDS: Final = ("hey-jarvis", "hey-lumen", "hey-mycroft", "timer", "weather")
"""Words with a student head. alexa and hey-marvin have none: their own heads lose fewer words and
cost little."""
WIDTH: Final = 16
BATCHES: Final = 3000
FIRST_STEP: Final = -1
LAST_STEP: Final = 3
"""Steps around the end of a word whose windows have the word."""
_NEAR_BEFORE_STEPS: Final = 6
_NEAR_AFTER_STEPS: Final = 12
"""Steps around the end of a word whose windows are not taken as others."""
_SHARES: Final[Mapping[str, float]] = {"speech": 3.0, "words": 1.5, "sentences": 1.0, "own": 0.5}
"""Weights of the windows without the word: recorded speech, other words, sentences, and the sound
around the word."""
_STANDARD_WINDOWS: Final = 4000
"""Windows of each pool that give means and standard deviations."""
_BLOCK_STEPS: Final = 512

Embedded = tuple[Floats, NDArray[np.int64]]
"""The student's embeddings of a stream, and the steps at which its words end."""


def head_path(word: str) -> str:
    """Return the name of the file of a word's student head."""
    return f"head-{word}.npy"


def embed(weights: StudentWeights, stream: TeacherStream) -> Embedded:
    """Return the student's embeddings of a stream, shape (steps, 96), and its word ends."""
    student = LongStudent(weights)
    # Rounding depends on the number of threads.
    with threadpool_limits(1):
        settle(student, START_LEVEL)
        parts = [
            student.steps(
                stream.mel[first : first + _BLOCK_STEPS].astype(np.float32).reshape(-1, BANDS)
            )
            for first in range(0, len(stream.mel), _BLOCK_STEPS)
        ]
    return np.concatenate(parts), stream.word_steps


def make_pools(streams: Mapping[str, Embedded], word: str) -> list[Pool]:
    """Return the windows with the word, and those without it by origin.

    Args:
        streams: by name; that of the word has its clips.
        word: the word.
    """
    embeddings, ends = streams[word]
    steps = np.arange(len(embeddings))
    near = np.zeros(len(embeddings), np.bool_)
    said = np.zeros(len(embeddings), np.bool_)
    for end in ends.tolist():
        near[max(0, end - _NEAR_BEFORE_STEPS) : end + _NEAR_AFTER_STEPS] = True
        said[max(0, end + FIRST_STEP) : end + LAST_STEP + 1] = True
    whole = steps >= STUDENT_WINDOW_FRAMES - 1
    pools = [
        Pool(word, embeddings, steps[whole & said], 1.0, is_word=True),
        Pool("own", embeddings, steps[whole & ~near], _SHARES["own"], is_word=False),
    ]
    others: dict[str, list[Floats]] = {}
    for name, (other, _) in streams.items():
        if name != word:
            kind = "speech" if name.startswith(("recording-", "augmented-")) else "words"
            others.setdefault("sentences" if name == "sentences" else kind, []).append(other)
    for kind, parts in others.items():
        joined = np.concatenate(parts)
        every = np.arange(STUDENT_WINDOW_FRAMES - 1, len(joined))
        pools.append(Pool(kind, joined, every, _SHARES[kind], is_word=False))
    return pools


def train_head(pools: list[Pool], word: str) -> StudentHeadWeights:
    """Train the student head of a word.

    Args:
        pools: of `make_pools`.
        word: the word, which determines the random numbers.
    """
    random = derive_generator(SEED, "student head", word)
    drawn = [pool.ends[random.integers(len(pool.ends), size=_STANDARD_WINDOWS)] for pool in pools]
    standard = fit_standard(
        np.concatenate([gather(p.embeddings, e) for p, e in zip(pools, drawn, strict=True)])
    )
    head = DenseHead(WIDTH, random)
    with threadpool_limits(1):
        HeadTrainer(standard, pools, BATCHES).train(head, random)
    return fold(head, standard)


def fold(head: DenseHead, standard: Standard) -> StudentHeadWeights:
    """Return the weights for embeddings as they are.

    Training clips standardised inputs, which the weights cannot: few are beyond the limit.
    """
    first, first_bias, *rest = head.parameters
    raw: Floats = first * np.float32(input_scale()) / standard.deviation[:, None]
    layers = [raw, first_bias - standard.mean @ raw, *rest]
    return StudentHeadWeights(tuple(layers[::2]), tuple(layers[1::2]))


def main() -> None:
    """Train the heads, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_stream_options(parser)
    parser.add_argument("--word", action="append", help="train the heads of these words")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    data = (folder / WEIGHTS).read_bytes()
    weights = read_weights(data, WEIGHTS)
    streams = {
        name: embed(weights, stream) for name, stream in read_or_make_streams(arguments).items()
    }
    for word in arguments.word or WORDS:
        trained = train_head(make_pools(streams, word), word)
        (folder / head_path(word)).write_bytes(write_student_head(trained))
        say(f"{head_path(word)} is written")


if __name__ == "__main__":
    main()
