"""Attacks that make hear wait for another process: mute still works, and no audio stays in memory.

Every attack here stopped an earlier version for good. The attacker may write in the spool, as send
may, or in the data directory; holds a lock without end; or stops reading what hear prints.
"""

import contextlib
import fcntl
import importlib.resources
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from listener.audio.pcm import FRAME_SAMPLES, Samples
from listener.selftest.memory import snapshot_memory
from listener.selftest.processes import process_tree
from listener.selftest.watermark import Watermark
from tests import cards
from tests.conftest import Household
from tests.system.test_live_hear import EARMARK, NAME, Hear, Room, earmark, wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

CLIP_BLOCKS = 1_500
"""Length of the watermark after the wake word; blocks of 1 ms."""


class WatermarkRoom(Room):
    """A room in which a wake word is followed by a watermark."""

    watermark = Watermark(2026)

    def say_watermark_until(self, holds: Callable[[], object], what: str) -> None:
        self.repeat_until(self.say_watermark, holds, what)

    def say_watermark(self) -> None:
        word = importlib.resources.files("listener.selftest") / "word.flac"
        with word.open("rb") as file:
            samples, _ = soundfile.read(file, dtype="int16")
        self._play(np.concatenate([samples, self.watermark.signal(0, CLIP_BLOCKS)]))

    def _play(self, samples: Samples) -> None:
        for at in range(0, len(samples) - FRAME_SAMPLES, FRAME_SAMPLES):
            self._said.put(samples[at : at + FRAME_SAMPLES])


class Speaker:
    """A speaker with a running hear on a live card."""

    def __init__(self, home: Path, settings: Path, environ: dict[str, str]) -> None:
        self.home, self._settings, self._environ = home, settings, environ
        self.hear = Hear(settings, environ)
        wait_until(lambda: self.hear.count("microphone_open") == 1, "the microphone is open")

    def mute(self, action: str) -> "subprocess.CompletedProcess[str]":
        return earmark(self._settings, self._environ, "mute", action)

    def watermark_blocks(self, watermark: Watermark) -> int:
        """Return the number of blocks of audio in the memory of hear and its children."""
        found = 0
        for process in process_tree(self.hear.pid):
            with contextlib.suppress(Exception):
                found += snapshot_memory(process.pid).scan(watermark).found.count
        return found

    def reasons(self) -> list[object]:
        return [line["reason"] for line in self.hear.lines if line["event"] == "not_kept"]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[WatermarkRoom]:
    made = WatermarkRoom(tmp_path / "room")
    yield made
    made.end()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    card = {NAME: cards.of_file(tmp_path / "room")}
    return os.environ | {cards.VARIABLE: cards.write_settings(tmp_path, **card)}


@pytest.fixture
def settings(tmp_path: Path, household: Household) -> Path:
    file = tmp_path / "earmark.toml"
    file.write_text(
        f'home = "{household.home.path}"\ndevice.name = "hall"\nattribution.keeper = "ada"\n'
        f'microphone.device = "{NAME}"\nmute.switch = "none"\nbroker.port = 1\n',
        "utf-8",
    )
    return file


@pytest.fixture
def speaker(
    room: WatermarkRoom, household: Household, settings: Path, environ: dict[str, str]
) -> Iterator[Speaker]:
    assert room.is_played()
    (household.home.path / "spool").mkdir(mode=0o700)
    made = Speaker(household.home.path, settings, environ)
    yield made
    made.hear.end()


@contextlib.contextmanager
def held_lock(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


def as_root(request: pytest.FixtureRequest) -> bool:
    """Without root, run this test again as root of a user namespace; hear's memory is private."""
    if os.geteuid() == 0:
        return True
    words = ["unshare", "--user", "--map-root-user", sys.executable, "-m", "pytest", "-q"]
    assert subprocess.run([*words, request.node.nodeid], check=False).returncode == 0
    return False


@pytest.mark.parametrize("name", ["mute.json", "fault.json"])
def test_pipe_in_place_of_the_mute_state_closes_the_microphone(speaker: Speaker, name: str) -> None:
    os.mkfifo(speaker.home / name)

    wait_until(lambda: speaker.hear.count("muted") == 1, "hear is muted")
    assert speaker.hear.microphones() == []

    (speaker.home / name).unlink()
    for action in ("off", "clear-fault"):
        speaker.mute("on")
        assert speaker.mute(action).returncode == 0


def test_pipe_in_place_of_the_key_rotation_does_not_stop_sealing(
    speaker: Speaker, room: WatermarkRoom
) -> None:
    place = speaker.home / "spool" / "following.json"
    os.mkfifo(place)
    room.say_watermark_until(lambda: speaker.hear.count("sealed") == 1, "a clip is sealed")

    place.unlink()
    place.symlink_to("/dev/zero")
    room.say_watermark_until(lambda: speaker.hear.count("sealed") == 2, "a second clip is sealed")


@pytest.mark.parametrize("name", ["spool", "lock"])
def test_lock_that_is_never_released_costs_a_counted_clip_and_leaves_no_audio(
    request: pytest.FixtureRequest, speaker: Speaker, room: WatermarkRoom, name: str
) -> None:
    if not as_root(request):
        return
    with held_lock(speaker.home / name):
        room.say_watermark_until(lambda: speaker.hear.count("wake") == 1, "hear wakes")
        wait_until(speaker.reasons, "the loss of the clip is published")
        assert speaker.reasons() == ["refused"]
        # The ring buffer still holds the last 2 s.
        wait_until(lambda: not speaker.watermark_blocks(room.watermark), "no audio is left")

    wait_until(room.is_played, "the room is quiet")
    room.say_watermark_until(lambda: speaker.hear.count("sealed") == 1, "the next clip is sealed")


def test_mute_reports_an_open_microphone_while_hear_hangs(speaker: Speaker) -> None:
    (microphone,) = speaker.hear.microphones()
    os.kill(speaker.hear.pid, signal.SIGSTOP)
    try:
        for action in ("on", "status"):
            done = speaker.mute(action)
            assert done.returncode == 69
            assert done.stdout.startswith("NOT MUTED: the microphone is open\n")
            assert "the microphone is still open: hear does not answer" in done.stderr
        assert Path(f"/proc/{microphone}").exists()
    finally:
        os.kill(speaker.hear.pid, signal.SIGCONT)

    wait_until(lambda: speaker.hear.count("muted") == 1, "hear is muted")
    done = speaker.mute("status")
    assert (done.returncode, done.stdout.partition("\n")[0]) == (0, "muted")
    os.kill(speaker.hear.pid, signal.SIGSTOP)
    try:
        done = speaker.mute("off")
        assert done.returncode == 69
        assert "hear does not answer; the microphone is closed" in done.stderr
    finally:
        os.kill(speaker.hear.pid, signal.SIGCONT)
    wait_until(lambda: speaker.hear.count("unmuted") == 1, "hear listens again")


@pytest.mark.usefixtures("room")
def test_mute_works_while_the_reader_of_events_has_stopped(
    settings: Path, environ: dict[str, str]
) -> None:
    """The pipe is full before hear starts, and nobody reads it."""
    read_end, write_end = os.pipe()
    size = fcntl.fcntl(write_end, fcntl.F_GETPIPE_SZ)
    os.write(write_end, b"\n" * size)
    hear = subprocess.Popen(
        [*EARMARK, "hear", "--json", "--verbose", f"--config={settings}"],
        env=environ,
        stdout=write_end,
        stderr=write_end,
    )
    os.close(write_end)

    def microphones() -> list[int]:
        return [p.pid for p in process_tree(hear.pid) if p.pid != hear.pid]

    try:
        wait_until(microphones, "a microphone process runs")
        assert earmark(settings, environ, "mute", "on").returncode == 0
        assert microphones() == []
        assert earmark(settings, environ, "mute", "off").returncode == 0
        wait_until(microphones, "it runs again")
        assert hear.poll() is None
        # Once this test reads, events arrive again.
        assert os.read(read_end, size)
        os.set_blocking(read_end, False)
        text = bytearray()

        def is_muted_again() -> bool:
            """Mute once more: hear reports a mute after a frame of audio, which may be missing."""
            assert earmark(settings, environ, "mute", "off").returncode == 0
            assert earmark(settings, environ, "mute", "on").returncode == 0
            with contextlib.suppress(BlockingIOError):
                text.extend(os.read(read_end, size))
            lines = [line for line in bytes(text).splitlines() if line.startswith(b"{")]
            return any(json.loads(line)["event"] == "muted" for line in lines)

        wait_until(is_muted_again, "the event is written")
    finally:
        hear.terminate()
        hear.wait(60)
        os.close(read_end)
