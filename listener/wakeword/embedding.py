"""Embeddings from mel frames: 96 numbers for the last 76 mel frames, every 80 or 40 ms.

The network is behind a Protocol; this module finds its start state and stores the last embeddings
so that a head's window is contiguous.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import numpy as np

from listener.wakeword.features import BANDS, SILENT_LEVEL, START_LEVEL, Floats

FEATURES: Final = 96
RECEPTIVE_FRAMES: Final = 76
"""Receptive field of an embedding, in mel frames."""
STEP_FRAMES: Final = 8
"""Mel frames between adjacent embeddings of a head's window."""


class Network(Protocol):
    """A streaming convolutional network with cached columns. Used by one thread at a time."""

    @property
    def hop_frames(self) -> int:
        """Mel frames in a step: 8 or 4."""

    def step(self, mel: Floats) -> Floats:
        """Return the embedding of the window that ends with ``mel``.

        Args:
            mel: float32, shape (hop_frames, 32).

        Returns:
            float32, shape (96,); valid until the next step.
        """

    def steps(self, mels: Sequence[Floats]) -> Iterable[Floats]:
        """Take several steps, perhaps at once; give their embeddings in order.

        Args:
            mels: float32, shape (hop_frames, 32) each, oldest first. Read until the last embedding
                is taken.

        Returns:
            float32, shape (96,) each; valid until the next one.
        """

    def state(self) -> Any:  # noqa: ANN401 - opaque, the network's own
        """Return a copy of the cached columns."""

    def resume(self, state: Any) -> None:  # noqa: ANN401 - opaque, the network's own
        """Restore a state that ``state`` returned."""


class Embeddings:
    """Ring buffer of the last embeddings. Not safe for use by several threads."""

    def __init__(self, network: Network, longest_window: int) -> None:
        """Compute the start state; this runs the network for a few milliseconds.

        Args:
            network: the streaming network.
            longest_window: embeddings, 80 ms apart, in the longest window of a head.
        """
        hop = network.hop_frames
        self._network = network
        self._phases = STEP_FRAMES // hop
        self._length = longest_window
        steps = -(-RECEPTIVE_FRAMES // hop)
        # openWakeWord starts with embeddings of silence and with mel frames of 1.0.
        self._silent = self._settle(SILENT_LEVEL, steps)
        self._settle(START_LEVEL, steps)
        self._start = network.state()
        # Each embedding is written twice, one length apart: every window is contiguous.
        self._ring = np.empty((self._phases, 2 * longest_window, FEATURES), np.float32)
        both = self._ring.reshape(self._phases, 2, longest_window, FEATURES).transpose(0, 2, 1, 3)
        self._places = tuple(tuple(ring) for ring in both)
        self._phase = self._slot = 0
        self.restart()

    def restart(self) -> None:
        """Overwrite all embeddings and start anew."""
        self._network.resume(self._start)
        self._ring[:] = self._silent
        self._phase = self._phases - 1
        self._slot = self._length - 1

    def step(self, mel: Floats) -> None:
        """Add the embedding of the window that ends with ``mel``, shape (hop_frames, 32)."""
        embedding = self._network.step(mel)
        self._advance(1)
        self._write(embedding)

    def run(self, mels: Sequence[Floats]) -> Iterable[Floats]:
        """Run the network over several steps; add each with `put` or `skip` before the next.

        Args:
            mels: shape (hop_frames, 32) each, oldest first.

        Returns:
            See ``Network.steps``.
        """
        return self._network.steps(mels)

    def put(self, embedding: Floats) -> None:
        """Add an embedding, shape (96,)."""
        self._advance(1)
        self._write(embedding)

    def rewind(self, steps: int) -> None:
        """Go back by ``steps`` steps; the next ones overwrite the embeddings from there on."""
        self._advance(-steps)

    def skip(self) -> None:
        """Go on by a step, and keep the embedding that is there."""
        self._advance(1)

    def window(self, length: int) -> Floats:
        """Return the newest ``length`` embeddings, 80 ms apart, oldest first.

        Returns:
            float32, shape (length, 96), a view; valid until the next step.
        """
        end = self._slot + self._length + 1
        return self._ring[self._phase, end - length : end]

    def _advance(self, steps: int) -> None:
        if self._phases == 1:
            self._slot = (self._slot + steps) % self._length
            return
        self._slot, self._phase = divmod(
            self._slot * self._phases + self._phase + steps, self._phases
        )
        self._slot %= self._length

    def _write(self, embedding: Floats) -> None:
        np.copyto(self._places[self._phase][self._slot], embedding)

    def _settle(self, level: float, steps: int) -> Floats:
        mel = np.full((self._network.hop_frames, BANDS), level, np.float32)
        for _ in range(steps - 1):
            self._network.step(mel)
        return self._network.step(mel).copy()
