"""Other voices in an owner's clip, found by the embeddings of sliding windows. Pure.

Each window of the clip is compared with the voice of its owner, as in speaker change detection by
embeddings (Wang et al., "Speaker diarization with LSTM", ICASSP 2018). A short window is less
similar to its own speaker than a whole clip, so a window is only another voice's if its similarity
lies below a threshold of its own, which is lower than that of the attribution.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.voiceprint.scoring import Embedding, EnrolledVoice, similarity

WINDOW_SAMPLES: Final = SAMPLE_RATE_HZ
"""Length of a window: 1 s."""
HOP_SAMPLES: Final = SAMPLE_RATE_HZ // 2
"""Distance of the starts of two windows: 0.5 s."""
WINDOW_THRESHOLD: Final = 0.25
"""Similarity to the owner below which a window is of another voice."""


@dataclass(frozen=True, slots=True)
class BystanderVerdict:
    """The owner's part of a clip, and the speech of other voices in it."""

    first_sample: int
    """Start of the longest stretch without another voice."""
    end_sample: int
    """End of that stretch; equal to ``first_sample`` if there is none."""
    other_s: float
    """Time in seconds that the windows of other voices cover."""

    @property
    def has_bystander(self) -> bool:
        """Whether another voice speaks."""
        return self.other_s > 0


def list_windows(length_samples: int) -> tuple[tuple[int, int], ...]:
    """Return the first and the end sample of each window; the last one ends with the audio.

    Args:
        length_samples: length of the audio, at least 0; shorter than a window gives one window of
            the whole, and 0 none.
    """
    if length_samples <= 0:
        return ()
    last = max(length_samples - WINDOW_SAMPLES, 0)
    starts = [*range(0, last, HOP_SAMPLES), last]
    return tuple((start, min(start + WINDOW_SAMPLES, length_samples)) for start in starts)


def find_bystander(
    embeddings: Sequence[Embedding | None],
    voice: EnrolledVoice,
    length_samples: int,
    threshold: float = WINDOW_THRESHOLD,
) -> BystanderVerdict:
    """Find the owner's part of a clip by the embeddings of its windows.

    Args:
        embeddings: one for each window of ``list_windows(length_samples)``, shape (d,), unit norm;
            None for a window without enough speech, which is of no voice.
        voice: the voice of the clip's owner.
        length_samples: length of the audio.
        threshold: similarity below which a window is of another voice.

    Raises:
        ValueError: the number of embeddings is not that of the windows.
    """
    windows = list_windows(length_samples)
    other = np.zeros(length_samples, np.bool_)
    for (first, end), embedding in zip(windows, embeddings, strict=True):
        if embedding is not None and similarity(embedding, voice.centroid) < threshold:
            other[first:end] = True
    edges = np.flatnonzero(np.diff(other, prepend=True, append=True)).reshape(-1, 2)
    lengths = edges[:, 1] - edges[:, 0]
    longest = int(lengths.argmax()) if len(lengths) else None
    first, end = (0, 0) if longest is None else (int(edges[longest, 0]), int(edges[longest, 1]))
    return BystanderVerdict(first, end, int(other.sum()) / SAMPLE_RATE_HZ)
