"""Make the cohort: the background voices that an owner's threshold is calibrated against.

A voice is the centroid of the embeddings of one speaker's recordings, without silence. The shipped
cohort is of the speakers of Speech Commands (Warden 2018, CC BY 4.0), who spoke words into the
microphones of their own computers and telephones. It has no names: its rows are sorted by their
numbers.

Same input, same bytes. Run it with ``python -m models.campplus.cohort CORPUS [--only PATTERN]``;
it needs the extra ``evaluate``. Write the SHA-256 of the file into ``manifest.toml`` afterwards.
"""

import argparse
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from listener import digests
from listener.audio.pcm import Samples
from listener.errors import UsageError
from listener.evaluate.corpus.datasets import open_corpus
from listener.evaluate.engines.cache import ScoreCache
from listener.evaluate.voices.embedder import CachedEncoder
from listener.evaluate.voices.utterances import list_utterances, read_speech
from listener.inference.catalogue import Catalogue
from listener.inference.onnx import SpeechNet
from listener.inference.speaker_embedding import SpeakerEmbedding
from listener.voiceprint.scoring import Embedding, make_centroid
from listener.voiceprint.speech import MAX_SPEECH_SAMPLES, MIN_SPEECH_SAMPLES

PRODUCT: Final = Path(__file__).parents[1] / "speaker-embedding" / "cohort.npy"
"""The file that is shipped."""


def make_cohort(speech: Mapping[str, Sequence[Samples]], encoder: CachedEncoder) -> Embedding:
    """Return the voices of the speakers with enough speech.

    Args:
        speech: speech of each utterance of each speaker, int16 at 16 kHz.
        encoder: the model.

    Returns:
        float32, shape (voices, 192), each row of unit norm, sorted by its numbers.

    Raises:
        UsageError: no speaker has enough speech.
    """
    voices = []
    for utterances in speech.values():
        joined = np.concatenate(utterances)
        starts = range(0, len(joined) - MIN_SPEECH_SAMPLES + 1, MAX_SPEECH_SAMPLES)
        pieces = [joined[start : start + MAX_SPEECH_SAMPLES] for start in starts]
        if pieces:
            voices.append(make_centroid(np.stack([encoder.embed(piece) for piece in pieces])))
    if not voices:
        raise UsageError("no speaker has enough speech", "name recordings with their speakers")
    return np.array(sorted(voice.tolist() for voice in voices), np.float32)


def encode_cohort(cohort: Embedding) -> bytes:
    """Return the bytes of the file, in the format of ``numpy.save``."""
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(cohort, "<f4"), allow_pickle=False)
    return file.getvalue()


def main() -> None:
    """Make the cohort of a corpus, and print its SHA-256."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("corpus", type=Path, help="recordings with the speaker of each")
    parser.add_argument(
        "--only", action="append", default=[], help="shell pattern of the names of items"
    )
    parser.add_argument("--out", type=Path, default=PRODUCT, help="file to write")
    parser.add_argument("--cache", type=Path, help="folder of embeddings that are computed already")
    arguments = parser.parse_args()
    faults: list[tuple[str, str]] = []
    speech = read_speech(
        list_utterances(open_corpus(arguments.corpus), arguments.only),
        SpeechNet(Catalogue(Path(os.devnull)).speech()),
        0,
        faults,
    )
    if faults:
        raise SystemExit("\n".join(": ".join(fault) for fault in faults))
    cache = ScoreCache(arguments.cache) if arguments.cache else None
    cohort = make_cohort(speech, CachedEncoder(SpeakerEmbedding.load(), cache))
    data = encode_cohort(cohort)
    arguments.out.write_bytes(data)
    digest = digests.sha256(data).hex()
    print(f"{len(cohort)} voices, {len(data)} bytes, SHA-256 {digest}")  # noqa: T201 - the manifest needs it


if __name__ == "__main__":
    main()
