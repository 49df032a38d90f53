"""Mel frames to embeddings: 96 numbers about the last 76 mel frames, every 80 ms or every 40.

The network itself stands behind a Protocol; here is what surrounds it: where it starts, and the
last embeddings, laid out so that a head's window is one contiguous piece.
"""

from typing import Any, Final, Protocol

import numpy as np

from listener.wakeword.features import BANDS, SILENT_LEVEL, START_LEVEL, Floats

FEATURES: Final = 96
RECEPTIVE_FRAMES: Final = 76
"""Mel frames that an embedding depends on."""
STEP_FRAMES: Final = 8
"""Mel frames between the embeddings that a head sees side by side."""


class Network(Protocol):
    """The streaming convolutions, with the columns they keep."""

    @property
    def hop_frames(self) -> int:
        """Mel frames a step: 8 or 4."""

    def step(self, mel: Floats) -> Floats:
        """Return the embedding of the window that ends with ``mel``.

        Args:
            mel: shape (hop_frames, 32).

        Returns:
            Shape (96,); valid until the next step.
        """

    def state(self) -> Any:  # noqa: ANN401 - opaque, the network's own
        """Return a copy of the columns kept."""

    def resume(self, state: Any) -> None:  # noqa: ANN401 - opaque, the network's own
        """Go on from a state that ``state`` returned."""


class Embeddings:
    """The last embeddings. Not safe for use by several threads."""

    def __init__(self, network: Network, longest_window: int) -> None:
        """Find the start values; this runs the network for a few milliseconds.

        Args:
            network: the convolutions.
            longest_window: embeddings, 80 ms apart, that any head looks at.
        """
        hop = network.hop_frames
        self._network = network
        self._phases = STEP_FRAMES // hop
        self._length = longest_window
        steps = -(-RECEPTIVE_FRAMES // hop)
        # openWakeWord begins with the embedding of silence behind it, and with mel frames of one.
        self._silent = self._settle(SILENT_LEVEL, steps)
        self._settle(START_LEVEL, steps)
        self._start = network.state()
        # Each embedding is written twice, one length apart: every window is contiguous.
        self._ring = np.empty((self._phases, 2 * longest_window, FEATURES), np.float32)
        self._phase = self._slot = 0
        self.restart()

    def restart(self) -> None:
        """Forget everything heard, and wipe it."""
        self._network.resume(self._start)
        self._ring[:] = self._silent
        self._phase = self._phases - 1
        self._slot = self._length - 1

    def step(self, mel: Floats) -> None:
        """Add the embedding of the window that ends with ``mel``, shape (hop_frames, 32)."""
        embedding = self._network.step(mel)
        self._phase += 1
        if self._phase == self._phases:
            self._phase = 0
            self._slot += 1
            if self._slot == self._length:
                self._slot = 0
        ring = self._ring[self._phase]
        ring[self._slot] = embedding
        ring[self._slot + self._length] = embedding

    def window(self, length: int) -> Floats:
        """Return the newest ``length`` embeddings, 80 ms apart, oldest first.

        Returns:
            Shape (length, 96), a view; valid until the next step.
        """
        end = self._slot + self._length + 1
        return self._ring[self._phase, end - length : end]

    def _settle(self, level: float, steps: int) -> Floats:
        mel = np.full((self._network.hop_frames, BANDS), level, np.float32)
        for _ in range(steps - 1):
            self._network.step(mel)
        return self._network.step(mel).copy()
