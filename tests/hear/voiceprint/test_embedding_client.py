"""Client of the embedding process, with processes that answer, fail, hang and are killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from listener.errors import Unavailable
from listener.hear.voiceprint.embedding_client import EmbeddingClient
from listener.hear.voiceprint.embedding_protocol import (
    LONGEST_REQUEST_SAMPLES,
    SPEECH_STEP_SAMPLES,
)

pytestmark = pytest.mark.system

ANSWERS = """
import numpy as np, os
from listener.hear.voiceprint.embedding_process import serve
class Networks:
    def reset(self): self.steps = 0
    def probability(self, step):
        self.steps += 1
        return self.steps / 1_000
    def embed(self, samples):
        vector = np.zeros(192, np.float32)
        vector[int(samples.astype(int).sum()) % 192] = 1
        return vector
serve(0, 1, Networks(), {idle_s})
"""
FAILS = """
import os
from listener.hear.voiceprint.embedding_protocol import encode_failure
os.write(1, encode_failure())
"""
GARBLES = "import os; os.read(0, 8); os.write(1, b'x' * 4_000)"
HANGS = "import time; time.sleep(600)"
READS_AND_HANGS = "import os, time\nwhile os.read(0, 1_000): pass"
ENDS = "raise SystemExit(3)"
SPEECH = np.ones(SPEECH_STEP_SAMPLES * 20, np.int16)
SOON_S = 0.3
"""Limit of a request that is not answered."""
LATER_S = 60.0
"""Limit of one that is, on a machine of any load."""


class Clients:
    """Makes clients of programs, and closes them."""

    def __init__(self) -> None:
        self._made: list[EmbeddingClient] = []

    def make(self, program: str) -> EmbeddingClient:
        client = EmbeddingClient((sys.executable, "-c", program))
        self._made.append(client)
        client.permit()
        return client

    def close(self) -> None:
        for client in self._made:
            client.close()
            assert client.pid is None


@pytest.fixture
def clients() -> Iterator[Clients]:
    made = Clients()
    yield made
    made.close()


def later() -> float:
    return time.monotonic() + LATER_S


def test_clip_of_several_requests_has_one_probability_a_step(clients: Clients) -> None:
    client = clients.make(ANSWERS.format(idle_s=60))
    steps = 2 * LONGEST_REQUEST_SAMPLES // SPEECH_STEP_SAMPLES + 9
    clip = np.ones(steps * SPEECH_STEP_SAMPLES + 100, np.int16)

    values = client.detect_speech(clip, later())

    np.testing.assert_allclose(values, np.arange(1, steps + 1) / 1_000, rtol=1e-6)


def test_pieces_are_embedded_as_one(clients: Clients) -> None:
    client = clients.make(ANSWERS.format(idle_s=60))
    clip = np.arange(1_000, dtype=np.int16)
    clip.flags.writeable = False

    embedding = client.embed([clip[:10], clip[500:505]], later())

    assert embedding.argmax() == (sum(range(10)) + sum(range(500, 505))) % 192


def test_longest_request_is_answered_by_a_process_that_has_just_started(clients: Clients) -> None:
    client = clients.make(ANSWERS.format(idle_s=60))
    client.start()

    embedding = client.embed([np.ones(LONGEST_REQUEST_SAMPLES, np.int16)], later())

    assert embedding.argmax() == LONGEST_REQUEST_SAMPLES % 192


def test_process_that_has_ended_is_started_again(clients: Clients) -> None:
    client = clients.make(ANSWERS.format(idle_s=60))
    client.start()
    first = client.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    while client.pid is not None:
        time.sleep(0.01)

    assert client.embed([SPEECH], later()).any()
    assert client.pid not in {None, first}


@pytest.mark.parametrize("program", [FAILS, GARBLES, HANGS, READS_AND_HANGS, ENDS])
def test_other_process_gives_no_answer_and_is_ended(clients: Clients, program: str) -> None:
    client = clients.make(program)
    client.start()

    with pytest.raises(Unavailable, match="the embedding process gave no answer"):
        client.embed([SPEECH], time.monotonic() + (SOON_S if program != GARBLES else LATER_S))

    assert client.pid is None


def test_program_that_does_not_exist_is_unavailable() -> None:
    client = EmbeddingClient(("/nonexistent/python",))
    client.permit()

    with pytest.raises(Unavailable, match="cannot be started"):
        client.embed([SPEECH], later())


def test_kill_ends_a_request_that_another_thread_waits_for(clients: Clients) -> None:
    client = clients.make(READS_AND_HANGS)
    client.start()
    errors: list[Unavailable] = []

    def ask() -> None:
        try:
            client.embed([SPEECH], later())
        except Unavailable as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    client.kill()
    thread.join()

    assert len(errors) == 1
    assert client.pid is None


def test_wake_does_not_wait_for_a_process_that_is_being_started(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = clients.make(ANSWERS.format(idle_s=60))
    is_starting, may_start = threading.Event(), threading.Event()
    start = subprocess.Popen

    def hold() -> bool:
        is_starting.set()
        return may_start.wait(LATER_S)

    monkeypatch.setattr(subprocess, "Popen", lambda *a, **b: hold() and start(*a, **b))
    sealer = threading.Thread(target=client.start)
    sealer.start()
    assert is_starting.wait(LATER_S)
    loop = threading.Thread(target=client.permit)
    loop.start()
    loop.join(LATER_S)
    has_waited = loop.is_alive()
    may_start.set()
    sealer.join()
    loop.join()

    assert not has_waited
    assert client.pid is not None


def test_nothing_runs_between_a_kill_and_the_next_wake(clients: Clients) -> None:
    client = clients.make(ANSWERS.format(idle_s=60))
    client.embed([SPEECH], later())

    client.kill()
    client.kill()
    client.start()

    assert client.pid is None
    with pytest.raises(Unavailable, match="muted"):
        client.embed([SPEECH], later())
    client.permit()
    assert client.embed([SPEECH], later()).any()


def test_request_that_is_too_long_is_refused(clients: Clients) -> None:
    client = clients.make(ANSWERS.format(idle_s=60))

    with pytest.raises(ValueError, match="too long"):
        client.embed([np.ones(LONGEST_REQUEST_SAMPLES, np.int16), SPEECH], later())
