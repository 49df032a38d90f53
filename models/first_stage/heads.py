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

from listener.train.bounds import WEIGHTS
from listener.train.optimise import Pool
from listener.train.student import TeacherStream
from listener.train.student_head import embed, pool_others, pool_word, train_student_head
from listener.train.voices.synthesis import derive_generator
from listener.wakeword.features import Floats
from listener.wakeword.student import read_weights
from listener.wakeword.student_head import write_student_head
from models.first_stage.train import SEED, SPOKEN, add_stream_options, read_or_make_streams, say

if TYPE_CHECKING:
    from pathlib import Path

_SHARES: Final[Mapping[str, float]] = {"speech": 3.0, "words": 1.5, "sentences": 1.0}
"""Weights of the windows without the word: recorded speech, other words, and sentences."""


def head_path(word: str) -> str:
    """Return the name of the file of a word's student head."""
    return f"head-{word}.npy"


def make_pools(
    streams: Mapping[str, TeacherStream], embeddings: Mapping[str, Floats], word: str
) -> list[Pool]:
    """Return the windows with the word, and those without it by origin.

    Args:
        streams: by name; that of the word has its clips.
        embeddings: the student's, by stream.
        word: the word.
    """
    pools = pool_word(word, embeddings[word], streams[word].word_steps)
    others: dict[str, list[Floats]] = {}
    for name, other in embeddings.items():
        if name != word:
            kind = "speech" if name.startswith(("recording-", "augmented-")) else "words"
            others.setdefault("sentences" if name == "sentences" else kind, []).append(other)
    return [*pools, *(pool_others(kind, parts, _SHARES[kind]) for kind, parts in others.items())]


def main() -> None:
    """Train the heads, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_stream_options(parser)
    parser.add_argument("--word", action="append", help="train the heads of these words")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    data = (folder / WEIGHTS).read_bytes()
    weights = read_weights(data, WEIGHTS)
    streams = read_or_make_streams(arguments)
    embeddings = {name: embed(weights, stream) for name, stream in streams.items()}
    for word in arguments.word or SPOKEN:
        pools = make_pools(streams, embeddings, word)
        random = derive_generator(SEED, "student head", word)
        trained = train_student_head(pools, random)
        (folder / head_path(word)).write_bytes(write_student_head(trained))
        say(f"{head_path(word)} is written")


if __name__ == "__main__":
    main()
