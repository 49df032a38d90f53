"""Embedding process: answers requests with speaker embeddings; run with ``python -m``.

A child of hear, in its sandbox: it has no network, and it opens no microphone. It holds the samples
of one request, at most 3 s, in one locked buffer that is wiped after each answer, and ends when no
request has come for a minute. Mute kills it. See `embedding_protocol` for its pipes.
"""

import argparse
import contextlib
import os
import select
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from listener.audio.pcm import Samples
from listener.errors import EarmarkError
from listener.hear.child_process import harden
from listener.hear.memory import allocate_locked
from listener.hear.voiceprint.embedding_protocol import (
    LONGEST_REQUEST_SAMPLES,
    REQUEST_HEADER,
    SPEECH_STEP_SAMPLES,
    RequestType,
    encode_answer,
    encode_failure,
    parse_request,
)
from listener.system.malloc import overwrite_freed_memory, use_single_malloc_arena
from listener.system.memory_lock import lock_all_memory
from listener.wakeword.features import Floats

IDLE_S: Final = 60.0
"""Time without a request after which the process ends, in seconds."""
_UNAVAILABLE: Final = 69  # sysexits.h: EX_UNAVAILABLE
_STDIN: Final = 0


class VoiceNetworks(Protocol):
    """The networks that answer requests."""

    def reset(self) -> None:
        """Overwrite the state of the voice activity detector."""

    def probability(self, step: Samples) -> float:
        """Return the probability of speech in the next step, 0 to 1."""

    def embed(self, samples: Samples) -> Floats:
        """Return the embedding of speech, float32, shape (192,), unit norm."""


class _Networks:
    """The shipped networks: voice activity detector and speaker embedding."""

    def __init__(self) -> None:
        from listener.inference.catalogue import Catalogue  # noqa: PLC0415 - after harden: loading may fail, and takes half a second
        from listener.inference.onnx import SpeechNet  # noqa: PLC0415 - loads onnxruntime
        from listener.inference.speaker_embedding import (  # noqa: PLC0415 - loads onnxruntime
            SpeakerEmbedding,
        )

        self._embedding = SpeakerEmbedding.load()
        # Only shipped models are read: this folder holds none.
        self._speech = SpeechNet(Catalogue(Path(os.devnull)).speech())

    def reset(self) -> None:
        self._speech.reset()

    def probability(self, step: Samples) -> float:
        return self._speech.probability(step)

    def embed(self, samples: Samples) -> Floats:
        return self._embedding.embed(samples)


def main(argv: Sequence[str] | None = None) -> int:
    """Answer requests until the parent closes the pipe or is idle; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m listener.hear.voiceprint.embedding_process", description=__doc__
    )
    parser.add_argument(
        "--parent", type=int, required=True, help="pid of hear; this process ends with it"
    )
    arguments = parser.parse_args(argv)
    pipe = harden(arguments.parent)
    use_single_malloc_arena()
    overwrite_freed_memory()
    lock_all_memory()
    with contextlib.suppress(BrokenPipeError):
        try:
            networks = _Networks()
        except (EarmarkError, ImportError) as error:
            print(f"earmark: error: {error}", file=sys.stderr)  # noqa: T201 - hear decides where it goes
            _write(pipe, encode_failure())
            return _UNAVAILABLE
        serve(_STDIN, pipe, networks, IDLE_S)
    return 0


def serve(source: int, sink: int, networks: VoiceNetworks, idle_s: float) -> None:
    """Answer requests until the source ends, or until none has come for some time.

    Args:
        source: descriptor from which requests are read.
        sink: descriptor to which answers are written.
        networks: compute the answers.
        idle_s: longest time without a request, in seconds.

    Raises:
        EmbeddingProtocolError: the bytes are not a request.
        BrokenPipeError: the reader of the answers has ended.
    """
    buffer = allocate_locked(LONGEST_REQUEST_SAMPLES)
    header = bytearray(REQUEST_HEADER.size)
    poll = select.poll()
    poll.register(source, select.POLLIN)
    while poll.poll(idle_s * 1_000):
        if not _read(source, memoryview(header)):
            return
        kind, count = parse_request(bytes(header))
        if kind is RequestType.RESET:
            networks.reset()
            continue
        samples = buffer[:count]
        if count and not _read(source, samples.view(np.uint8).data):
            return
        values = (
            networks.embed(samples)
            if kind is RequestType.EMBED
            else _detect_speech(samples, networks, is_start=kind is RequestType.SPEECH_START)
        )
        samples.fill(0)
        _write(sink, encode_answer(kind, values))


def _detect_speech(samples: Samples, networks: VoiceNetworks, *, is_start: bool) -> Floats:
    if is_start:
        networks.reset()
    values = np.zeros(len(samples) // SPEECH_STEP_SAMPLES, np.float32)
    for step in range(len(values)):
        first = step * SPEECH_STEP_SAMPLES
        values[step] = networks.probability(samples[first : first + SPEECH_STEP_SAMPLES])
    return values


def _read(source: int, memory: memoryview) -> bool:
    """Fill the memory; return False at the end of the source."""
    filled = 0
    while filled < len(memory):
        count = os.readv(source, [memory[filled:]])
        if not count:
            return False
        filled += count
    return True


def _write(sink: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(sink, left) :]


if __name__ == "__main__":
    sys.exit(main())
