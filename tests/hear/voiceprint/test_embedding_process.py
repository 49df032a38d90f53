"""Embedding process with fake networks; tests/hear/voiceprint/test_system.py has the real ones."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from listener.audio.pcm import Samples
from listener.hear.voiceprint.embedding_process import serve
from listener.hear.voiceprint.embedding_protocol import (
    ANSWER_HEADER,
    LONGEST_REQUEST_SAMPLES,
    SPEECH_STEP_SAMPLES,
    RequestType,
    encode_answer,
    encode_request,
)
from listener.wakeword.features import Floats

RNG = np.random.default_rng(1)
SPEECH = RNG.integers(-9_000, 9_000, 3 * SPEECH_STEP_SAMPLES).astype(np.int16)


class FakeNetworks:
    """Networks whose answers show what they got; they keep the view of the audio."""

    def __init__(self) -> None:
        self.views: list[Samples] = []
        self.copies: list[Samples] = []
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1

    def probability(self, step: Samples) -> float:
        assert len(step) == SPEECH_STEP_SAMPLES
        return float(np.abs(step).max()) / 32_768

    def embed(self, samples: Samples) -> Floats:
        self.views.append(samples)
        self.copies.append(samples.copy())
        vector: Floats = np.eye(1, 192, dtype=np.float32)[0]
        return vector


class RunningProcess:
    """The requests' and the answers' ends of `serve`, which runs in a thread."""

    def __init__(self, idle_s: float) -> None:
        self.networks = FakeNetworks()
        source, self.requests = os.pipe()
        self.answers, sink = os.pipe()

        def run() -> None:
            serve(source, sink, self.networks, idle_s)
            os.close(source)
            os.close(sink)

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def ask(self, kind: RequestType, samples: Samples) -> None:
        os.write(self.requests, encode_request(kind, len(samples)) + samples.tobytes())

    def read(self, values: int) -> bytes:
        data = b""
        while len(data) < ANSWER_HEADER.size + 4 * values:
            data += os.read(self.answers, ANSWER_HEADER.size + 4 * values - len(data))
        return data


@contextmanager
def running(idle_s: float = 60.0) -> Iterator[RunningProcess]:
    process = RunningProcess(idle_s)
    try:
        yield process
    finally:
        os.close(process.requests)
        process.thread.join()
        os.close(process.answers)


def test_embedding_is_of_the_samples_of_the_request_alone_which_are_wiped() -> None:
    with running() as process:
        for samples in (SPEECH, SPEECH[:-100]):
            process.ask(RequestType.EMBED, samples)
            process.read(192)

    for view, copy, samples in zip(
        process.networks.views, process.networks.copies, (SPEECH, SPEECH[:-100]), strict=True
    ):
        np.testing.assert_array_equal(copy, samples)
        assert not view.any(), "the buffer must be wiped before the answer"


def test_probabilities_of_the_whole_steps_are_answered() -> None:
    values = np.abs(SPEECH.reshape(3, -1)).max(axis=1).astype(np.float32) / 32_768
    with running() as process:
        process.ask(RequestType.SPEECH_START, np.concatenate([SPEECH, SPEECH[:7]]))
        answer = process.read(3)

    assert answer == encode_answer(RequestType.SPEECH_START, values)


def test_state_is_overwritten_at_the_start_of_a_clip_and_on_request_only() -> None:
    with running() as process:
        process.ask(RequestType.SPEECH_START, SPEECH)
        process.ask(RequestType.SPEECH_NEXT, SPEECH)
        process.read(3)
        process.read(3)
        before = process.networks.resets
        process.ask(RequestType.RESET, SPEECH[:0])
        process.ask(RequestType.EMBED, SPEECH)
        process.read(192)

        assert (before, process.networks.resets) == (1, 2)


def test_process_ends_when_idle() -> None:
    with running(idle_s=0.01) as process:
        process.thread.join()

        assert os.read(process.answers, 1) == b""


@pytest.mark.parametrize("cut_bytes", [1, 7, 8, 1_000])
def test_process_ends_with_its_parent_in_the_middle_of_a_request(cut_bytes: int) -> None:
    with running() as process:
        request = encode_request(RequestType.EMBED, len(SPEECH)) + SPEECH.tobytes()
        os.write(process.requests, request[:cut_bytes])

    assert not process.networks.views


def test_longest_request_fits() -> None:
    samples = np.ones(LONGEST_REQUEST_SAMPLES, np.int16)
    with running() as process:
        process.ask(RequestType.EMBED, samples)
        process.read(192)

    (copy,) = process.networks.copies
    np.testing.assert_array_equal(copy, samples)
