"""The networks that turn mel frames into embeddings: step by step, or many steps at once."""

from typing import TypeAlias

import numpy as np

from listener.errors import ModelRefused
from listener.inference.runtime import Binding, Session, bind_input, bind_output, open_session
from listener.wake.embedding import FEATURES
from listener.wake.features import BANDS, Floats

_Past: TypeAlias = dict[str, Floats]  # a network's caches, by name


class StreamNet:
    """The streaming embedding network, on buffers that are bound once.

    Two sets of kept columns take turns as input and output, so nothing is copied between steps.
    Implements ``Network`` of ``listener/wake/embedding.py``. Not safe for use by several threads.
    """

    def __init__(self, data: bytes, name: str) -> None:
        """Load.

        Raises:
            ModelRefused: it is no streaming embedding network.
        """
        session = open_session(data, name, keeps_memory=True)
        shapes = {node.name: tuple(node.shape) for node in session.get_inputs()}
        hop = shapes.get("mel", (0, 0, 0, 0))[2]
        past = {name: shape for name, shape in shapes.items() if name != "mel"}
        names = {node.name for node in session.get_outputs()}
        if shapes.get("mel") != (1, 1, hop, BANDS) or names != {
            "embedding",
            *map(_next_input, past),
        }:
            raise ModelRefused(f"{name} is no streaming embedding network")
        self.hop_frames: int = hop
        """Mel frames a step."""
        # onnxruntime keeps the buffers' addresses only: they live as long as the bindings.
        self._mel = np.zeros((1, 1, hop, BANDS), np.float32)
        self._embedding = np.zeros((1, FEATURES), np.float32)
        self._result: Floats = self._embedding[0]
        self._columns = tuple(
            {name: np.zeros(shape, np.float32) for name, shape in past.items()} for _ in range(2)
        )
        self._turns = tuple(
            self._bind(session, before, after)
            for before, after in (self._columns, self._columns[::-1])
        )
        self._run = session.run_with_iobinding
        self._turn = 0

    def step(self, mel: Floats) -> Floats:
        """See ``Network.step``."""
        np.copyto(self._mel[0, 0], mel)
        self._run(self._turns[self._turn])
        self._turn ^= 1
        return self._result

    def state(self) -> tuple[Floats, ...]:
        """See ``Network.state``."""
        return tuple(column.copy() for column in self._columns[self._turn].values())

    def resume(self, state: tuple[Floats, ...]) -> None:
        """See ``Network.resume``."""
        self._mel[:] = 0
        # Once over silence: the runtime keeps in its own memory what it computed of the last step.
        self._run(self._turns[self._turn])
        for columns in self._columns:
            for column, kept in zip(columns.values(), state, strict=True):
                column[:] = kept
        self._embedding[:] = 0

    def _bind(self, session: Session, before: _Past, after: _Past) -> Binding:
        binding = session.io_binding()
        for name, buffer in (("mel", self._mel), *before.items()):
            bind_input(binding, name, buffer)
        outputs = {_next_input(name): buffer for name, buffer in after.items()}
        for name, buffer in (("embedding", self._embedding), *outputs.items()):
            bind_output(binding, name, buffer)
        return binding


class LongNet:
    """The streaming embedding network over any number of steps at once.

    Implements ``LongNetwork`` of ``listener/wake/batch.py``. Not safe for use by several threads.
    """

    def __init__(self, data: bytes, name: str) -> None:
        """Load.

        Raises:
            ModelRefused: it is no such network.
        """
        self._session = open_session(data, name, keeps_memory=True)
        shapes = {node.name: tuple(node.shape) for node in self._session.get_inputs()}
        past = {name: shape for name, shape in shapes.items() if name != "mel"}
        self._outputs = ["embedding", *map(_next_input, past)]
        names = {node.name for node in self._session.get_outputs()}
        if shapes.get("mel") != (1, 1, "frames", BANDS) or names != set(self._outputs):
            raise ModelRefused(f"{name} is no embedding network for many steps")
        self._past = {name: np.zeros(shape, np.float32) for name, shape in past.items()}

    def steps(self, mel: Floats) -> Floats:
        """See ``LongNetwork.steps``."""
        embeddings, *past = self._session.run(self._outputs, {"mel": mel[None, None], **self._past})
        self._past = dict(zip(self._past, past, strict=True))
        found: Floats = embeddings
        return found

    def state(self) -> _Past:
        """See ``LongNetwork.state``."""
        return self._past

    def resume(self, state: _Past) -> None:
        """See ``LongNetwork.resume``."""
        self._past = state


def _next_input(past: str) -> str:
    """Name the output that becomes the input ``past`` of the next step."""
    return past.replace("past.", "next.", 1)
