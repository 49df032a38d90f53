"""Handling one process, with programs of our own in the place of the microphone's."""

import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from listener.hear.microphone.child import PIPE_BYTES, CaptureProcess, ProcessEnded
from listener.hear.microphone.records import (
    HEADER,
    BlockRecord,
    OpenedRecord,
    ProtocolError,
    Record,
    RecordType,
    encode_opened,
)

pytestmark = pytest.mark.system  # real processes

PATIENCE_S = 40.0
SOUND = HEADER.pack(RecordType.SOUND, 4) + b"abcd"


def child_program(*lines: str) -> list[str]:
    """A program without the costs of a whole interpreter's start."""
    start = "import os, signal, time\nwrite = lambda data: os.write(1, data)\n"
    return [sys.executable, "-I", "-S", "-c", start + "\n".join(lines)]


@contextmanager
def child(*lines: str) -> Iterator[CaptureProcess]:
    made = CaptureProcess(child_program(*lines), memoryview(bytearray(64)))
    try:
        yield made
    finally:
        made.kill()


def said(made: CaptureProcess) -> Record:
    """The next record, sound as it was when it came."""
    until_s = time.monotonic() + PATIENCE_S
    while (record := made.read_record()) is None:
        assert time.monotonic() < until_s, "it says nothing"
        time.sleep(0.005)
    return record


def test_records_come_as_they_are_written() -> None:
    with child(f"write({encode_opened(48_000, 2)!r} + {SOUND!r})", "signal.pause()") as made:
        first, second = said(made), said(made)

        assert first == OpenedRecord(48_000, 2)
        assert isinstance(second, BlockRecord)
        assert bytes(second.payload) == b"abcd"
        assert made.read_record() is None


def test_a_record_in_pieces_is_one_record() -> None:
    lines = [f"write({bytes([byte])!r}); time.sleep(0.002)" for byte in SOUND]
    with child(*lines, "signal.pause()") as made:
        record = said(made)

        assert isinstance(record, BlockRecord)


def test_what_is_no_record_is_garbled() -> None:
    lines = "write(b'Traceback (most recent call last)')", "signal.pause()"
    with child(*lines) as made, pytest.raises(ProtocolError):
        said(made)


def test_an_end_is_said() -> None:
    with child("pass") as made, pytest.raises(ProcessEnded):
        said(made)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers, not paths


def test_a_program_that_is_not_there_cannot_be_started() -> None:
    before = descriptors()

    with pytest.raises(FileNotFoundError):
        CaptureProcess(["/nowhere/at/all"], memoryview(bytearray(64)))

    assert descriptors() == before


@pytest.mark.parametrize(
    "lines",
    [
        ("signal.pause()",),
        ("while True: write(bytes(4096))",),
        ("for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)", "write(b'x')", "time.sleep(99)"),
        ("os.kill(os.getpid(), signal.SIGSTOP)",),
    ],
    ids=["waits", "floods", "ignores", "stopped"],
)
def test_whatever_it_does_it_is_gone_when_it_is_killed(lines: tuple[str, ...]) -> None:
    made = CaptureProcess(child_program(*lines), memoryview(bytearray(64)))
    pid = made.pid

    assert made.kill()
    assert made.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_waits_in_the_pipe_is_bounded() -> None:
    with child(
        "os.set_blocking(1, False)", f"sent = write(bytes({4 * PIPE_BYTES}))", "time.sleep(99)"
    ) as made:
        assert select.select([made], [], [], PATIENCE_S)[0]

        assert 0 < len(os.read(made.fileno(), 4 * PIPE_BYTES)) <= PIPE_BYTES


def test_it_gets_no_descriptor_but_its_pipe() -> None:
    listing = "write(len(os.listdir('/proc/self/fd')).to_bytes(8, 'little') + bytes(8))"
    with child(listing, "time.sleep(99)") as made:
        until_s = time.monotonic() + PATIENCE_S
        data = b""
        while len(data) < 16 and time.monotonic() < until_s:
            try:
                data += os.read(made.fileno(), 16)
            except BlockingIOError:
                time.sleep(0.005)

        # Standard input, output and error, and the listing's own.
        assert int.from_bytes(data[:8], "little") == 4


def test_sound_is_a_view_that_can_be_overwritten() -> None:
    memory = bytearray(64)
    made = CaptureProcess(child_program(f"write({SOUND!r})", "time.sleep(99)"), memoryview(memory))
    try:
        record = said(made)
        assert isinstance(record, BlockRecord)
        samples = np.frombuffer(record.payload, np.int16)
        samples[...] = 0
    finally:
        made.kill()

    assert b"abcd" not in memory
