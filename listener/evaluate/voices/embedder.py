"""Embeddings of speech, cached by the content of the audio and the SHA-256 of the model."""

import hashlib
from typing import Protocol

from listener.audio.pcm import Samples
from listener.evaluate.engines.cache import ScoreCache
from listener.evaluate.engines.interface import ScoreTrack
from listener.evaluate.engines.provenance import code_hash, digest_values
from listener.voiceprint.scoring import Embedding

_COLUMN = ("embedding",)


class VoiceEncoder(Protocol):
    """A speaker embedding model, as ``listener.inference.speaker_embedding.SpeakerEmbedding``."""

    @property
    def model_sha256(self) -> str:
        """SHA-256 of the model file."""

    def embed(self, samples: Samples) -> Embedding:
        """Return the embedding of speech, int16 at 16 kHz: float32, shape (192,), unit norm."""


class CachedEncoder:
    """A model whose results are kept on disk. Not safe for use by several threads."""

    def __init__(self, encoder: VoiceEncoder, cache: ScoreCache | None) -> None:
        """Wrap a model.

        Args:
            encoder: the model.
            cache: the folder of results; None: nothing is kept.
        """
        self._encoder = encoder
        self._cache = cache
        self.model_sha256 = encoder.model_sha256
        """SHA-256 of the model file."""
        self._key = (encoder.model_sha256, code_hash(("voiceprint/filterbank.py",)))
        self.computed = 0
        """Embeddings that were not in the cache."""

    def embed(self, samples: Samples) -> Embedding:
        """Return the embedding of ``samples``, int16; float32, shape (192,), unit norm."""
        digest = hashlib.sha256(samples.tobytes()).hexdigest()
        key = digest_values(*self._key, len(samples), digest)
        if self._cache is not None and (track := self._cache.load(key)) is not None:
            return track.of(_COLUMN[0])
        embedding = self._encoder.embed(samples)
        self.computed += 1
        if self._cache is not None:
            # A row for each dimension: the cache holds tables of float32 of any meaning.
            self._cache.store(
                key, ScoreTrack(_COLUMN, embedding[:, None], len(samples), 0, len(samples))
            )
        return embedding
