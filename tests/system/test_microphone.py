"""The microphone process with the real PortAudio, on an ALSA device that plays a test's samples."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame, Samples
from listener.config import MicrophoneSettings
from listener.errors import Unavailable
from listener.hear.gate import listen_to_device
from listener.hear.microphone.devices import load_portaudio
from listener.hear.microphone.protocol import HEADER, Cause, FailedRecord, OpenedRecord, RecordType
from listener.hear.mute.switch import NoSwitch
from listener.system.systemd import StopSignal
from tests import cards

pytestmark = pytest.mark.system

PATIENCE_S = 60.0
NAME = "earmark-test"


@pytest.fixture
def sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the card plays as fast as it is read; a FIFO plays as fast as it is written."""
    try:
        load_portaudio()
    except Unavailable:
        pytest.fail("libportaudio2 is not installed: make debian")
    file = tmp_path / "sound.raw"
    settings = cards.write_settings(tmp_path, **{NAME: cards.of_file(file)})
    monkeypatch.setenv(cards.VARIABLE, settings)
    return file


def ramp(length: int) -> Samples:
    return (np.arange(length) % 30_000 + 1).astype(np.int16)


def capture(device: str, parent: int) -> list[str]:
    return [
        *(
            sys.executable,
            "-m",
            "listener.hear.microphone.process",
            f"--device={device}",
            "--channel=0",
        ),
        *(f"--rate-hz={SAMPLE_RATE_HZ}", f"--block-samples={FRAME_SAMPLES}", f"--parent={parent}"),
    ]


def running(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def test_card_samples_arrive_unchanged(sound: Path) -> None:
    spoken = ramp(SAMPLE_RATE_HZ)
    sound.write_bytes(spoken.astype("<i2").tobytes())

    with running(capture(NAME, os.getpid())) as process:
        assert process.stdout is not None
        kind, length = HEADER.unpack(process.stdout.read(HEADER.size))
        opened = np.frombuffer(process.stdout.read(length), "<u4")
        heard = bytearray()
        while len(heard) < 2 * len(spoken):
            head = HEADER.unpack(process.stdout.read(HEADER.size))
            assert head[0] == RecordType.SOUND
            heard += process.stdout.read(head[1])
        process.stdout.close()  # Nobody reads any more: it ends by itself, and well.

    assert kind == RecordType.OPENED
    assert opened.tolist() == [SAMPLE_RATE_HZ, 1]
    assert np.array_equal(np.frombuffer(heard, "<i2")[: len(spoken)], spoken)
    assert process.returncode == 0


def test_missing_card_is_a_record_and_exit_69(sound: Path) -> None:
    del sound

    done = subprocess.run(capture("no such card", os.getpid()), capture_output=True, check=False)

    assert done.returncode == 69
    assert done.stdout == HEADER.pack(RecordType.FAILED, 7) + b"missing"
    assert b"Traceback" not in done.stderr


def test_microphone_process_ends_with_its_parent(sound: Path) -> None:
    os.mkfifo(sound)  # Nothing is ever written: the child hangs in its driver.
    start = (
        "import os, subprocess, sys, time\n"
        f"command = {capture(NAME, 0)!r}\n"
        "command[-1] = f'--parent={os.getpid()}'\n"
        "child = subprocess.Popen(command, stdout=subprocess.PIPE)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(99)\n"
    )
    with running([sys.executable, "-c", start]) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        wait_until(lambda: "libportaudio" in maps(child), "it has begun")

        parent.kill()

    wait_until(lambda: not is_alive(child), "it is gone")


def test_missing_parent_is_detected_at_start(sound: Path) -> None:
    sound.write_bytes(bytes(100))

    done = subprocess.run(capture(NAME, 1), capture_output=True, check=False)

    assert done.returncode == 0
    assert done.stdout == b""


def test_microphone_process_forbids_dumps_and_stays_small(sound: Path) -> None:
    sound.write_bytes(ramp(SAMPLE_RATE_HZ).astype("<i2").tobytes())

    with running(capture(NAME, os.getpid())) as process:
        assert process.stdout is not None
        process.stdout.read(4 * FRAME_SAMPLES)
        status = Path(f"/proc/{process.pid}/status").read_text("utf-8")
        # Of a process that forbids dumps, the files belong to root.
        owner = Path(f"/proc/{process.pid}/maps").stat().st_uid
        limits = Path(f"/proc/{process.pid}/limits").read_text("utf-8")
        process.kill()

    peak_kib = next(int(x.split()[1]) for x in status.splitlines() if x.startswith("VmHWM"))
    assert peak_kib <= 32 * 1024
    assert owner == 0
    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]


class Speaker:
    """Writes a FIFO at the pace of speech, and can fall silent and speak again."""

    def __init__(self, fifo: Path) -> None:
        os.mkfifo(fifo)
        self._fifo = fifo
        self._is_speaking = threading.Event()
        self._is_speaking.set()
        self._is_done = threading.Event()
        self._thread = threading.Thread(target=self._speak, daemon=True)
        self._thread.start()

    def fall_silent(self) -> None:
        self._is_speaking.clear()

    def speak(self) -> None:
        self._is_speaking.set()

    def end(self) -> None:
        self._is_done.set()
        self._is_speaking.set()
        self._thread.join(PATIENCE_S)

    def _speak(self) -> None:
        # Both ends, so that it opens at once and a reader that was killed does no harm.
        fifo = os.open(self._fifo, os.O_RDWR | os.O_NONBLOCK)
        # Whole frames: with less, ALSA's file fills up what it reads with something older.
        block = ramp(FRAME_SAMPLES).astype("<i2").tobytes()
        while not self._is_done.is_set():
            self._is_speaking.wait()
            with contextlib.suppress(BlockingIOError):
                os.write(fifo, block)
            time.sleep(0.04)
        os.close(fifo)


@pytest.fixture
def speaker(sound: Path) -> Iterator[Speaker]:
    made = Speaker(sound)
    yield made
    made.end()


def test_stalled_device_is_reopened(speaker: Speaker) -> None:
    stop = StopSignal()
    told: list[OpenedRecord | FailedRecord] = []
    gate = listen_to_device(
        MicrophoneSettings(device=NAME),
        switch=NoSwitch(),
        stop=stop,
        tell=told.append,
        monotonic_s=time.monotonic,
    )

    frames = 0
    until_s = time.monotonic() + PATIENCE_S
    for heard in gate.stream():
        assert time.monotonic() < until_s, told
        frames += isinstance(heard, Frame)
        if told == [OpenedRecord(SAMPLE_RATE_HZ, 1)] and frames >= 5:
            speaker.fall_silent()
        elif told and isinstance(told[-1], FailedRecord):
            speaker.speak()
        elif len(told) == 3:
            stop.request()

    assert told == [
        OpenedRecord(SAMPLE_RATE_HZ, 1),
        FailedRecord(Cause.STALLED),
        OpenedRecord(SAMPLE_RATE_HZ, 1),
    ]


def test_microphone_hanging_in_its_driver_is_killed(sound: Path) -> None:
    os.mkfifo(sound)
    stop = StopSignal()
    told: list[OpenedRecord | FailedRecord] = []
    gate = listen_to_device(
        MicrophoneSettings(device=NAME),
        switch=NoSwitch(),
        stop=stop,
        tell=told.append,
        monotonic_s=time.monotonic,
    )
    sounds = gate.stream()
    threading.Timer(0.5, stop.request).start()
    with pytest.raises(StopIteration):
        next(sounds)

    assert children() == set()


def wait_until(holds: Callable[[], object], what: str) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until_s, f"never: {what}"
        time.sleep(0.02)


def maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text("utf-8")
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def children() -> set[int]:
    """Processes of ours that are microphones."""
    found = set()
    for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
        with contextlib.suppress(OSError):
            if b"listener.hear.microphone.process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(int(pid))
    return found
