"""Decoding of a FLAC file that `flac_parser` accepted: by numpy, else by libsndfile.

Files of our own encoder need no library, so that a sandbox without executable memory can decode
them; see `flac_reader`. Those of other encoders are decoded by libsndfile, which leaves copies of
the audio in memory (``docs/decisions/0016``).
"""

import io

import numpy as np

from listener import digests
from listener.audio.flac_parser import FlacFile
from listener.audio.flac_reader import OtherEncoderError, read_samples
from listener.audio.pcm import Samples


def decode_samples(data: bytes, parsed: FlacFile) -> Samples:
    """Return the samples of a FLAC file, int16, shape (n,), compared with its MD5.

    Args:
        data: the file.
        parsed: its structure, as `flac_parser.parse_flac` returned it for these bytes.

    Raises:
        ValueError: the file is damaged; or it is of another encoder, and this process may not make
            memory executable, which libsndfile's callbacks need.
    """
    try:
        return read_samples(data, parsed)
    except OtherEncoderError:
        return _decode_by_library(data, parsed)


def _decode_by_library(data: bytes, parsed: FlacFile) -> Samples:
    import soundfile  # noqa: PLC0415 - 10 MiB, needed for files of other encoders only

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            samples = np.ascontiguousarray(file.read(dtype="int16"), "<i2")
    except (soundfile.SoundFileError, MemoryError) as error:
        raise ValueError("the FLAC file is damaged") from error
    if len(samples) != parsed.samples or digests.md5(samples.data.cast("B")) != parsed.md5:
        raise ValueError("the FLAC file is damaged")
    return samples
