"""Live microphone, its process and its poller.

Small programs stand in for the microphone process, so that each failure can be produced; pipes
stand in for the process and the switch where only poller is tested.
"""

import dataclasses
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from listener.audio.pcm import FRAME_SAMPLES, Frame, Gap, GapReason, Samples
from listener.config import MicrophoneSettings
from listener.hear.gate import Gate, listen_to_device
from listener.hear.microphone.live import (
    PIPE_BYTES,
    TURN_S,
    CaptureProcess,
    LiveMicrophone,
    MicrophoneTimeouts,
    Poller,
    ProcessEnded,
    WaitResult,
    capture_command,
)
from listener.hear.microphone.protocol import (
    HEADER,
    BlockRecord,
    Cause,
    FailedRecord,
    OpenedRecord,
    ProtocolError,
    Record,
    RecordType,
    encode_failed,
    encode_opened,
    encode_overrun,
)
from listener.hear.mute.switch import NoSwitch
from listener.system.systemd import StopSignal

pytestmark = pytest.mark.system  # real processes

PATIENCE_S = 40.0
OPENED = encode_opened(48_000, 2)
SHORT_LIMITS = MicrophoneTimeouts(
    stall_s=0.3, start_s=PATIENCE_S, first_pause_s=0.01, longest_pause_s=0.02
)
"""For processes that stall. The others get longer: a busy machine may delay them as much."""
LONG_LIMITS = dataclasses.replace(SHORT_LIMITS, stall_s=PATIENCE_S)
Read = Samples | GapReason | int | None


def block(first: int, length: int = FRAME_SAMPLES) -> bytes:
    samples = np.arange(first, first + length).astype("<i2").tobytes()
    return HEADER.pack(RecordType.SOUND, len(samples)) + samples


def program(*lines: str) -> list[str]:
    start = "import os, signal, time\nwrite = lambda data: os.write(1, data)\n"
    return [sys.executable, "-I", "-S", "-c", start + "\n".join(lines)]


def writes(*records: bytes) -> list[str]:
    """Return a program that writes records and then waits."""
    return program(*(f"write({record!r})" for record in records), "time.sleep(99)")


class Room:
    """Live microphone, the states it reported, and the line of a switch."""

    def __init__(self, command: Sequence[str], limits: MicrophoneTimeouts = LONG_LIMITS) -> None:
        self.states: list[OpenedRecord | FailedRecord] = []
        self.line, self._line_writer = os.pipe()
        self.microphone = LiveMicrophone(
            command,
            watch=lambda: [self.line],
            tell=self.states.append,
            monotonic_s=time.monotonic,
            limits=limits,
        )

    def write_edge(self) -> None:
        os.write(self._line_writer, b"x")

    def read_edge(self) -> None:
        os.read(self.line, 1)

    def close_line(self) -> None:
        os.close(self._line_writer)
        self._line_writer = -1

    def read_until(self, holds: Callable[[Read], object]) -> list[Read]:
        """Read until ``holds`` is true of a result; return all results, blocks as copies."""
        until_s = time.monotonic() + PATIENCE_S
        read: list[Read] = []
        while True:
            last = self.microphone.read()
            read.append(last.copy() if isinstance(last, np.ndarray) else last)
            if holds(last):
                return read
            assert time.monotonic() < until_s, f"not within the time limit: {self.states}"

    def close(self) -> None:
        self.microphone.close()
        for descriptor in (self.line, self._line_writer):
            if descriptor >= 0:
                os.close(descriptor)


@pytest.fixture
def rooms() -> Iterator[list[Room]]:
    made: list[Room] = []
    yield made
    for room in made:
        room.close()


@pytest.fixture
def room(rooms: list[Room]) -> Callable[..., Room]:
    def make(command: Sequence[str], limits: MicrophoneTimeouts = LONG_LIMITS) -> Room:
        rooms.append(Room(command, limits))
        return rooms[-1]

    return make


MakeRoom = Callable[..., Room]


def is_sound(read: Read) -> bool:
    return isinstance(read, np.ndarray) and len(read) > 0


def is_lost(read: Read) -> bool:
    return read is GapReason.LOST


def test_sound_is_read_and_the_open_device_is_reported_once(room: MakeRoom) -> None:
    live = room(writes(OPENED, block(1), block(2_000)))

    first = live.read_until(is_sound)[-1]
    second = live.read_until(is_sound)[-1]

    assert isinstance(first, np.ndarray)
    assert isinstance(second, np.ndarray)
    assert (first[0], second[0]) == (1, 2_000)
    assert live.states == [OpenedRecord(48_000, 2)]


def test_block_can_be_overwritten_by_the_reader(room: MakeRoom) -> None:
    live = room(writes(OPENED, block(1)))
    until_s = time.monotonic() + PATIENCE_S
    while not is_sound(read := live.microphone.read()):
        assert time.monotonic() < until_s

    assert isinstance(read, np.ndarray)
    read[...] = 0
    assert not read.any()


@pytest.mark.parametrize(
    ("command", "cause"),
    [
        (writes(encode_failed(Cause.MISSING)), Cause.MISSING),
        (writes(encode_failed(Cause.LIBRARY)), Cause.LIBRARY),
        (writes(OPENED, block(1), encode_failed(Cause.GONE)), Cause.GONE),
        (program("pass"), Cause.DIED),
        (program(f"write({OPENED + block(1)!r})", "os.abort()"), Cause.DIED),
        (writes(OPENED, b"ALSA lib pcm.c: unknown PCM\n"), Cause.GARBLED),
        (writes(block(1)), Cause.GARBLED),
        (writes(OPENED, OPENED), Cause.GARBLED),
        (writes(OPENED, encode_overrun(), encode_overrun()), Cause.GARBLED),
        (writes(encode_overrun()), Cause.GARBLED),
        (writes(OPENED), Cause.STALLED),
        (writes(OPENED, block(1)), Cause.STALLED),
        (program(f"write({OPENED!r})", "os.kill(os.getpid(), signal.SIGSTOP)"), Cause.STALLED),
        (
            program(f"write({OPENED!r})", "for n in range(99): write(b'\\2'); time.sleep(0.1)"),
            Cause.STALLED,
        ),
        (["/nowhere/at/all"], Cause.DIED),
    ],
)
def test_every_failure_is_a_gap_with_a_cause(
    room: MakeRoom, command: list[str], cause: Cause
) -> None:
    live = room(command, SHORT_LIMITS if cause is Cause.STALLED else LONG_LIMITS)

    live.read_until(is_lost)

    assert live.states[-1] == FailedRecord(cause)
    assert live.microphone.pid is None


def test_process_that_never_opens_a_device_is_stalled(room: MakeRoom) -> None:
    live = room(program("time.sleep(99)"), MicrophoneTimeouts(start_s=0.2, first_pause_s=9))

    live.read_until(is_lost)

    assert live.states == [FailedRecord(Cause.STALLED)]


def test_killed_process_is_started_again(room: MakeRoom) -> None:
    live = room(writes(OPENED, block(1)))
    live.read_until(is_sound)
    first = live.microphone.pid
    assert first is not None

    os.kill(first, signal.SIGKILL)
    live.read_until(is_lost)
    live.read_until(is_sound)

    assert live.microphone.pid != first
    assert live.states == [
        OpenedRecord(48_000, 2),
        FailedRecord(Cause.DIED),
        OpenedRecord(48_000, 2),
    ]


def test_same_failure_is_reported_once_and_time_is_counted(room: MakeRoom) -> None:
    live = room(writes(encode_failed(Cause.MISSING)))

    read: list[Read] = []
    for _ in range(4):
        read += live.read_until(is_lost)

    assert live.states == [FailedRecord(Cause.MISSING)]
    assert any(isinstance(x, int) for x in read)
    assert not any(is_sound(x) for x in read)


def test_restart_delay_doubles_up_to_its_limit(room: MakeRoom) -> None:
    limits = MicrophoneTimeouts(first_pause_s=0.02, longest_pause_s=0.1)
    live = room(["/nowhere/at/all"], limits)

    passed_s = []
    for _ in range(6):
        read = live.read_until(is_lost)
        passed_s.append(sum(x for x in read if isinstance(x, int)) / 16_000)

    # Before the first try nothing is waited for; then at least as long as the pause.
    assert passed_s[0] == 0
    for passed, pause in zip(passed_s[1:], (0.02, 0.04, 0.08, 0.1, 0.1), strict=True):
        assert passed >= pause - 0.001


def test_restart_delay_is_reset_after_enough_sound(room: MakeRoom) -> None:
    limits = MicrophoneTimeouts(settled_s=0.08, first_pause_s=0.05, longest_pause_s=30, stall_s=9)
    live = room(program(f"write({OPENED + block(1)!r})"), limits)

    for _ in range(9):
        live.read_until(is_lost)

    # Without settling, the ninth pause alone would be 12.8 s: 204,800 samples.
    read = live.read_until(is_sound)
    assert sum(x for x in read if isinstance(x, int)) < 204_800


@pytest.mark.parametrize("value", [0, -1])
def test_constant_samples_are_reported_as_zeros(room: MakeRoom, value: int) -> None:
    same = np.full(FRAME_SAMPLES, value, "<i2").tobytes()
    flat = HEADER.pack(RecordType.SOUND, len(same)) + same
    endless = program(f"write({OPENED!r})", f"while True: write({flat!r})")
    live = room(endless, MicrophoneTimeouts(constant_s=0.4, first_pause_s=9))

    read = live.read_until(is_lost)

    assert live.states == [FailedRecord(Cause.ZEROS)]
    assert sum(map(is_sound, read)) == 4  # 0.32 s pass before the limit of 0.4 s


def test_constant_samples_pass_where_the_check_is_off(room: MakeRoom) -> None:
    flat = HEADER.pack(RecordType.SOUND, 2 * FRAME_SAMPLES) + bytes(2 * FRAME_SAMPLES)
    endless = program(f"write({OPENED!r})", f"while True: write({flat!r})")
    live = room(endless, MicrophoneTimeouts(constant_s=0))

    for _ in range(12):
        live.read_until(is_sound)

    assert live.states == [OpenedRecord(48_000, 2)]


def test_overrun_is_a_gap_between_two_blocks(room: MakeRoom) -> None:
    live = room(writes(OPENED, block(1), encode_overrun(), block(2_000)))

    read = live.read_until(is_sound) + live.read_until(is_sound)

    heard = [x[0] if isinstance(x, np.ndarray) else x for x in read if not _is_empty(x)]
    assert heard == [1, GapReason.OVERRUN, 2_000]


def test_edge_ends_the_wait_and_has_priority_over_sound(room: MakeRoom) -> None:
    live = room(writes(OPENED, block(1), block(2_000)))
    live.read_until(is_sound)

    live.write_edge()
    assert [_is_empty(live.microphone.read()) for _ in range(3)] == [True] * 3
    live.read_edge()

    assert is_sound(live.read_until(is_sound)[-1])


def test_edge_ends_the_restart_delay_of_a_missing_device(room: MakeRoom) -> None:
    live = room(["/nowhere/at/all"], MicrophoneTimeouts(first_pause_s=30))
    live.read_until(is_lost)
    live.write_edge()

    passed = [live.microphone.read() for _ in range(50)]

    # A busy machine may delay some turns by a whole frame, but not most.
    assert sum(isinstance(x, int) and x >= FRAME_SAMPLES for x in passed) < 25


def test_close_kills_the_process_and_drops_its_sound(room: MakeRoom) -> None:
    live = room(writes(OPENED, block(1), block(2_000), block(4_000)))
    live.read_until(is_sound)
    pid = live.microphone.pid
    assert pid is not None

    live.microphone.close()

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    again = live.read_until(is_sound)[-1]
    assert isinstance(again, np.ndarray)
    assert again[0] == 1, "a new process starts with its first block"
    assert live.states == [OpenedRecord(48_000, 2)]


def test_first_skip_does_not_wait_and_later_ones_do(room: MakeRoom) -> None:
    live = room(writes(OPENED, block(1)))
    live.read_until(is_sound)
    live.microphone.close()

    first = live.microphone.skip()
    passed = 0
    for _ in range(3):
        live.microphone.close()
        passed += live.microphone.skip()

    assert first == 0
    assert passed >= 3 * FRAME_SAMPLES * 0.99


def test_close_kills_a_process_that_is_starting(room: MakeRoom) -> None:
    live = room(program("time.sleep(99)"))
    live.microphone.read()
    pid = live.microphone.pid
    assert pid is not None

    live.microphone.close()

    assert live.microphone.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert live.states == []


def test_read_after_close_does_not_wait_for_a_restart_delay(room: MakeRoom) -> None:
    live = room(["/nowhere/at/all"], MicrophoneTimeouts(first_pause_s=30))
    live.read_until(is_lost)

    live.microphone.close()

    assert is_lost(live.microphone.read())


def test_lost_line_ends_one_wait_and_is_not_polled_again(room: MakeRoom) -> None:
    live = room(
        program(f"write({OPENED!r})", "time.sleep(0.25)", f"write({block(1)!r})", "time.sleep(99)"),
    )
    live.close_line()
    began_s = time.monotonic()

    read = live.read_until(is_sound)

    # Ended by the loss, the opened device and its sound, and once in each turn of the wait.
    assert len(read) <= 4 + (time.monotonic() - began_s) / TURN_S


def test_sound_is_read_when_the_switch_has_no_descriptor() -> None:
    def fail() -> Sequence[int]:
        raise OSError("gone")

    states: list[OpenedRecord | FailedRecord] = []
    live = LiveMicrophone(
        writes(OPENED, block(1)), watch=fail, tell=states.append, monotonic_s=time.monotonic
    )
    try:
        until_s = time.monotonic() + PATIENCE_S
        while not is_sound(live.read()):
            assert time.monotonic() < until_s
    finally:
        live.close()

    assert states == [OpenedRecord(48_000, 2)]


class PipeSwitch(NoSwitch):
    """Switch behind a pipe: 1 mutes, 0 opens."""

    def __init__(self) -> None:
        self._line, self._line_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._is_muted = False

    def put(self, *, muted: bool) -> None:
        os.write(self._line_writer, b"\1" if muted else b"\0")

    def filenos(self) -> Sequence[int]:
        return (self._line,)

    def is_muted(self, at_sample: int) -> bool:
        del at_sample
        try:
            edges = os.read(self._line, 1 << 16)
        except BlockingIOError:
            return self._is_muted
        self._is_muted = bool(edges[-1])
        return self._is_muted or 1 in edges

    def close(self) -> None:
        os.close(self._line)
        os.close(self._line_writer)


def endless_sound() -> list[str]:
    """Return a program that writes blocks without end, each of its own value."""
    return program(
        f"write({OPENED!r})",
        "n = 0",
        "while True:",
        "    n = n % 30000 + 1",
        f"    write({HEADER.pack(RecordType.SOUND, 2 * FRAME_SAMPLES)!r}"
        f" + n.to_bytes(2, 'little') * {FRAME_SAMPLES - 1} + b'xx')",
    )


def test_many_quick_edges_end_in_the_last_state() -> None:
    switch, stop = PipeSwitch(), StopSignal()
    microphone = LiveMicrophone(
        endless_sound(), watch=switch.filenos, tell=lambda _: None, monotonic_s=time.monotonic
    )
    sounds = Gate(microphone, switch, stop).stream()
    try:
        assert isinstance(next(s for s in sounds if isinstance(s, Frame)), Frame)

        for turn in range(40):
            switch.put(muted=turn % 2 == 0)
            time.sleep(0.001)
            if turn % 8 == 0:
                next(sounds)
        switch.put(muted=True)
        muted = [next(sounds) for _ in range(5)]
        assert all(isinstance(s, Gap) and s.reason is GapReason.MUTED for s in muted)
        assert microphone.pid is None

        for turn in range(41):
            switch.put(muted=turn % 2 == 0)
        switch.put(muted=False)
        assert isinstance(next(s for s in sounds if isinstance(s, Frame)), Frame)
        assert microphone.pid is not None
    finally:
        sounds.close()
        switch.close()

    assert microphone.pid is None


def test_closing_the_stream_of_the_gate_kills_the_process() -> None:
    microphone = LiveMicrophone(
        endless_sound(), watch=tuple, tell=lambda _: None, monotonic_s=time.monotonic
    )
    sounds = Gate(microphone, NoSwitch(), StopSignal()).stream()
    next(s for s in sounds if isinstance(s, Frame))

    sounds.close()

    assert microphone.pid is None


def test_gate_yields_gaps_while_the_device_is_missing() -> None:
    stop = StopSignal()
    states: list[OpenedRecord | FailedRecord] = []
    gate = listen_to_device(
        MicrophoneSettings(device="no such thing"),
        switch=NoSwitch(),
        stop=stop,
        tell=states.append,
        monotonic_s=time.monotonic,
    )

    gaps = []
    for sound in gate.stream():
        gaps.append(sound)
        if len(gaps) == 4:
            stop.request()

    assert all(isinstance(s, Gap) and s.reason is GapReason.LOST for s in gaps)
    assert len(states) == 1


def test_capture_command_passes_each_value_in_one_argument() -> None:
    command = capture_command("--evil --device=x", 3)

    assert "--device=--evil --device=x" in command
    assert "--channel=3" in command


def _is_empty(read: Read) -> bool:
    return isinstance(read, np.ndarray) and not len(read)


SOUND = HEADER.pack(RecordType.SOUND, 4) + b"abcd"


def child_program(*lines: str) -> list[str]:
    """Return a program that starts fast."""
    start = "import os, signal, time\nwrite = lambda data: os.write(1, data)\n"
    return [sys.executable, "-I", "-S", "-c", start + "\n".join(lines)]


@contextmanager
def child(*lines: str) -> Iterator[CaptureProcess]:
    made = CaptureProcess(child_program(*lines), memoryview(bytearray(64)))
    try:
        yield made
    finally:
        made.kill()


def next_record(made: CaptureProcess) -> Record:
    """Wait for the next record."""
    until_s = time.monotonic() + PATIENCE_S
    while (record := made.read_record()) is None:
        assert time.monotonic() < until_s, "no record within the time limit"
        time.sleep(0.005)
    return record


def test_records_are_read_in_order() -> None:
    with child(f"write({encode_opened(48_000, 2)!r} + {SOUND!r})", "signal.pause()") as made:
        first, second = next_record(made), next_record(made)

        assert first == OpenedRecord(48_000, 2)
        assert isinstance(second, BlockRecord)
        assert bytes(second.payload) == b"abcd"
        assert made.read_record() is None


def test_record_written_in_pieces_is_read_whole() -> None:
    lines = [f"write({bytes([byte])!r}); time.sleep(0.002)" for byte in SOUND]
    with child(*lines, "signal.pause()") as made:
        record = next_record(made)

        assert isinstance(record, BlockRecord)


def test_invalid_record_raises_a_protocol_error() -> None:
    lines = "write(b'Traceback (most recent call last)')", "signal.pause()"
    with child(*lines) as made, pytest.raises(ProtocolError):
        next_record(made)


def test_end_of_the_process_is_raised() -> None:
    with child("pass") as made, pytest.raises(ProcessEnded):
        next_record(made)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers, not paths


def test_missing_program_raises_and_leaks_no_descriptor() -> None:
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
def test_kill_ends_the_process_whatever_it_does(lines: tuple[str, ...]) -> None:
    made = CaptureProcess(child_program(*lines), memoryview(bytearray(64)))
    pid = made.pid

    assert made.kill()
    assert made.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_pipe_holds_a_bounded_number_of_bytes() -> None:
    with child(
        "os.set_blocking(1, False)", f"sent = write(bytes({4 * PIPE_BYTES}))", "time.sleep(99)"
    ) as made:
        assert select.select([made], [], [], PATIENCE_S)[0]

        assert 0 < len(os.read(made.fileno(), 4 * PIPE_BYTES)) <= PIPE_BYTES


def test_process_inherits_only_its_pipe() -> None:
    listing = "write(len(os.listdir('/proc/self/fd')).to_bytes(8, 'little') + bytes(8))"
    with child(listing, "time.sleep(99)") as made:
        until_s = time.monotonic() + PATIENCE_S
        data = b""
        while len(data) < 16 and time.monotonic() < until_s:
            try:
                data += os.read(made.fileno(), 16)
            except BlockingIOError:
                time.sleep(0.005)

        # Standard input, output and error, and the listing's own; libfaketime keeps one besides.
        faked = "libfaketime" in os.environ.get("LD_PRELOAD", "")
        assert int.from_bytes(data[:8], "little") == 4 + faked


def test_payload_is_a_writeable_view_of_the_memory() -> None:
    memory = bytearray(64)
    made = CaptureProcess(child_program(f"write({SOUND!r})", "time.sleep(99)"), memoryview(memory))
    try:
        record = next_record(made)
        assert isinstance(record, BlockRecord)
        samples = np.frombuffer(record.payload, np.int16)
        samples[...] = 0
    finally:
        made.kill()

    assert b"abcd" not in memory


LONG_S = 20.0


class Pipes:
    """Pipes of a process and of a switch's line, and a poller on both."""

    def __init__(self) -> None:
        self.process, self._process_writer = os.pipe()
        self.line, self._line_writer = os.pipe()
        self.poller = Poller(lambda: [self.line], time.monotonic)

    def write_sound(self) -> None:
        os.write(self._process_writer, b"x")

    def write_edge(self) -> None:
        os.write(self._line_writer, b"x")

    def close_line(self) -> None:
        os.close(self._line_writer)
        self._line_writer = -1

    def wait(self, longest_s: float = LONG_S) -> WaitResult:
        return self.poller.wait(longest_s, self.process)

    def close(self) -> None:
        for descriptor in (self.process, self._process_writer, self.line, self._line_writer):
            if descriptor >= 0:
                os.close(descriptor)


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    made = Pipes()
    yield made
    made.close()


def test_bytes_from_the_process_end_the_wait(pipes: Pipes) -> None:
    pipes.write_sound()

    assert pipes.wait() is WaitResult.READABLE


def test_edge_has_priority_over_bytes_from_the_process(pipes: Pipes) -> None:
    pipes.write_edge()
    assert pipes.wait() is WaitResult.EDGE

    pipes.write_sound()
    assert pipes.wait() is WaitResult.EDGE


def test_edge_ends_the_wait_without_a_process(pipes: Pipes) -> None:
    pipes.write_edge()

    assert pipes.poller.wait(LONG_S, None) is WaitResult.EDGE


@pytest.mark.parametrize("longest_s", [-1.0, 0.0, 0.01])
def test_wait_without_an_event_times_out(pipes: Pipes, longest_s: float) -> None:
    assert pipes.wait(longest_s) is WaitResult.TIMEOUT


def test_lost_line_is_one_edge_and_then_is_not_polled(pipes: Pipes) -> None:
    pipes.close_line()

    assert pipes.wait() is WaitResult.EDGE
    assert pipes.wait(0.01) is WaitResult.TIMEOUT
    pipes.write_sound()
    assert pipes.wait() is WaitResult.READABLE


def test_process_is_polled_when_the_switch_has_no_descriptor(pipes: Pipes) -> None:
    def fail() -> Sequence[int]:
        raise OSError("gone")

    pipes.write_sound()

    assert Poller(fail, time.monotonic).wait(LONG_S, pipes.process) is WaitResult.READABLE


def test_waits_are_summed_until_reset(pipes: Pipes) -> None:
    now_s = iter(range(100))
    poller = Poller(tuple, lambda: float(next(now_s)))

    # Each wait reads the clock three times; the last is two seconds after the first.
    for _ in range(3):
        assert poller.wait(0.0, pipes.process) is WaitResult.TIMEOUT
    assert poller.waited_s == 6.0

    poller.reset()
    assert poller.waited_s == 0.0
