"""Streams for a student: mel frames of recordings, and the embedding network's answers to them."""

from collections.abc import Iterable, Sequence

import numpy as np

from listener.audio.pcm import FRAME_SAMPLES, Samples
from listener.inference.build import mel_weights
from listener.inference.onnx import LongNet
from listener.train.clips import LabelledStretch
from listener.train.student import TeacherStream
from listener.wakeword.batch import BATCH_STEPS, settle
from listener.wakeword.embedding import STEP_FRAMES
from listener.wakeword.features import START_LEVEL, Mel
from listener.wakeword.manifest import Model
from listener.wakeword.student import INPUTS


class Teacher:
    """The embedding network over whole recordings. Not safe for use by several threads."""

    def __init__(self, embedding: Model, long: Model) -> None:
        """Load the networks.

        Args:
            embedding: the streaming embedding network; its mel weights are used.
            long: the embedding network that takes any number of steps.

        Raises:
            ModelRefused: a file is not a model that can be run.
        """
        self._mel = Mel(mel_weights(embedding), STEP_FRAMES, BATCH_STEPS)
        self._network = LongNet(long.data, long.name)
        settle(self._network, START_LEVEL)
        self._start = self._network.state()

    def teach(self, samples: Samples, word_ends: Sequence[int] = ()) -> TeacherStream:
        """Return mel frames and embeddings of a recording, from the start of a stream.

        Args:
            samples: int16 at 16 kHz, shape (n,), at least a frame; the rest of one is ignored.
            word_ends: samples at which wake words end.
        """
        self._mel.restart()
        self._network.resume(self._start)
        steps = len(samples) // FRAME_SAMPLES
        size = BATCH_STEPS * FRAME_SAMPLES
        mels, embeddings = [], []
        for first in range(0, steps * FRAME_SAMPLES, size):
            block = samples[first : min(first + size, steps * FRAME_SAMPLES)]
            count = len(block) // FRAME_SAMPLES
            padded = np.zeros(size, np.int16)
            padded[: len(block)] = block
            mel = self._mel.step(padded)[: count * STEP_FRAMES]
            mels.append(mel.reshape(count, INPUTS).astype(np.float16))
            embeddings.append(self._network.steps(mel).astype(np.float16))
        ends = np.array(sorted(word_ends), np.int64) // FRAME_SAMPLES
        return TeacherStream(np.concatenate(mels), np.concatenate(embeddings), ends[ends < steps])

    def teach_stretches(self, stretches: Iterable[LabelledStretch]) -> TeacherStream:
        """Return the stream of stretches, one after the other; at least one."""
        parts: list[Samples] = []
        ends: list[int] = []
        length = 0
        for stretch in stretches:
            if stretch.word_end is not None:
                ends.append(length + stretch.word_end)
            parts.append(stretch.samples)
            length += len(stretch.samples)
        return self.teach(np.concatenate(parts), ends)
