"""The speaker embedding network: from a clip of speech to a vector that depends on the voice."""

import os
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import ModelRefused
from listener.inference.catalogue import Catalogue
from listener.inference.onnx import open_session
from listener.voiceprint.filterbank import BANDS, compute_filterbank
from listener.wakeword.manifest import Model

SPEAKER_EMBEDDING: Final = "speaker-embedding"
"""Name of the model."""
DIMENSIONS: Final = 192
"""Length of an embedding."""
SHORTEST_SAMPLES: Final = SAMPLE_RATE_HZ // 2
"""Fewest samples that can be embedded: 0.5 s."""

_NOWHERE: Final = Path(os.devnull)  # not a folder, so it holds no added models


def read_model_sha256() -> str:
    """Return the SHA-256 of the shipped network from its manifest, in hexadecimal.

    Raises:
        ModelRefused: the manifest is missing or not valid.
    """
    return Catalogue(_NOWHERE).manifest(SPEAKER_EMBEDDING).sha256


def load_model() -> Model:
    """Load and verify the shipped model's files; an added model cannot replace them.

    Raises:
        ModelRefused: a file is missing, or its hash differs.
    """
    return Catalogue(_NOWHERE).load(SPEAKER_EMBEDDING)


class SpeakerEmbedding:
    """CAM++, a network for speaker verification, on one thread.

    Wang et al., "CAM++: A Fast and Efficient Network for Speaker Verification Using Context-Aware
    Masking" (2023), trained by 3D-Speaker; see ``models/speaker-embedding/card.md``.
    Not safe for use by several threads.
    """

    def __init__(self, model: Model) -> None:
        """Load the network.

        Raises:
            ModelRefused: it is not a speaker embedding network.
        """
        # Memory for intermediate results is freed, and so overwritten, after each run.
        self._session = open_session(model.data, model.name, keeps_memory=False)
        shapes = [
            (node.name, list(node.shape))
            for node in (*self._session.get_inputs(), *self._session.get_outputs())
        ]
        expected = [("filterbank", [1, "frames", BANDS]), ("embedding", [1, DIMENSIONS])]
        if shapes != expected:
            raise ModelRefused(f"{model.name} is not a speaker embedding network")
        self.model_sha256: Final = model.manifest.sha256
        """SHA-256 of the network's file, in hexadecimal; vectors of different files differ."""

    @classmethod
    def load(cls) -> Self:
        """Load the model that is shipped with Earmark; see `load_model`.

        Raises:
            ModelRefused: a file is missing, its hash differs, or it cannot be run.
        """
        return cls(load_model())

    def embed(self, samples: Samples) -> NDArray[np.float32]:
        """Return the embedding of a clip of speech.

        Args:
            samples: int16, shape (n,), mono, 16 kHz; n at least `SHORTEST_SAMPLES`. Time and memory
                grow with n.

        Returns:
            float32, shape (192,), of length 1; the scalar product of two is their cosine
            similarity, -1 to 1.

        Raises:
            ValueError: the clip is too short.
        """
        if len(samples) < SHORTEST_SAMPLES:
            raise ValueError(f"{len(samples)} samples, fewer than {SHORTEST_SAMPLES}")
        features = compute_filterbank(samples)[None]
        (output,) = self._session.run(["embedding"], {"filterbank": features})
        embedding: NDArray[np.float32] = output[0]
        embedding /= np.linalg.norm(embedding)
        return embedding
