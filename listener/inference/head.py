"""The networks that tell one wake word: heads over a window of embeddings."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from listener.errors import ModelRefused
from listener.inference.runtime import Binding, Session, bind_input, bind_output, open_session
from listener.wake.embedding import FEATURES
from listener.wake.features import Floats

LONGEST_WINDOW_FRAMES: Final = 1 << 10
"""No head looks at more embeddings."""


class HeadNet:
    """A head in openWakeWord's format. Not safe for use by several threads."""

    def __init__(self, data: bytes, name: str) -> None:
        """Load.

        Raises:
            ModelRefused: it is none; the message says why.
        """
        session = open_session(data, name, keeps_memory=False)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        hint = "an openWakeWord head takes float32 of the shape (1, n, 96), and gives (1, classes)"
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelRefused(
                f"{name} has {len(inputs)} inputs and {len(outputs)} outputs, not one of each", hint
            )
        shape, result = inputs[0].shape, outputs[0].shape
        if {inputs[0].type, outputs[0].type} != {"tensor(float)"}:
            raise ModelRefused(f"{name} takes {inputs[0].type}, gives {outputs[0].type}", hint)
        # A name where a number is expected stands for any number of windows at once.
        if not (
            _shape_matches(shape, (1, None, FEATURES)) and 1 <= shape[1] <= LONGEST_WINDOW_FRAMES
        ):
            raise ModelRefused(f"{name} takes the shape {shape}", hint)
        if not _shape_matches(result, (1, None)) or result[1] < 1:
            raise ModelRefused(f"{name} gives the shape {result}", hint)
        self.window_frames: int = shape[1]
        """Embeddings that it looks at."""
        self.outputs: int = result[1]
        """Classes that it tells apart; 1 for most."""
        self._window = np.zeros((1, shape[1], FEATURES), np.float32)
        outcome = np.zeros((1, result[1]), np.float32)
        self._result: Floats = outcome[0]
        self._binding = session.io_binding()
        bind_input(self._binding, inputs[0].name, self._window)
        bind_output(self._binding, outputs[0].name, outcome)
        self._run = session.run_with_iobinding
        self._session = session

    def score(self, window: Floats) -> Floats:
        """See ``Head.score`` of ``listener/wake/streaming.py``."""
        np.copyto(self._window[0], window)
        self._run(self._binding)
        return self._result

    def over(self, embeddings: Floats) -> "Windows":
        """See ``ManyHead.over`` of ``listener/wake/batch.py``."""
        return Windows(self._session, embeddings, self.window_frames, self.outputs)

    def wipe(self) -> None:
        """See ``Head.wipe``."""
        self._window[:] = 0
        self._result[:] = 0


class Windows:
    """A head over every window of one buffer of embeddings. Not safe for use by several threads."""

    def __init__(
        self,
        session: Session,
        embeddings: Floats,
        window_frames: int,
        outputs: int,
    ) -> None:
        (given,), (result,) = session.get_inputs(), session.get_outputs()
        self._session, self._input = session, given.name
        self._window_frames = window_frames
        self._embeddings = embeddings
        self._takes_many = not isinstance(given.shape[0], int)
        self._results = np.zeros((len(embeddings) + 1, outputs), np.float32)
        # A window is one piece of the buffer, so the network reads it where it lies.
        self._bindings: list[Binding] = []
        for end in range(window_frames, len(embeddings) + 1):
            binding = session.io_binding()
            window = embeddings[end - window_frames : end][None]
            bind_input(binding, given.name, window)
            bind_output(binding, result.name, self._results[end : end + 1])
            self._bindings.append(binding)

    def score(self, first_end: int, last_end: int) -> Floats:
        """See ``Scorer.score`` of ``listener/wake/batch.py``."""
        if self._takes_many:
            reach = self._embeddings[first_end - self._window_frames : last_end]
            windows = sliding_window_view(reach, self._window_frames, axis=0).transpose(0, 2, 1)
            outputs: Floats = self._session.run(None, {self._input: windows})[0]
            return outputs
        run = self._session.run_with_iobinding
        for end in range(first_end, last_end + 1):
            run(self._bindings[end - self._window_frames])
        return self._results[first_end : last_end + 1]


def _shape_matches(shape: Sequence[Any], expected: tuple[int | None, ...]) -> bool:
    """Compare shapes; None takes any number, a symbolic axis only fits 1."""
    return len(shape) == len(expected) and all(
        isinstance(got, int)
        if want is None
        else got == want or (want == 1 and not isinstance(got, int))
        for got, want in zip(shape, expected, strict=True)
    )
