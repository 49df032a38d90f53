"""The network that tells whether somebody speaks."""

import numpy as np

from listener.errors import ModelRefused
from listener.inference.runtime import open_session
from listener.sound.pcm import SAMPLE_RATE_HZ, Samples
from listener.wake.model import Model


class SpeechNet:
    """Silero's voice activity detector. Not safe for use by several threads."""

    def __init__(self, model: Model) -> None:
        """Load.

        Raises:
            ModelRefused: it is no such network.
        """
        self._session = open_session(model.data, model.name, keeps_memory=False)
        names = {node.name for node in self._session.get_inputs()}
        if names != {"input", "sr", "h", "c"}:
            raise ModelRefused(f"{model.name} is no Silero voice activity detector")
        self._rate = np.array(SAMPLE_RATE_HZ, np.int64)
        self._h = self._c = np.zeros((2, 1, 64), np.float32)

    def reset(self) -> None:
        """Forget what was heard before."""
        self._h = self._c = np.zeros((2, 1, 64), np.float32)

    def probability(self, samples: Samples) -> float:
        """Return the probability, 0 to 1, that somebody speaks in ``samples``.

        Args:
            samples: int16, shape (n,), the piece that follows the last one; 30 ms or more.
        """
        level = (samples / np.float32(32767)).astype(np.float32)[None]
        probability, self._h, self._c = self._session.run(
            None, {"input": level, "sr": self._rate, "h": self._h, "c": self._c}
        )
        return float(probability[0, 0])
