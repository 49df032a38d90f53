"""Decoding of a FLAC file that `flac_parser` accepted, by libsndfile.

Not for hear: libsndfile leaves copies of the audio in memory (``docs/decisions/0016``).
"""

import io

import numpy as np
import soundfile

from listener import digests
from listener.audio.flac_parser import FlacFile
from listener.audio.pcm import Samples


def decode_samples(data: bytes, parsed: FlacFile) -> Samples:
    """Return the samples of a FLAC file, int16, shape (n,), compared with its MD5.

    Args:
        data: the file.
        parsed: its structure, as `flac_parser.parse_flac` returned it for these bytes.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            samples = np.ascontiguousarray(file.read(dtype="int16"), "<i2")
    except soundfile.SoundFileError as error:
        raise ValueError("the FLAC file is damaged") from error
    if len(samples) != parsed.samples or digests.md5(samples.data.cast("B")) != parsed.md5:
        raise ValueError("the FLAC file is damaged")
    return samples
