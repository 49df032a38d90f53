"""hear on a live sound card, from driver to envelope: wakes, losses, mute and doctor."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples
from listener.config import MicrophoneSettings, SpoolSettings
from listener.hear.mute.state import MuteFiles
from listener.hear.mute.switch import LineSwitch
from listener.hear.probe.microphone import prove_switch_cuts_microphone
from listener.ipc.playback_locks import TAIL_S, PlaybackLock
from listener.ipc.voice_paths import HOME_FOLDER, REPLY_KEY
from listener.spool.queue import Spool
from tests import cards
from tests.conftest import ROOT, Household

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

PATIENCE_S = 60.0
AGAIN_S = 12.0
"""A word that a busy machine did not hear is said again after this time."""
NAME = "earmark-room"
EARMARK = (sys.executable, "-m", "listener")


def wait_until(holds: Callable[[], object], what: str) -> None:
    """Wait for something to become true; the limit is for failures, not a measurement."""
    until_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until_s, f"never: {what}"
        time.sleep(0.02)


class Room:
    """A room with a card in it: quiet, unless something is said. In its own time."""

    def __init__(self, fifo: Path) -> None:
        os.mkfifo(fifo)
        self._fifo = fifo
        self._said: queue.SimpleQueue[Samples] = queue.SimpleQueue()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._be)
        self._thread.start()

    def say(self, recording: str) -> None:
        samples, _ = soundfile.read(ROOT / "tests" / "fixtures" / recording, dtype="int16")
        for at in range(0, len(samples) - FRAME_SAMPLES, FRAME_SAMPLES):
            self._said.put(samples[at : at + FRAME_SAMPLES])

    def say_until(self, recording: str, holds: Callable[[], object], what: str) -> None:
        """Say it, and again while it has no effect: a busy machine loses sound."""
        self.repeat_until(lambda: self.say(recording), holds, what)

    def repeat_until(self, say: Callable[[], None], holds: Callable[[], object], what: str) -> None:
        until_s = time.monotonic() + PATIENCE_S
        played_s = float("-inf")
        while not holds():
            now_s = time.monotonic()
            assert now_s < until_s, f"never: {what}"
            if now_s - played_s > AGAIN_S:
                say()
            if not self.is_played():
                played_s = now_s
            time.sleep(0.02)

    def is_played(self) -> bool:
        return self._said.empty()

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()

    def _be(self) -> None:
        while not self._is_over.wait(0.005):
            try:
                card = os.open(self._fifo, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                continue  # no process listens
            with contextlib.suppress(BrokenPipeError):
                self._sound(card)
            os.close(card)

    def _sound(self, card: int) -> None:
        rng = np.random.default_rng(1)
        due_s = time.monotonic()
        while not self._is_over.is_set():
            due_s += FRAME_SAMPLES / SAMPLE_RATE_HZ
            self._is_over.wait(max(0.0, due_s - time.monotonic()))
            try:
                frame = self._said.get_nowait()
            except queue.Empty:
                frame = rng.integers(-20, 20, FRAME_SAMPLES).astype(np.int16)
            with contextlib.suppress(BlockingIOError):  # a stopped hear loses sound
                os.write(card, frame.astype("<i2").tobytes())


class Hear:
    """A real hear on the card."""

    def __init__(self, settings: Path, environ: dict[str, str], *arguments: str) -> None:
        self._process = subprocess.Popen(
            [*EARMARK, "hear", "--json", f"--config={settings}", *arguments],
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.lines: list[dict[str, object]] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def count(self, event: str) -> int:
        return sum(line["event"] == event for line in list(self.lines))

    def microphones(self) -> list[int]:
        """Its children."""
        tasks = Path(f"/proc/{self._process.pid}/task")
        found = []
        for task in tasks.iterdir():
            with contextlib.suppress(OSError):
                found += [int(pid) for pid in (task / "children").read_text("utf-8").split()]
        return found

    def end(self) -> int:
        self._process.terminate()
        code = self._process.wait(PATIENCE_S)
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.lines.extend(json.loads(line) for line in self._process.stdout)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path / "room")
    yield made
    made.end()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    # In the folder that the player may write to.
    loudspeaker = tmp_path / "home" / HOME_FOLDER / "loudspeaker.raw"
    settings = cards.write_settings(
        tmp_path,
        **{
            NAME: cards.of_file(tmp_path / "room"),
            "earmark-silent": cards.SILENT,
            "earmark-loud": f'type file; slave.pcm "null"; file "{loudspeaker}"; format raw',
        },
    )
    return os.environ | {cards.VARIABLE: settings}


@pytest.fixture
def settings(tmp_path: Path, household: Household) -> Path:
    file = tmp_path / "earmark.toml"
    file.write_text(
        f'home = "{household.home.path}"\ndevice.name = "hall"\nattribution.keeper = "ada"\n'
        f'microphone.device = "{NAME}"\nmute.switch = "none"\nbroker.port = 1\n',
        "utf-8",
    )
    return file


def earmark(
    settings: Path, environ: dict[str, str], *words: str
) -> "subprocess.CompletedProcess[str]":
    verb, *more = words
    return subprocess.run(
        [*EARMARK, verb, f"--config={settings}", *more],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_live_wake_becomes_an_envelope_and_device_reopens(
    room: Room, environ: dict[str, str], settings: Path, household: Household
) -> None:
    hear = Hear(settings, environ)
    try:
        wait_until(lambda: hear.count("microphone_open") == 1, "the microphone is open")
        room.say_until("alexa_command.flac", lambda: hear.count("sealed") == 1, "a clip is sealed")

        (microphone,) = hear.microphones()
        os.kill(microphone, signal.SIGKILL)
        wait_until(lambda: hear.count("microphone_open") == 2, "it is found again")
        room.say_until(
            "alexa_command.flac", lambda: hear.count("sealed") == 2, "another clip is sealed"
        )
    finally:
        code = hear.end()

    assert code == 0
    (lost,) = [line for line in hear.lines if line["event"] == "microphone_lost"]
    assert lost["cause"] == "died"
    ended = hear.lines[-1]
    assert ended["event"] == "ended"
    assert ended["losses"] == 1
    assert ended["heard_s"] == pytest.approx(
        float(str(ended["discarded_s"])) + float(str(ended["sealed_s"]))
    )
    assert len(Spool(household.home.path / "spool", SpoolSettings()).waiting()) == 2


def test_software_mute_stops_the_microphone_process(
    room: Room, environ: dict[str, str], settings: Path
) -> None:
    hear = Hear(settings, environ)
    try:
        wait_until(lambda: hear.count("microphone_open") == 1, "the microphone is open")
        (before,) = hear.microphones()

        assert earmark(settings, environ, "mute", "on").returncode == 0
        wait_until(lambda: hear.count("muted") == 1, "it is muted")
        assert hear.microphones() == []
        room.say("alexa_command.flac")

        assert earmark(settings, environ, "mute", "off").returncode == 0
        wait_until(lambda: hear.count("unmuted") == 1, "it is open again")
        wait_until(hear.microphones, "there is a microphone")
        assert before not in hear.microphones()
    finally:
        hear.end()

    assert hear.count("microphone_lost") == 0


def test_silent_card_is_reported_as_no_microphone(environ: dict[str, str], settings: Path) -> None:
    hear = Hear(settings, environ, "--device=earmark-silent")
    try:
        wait_until(lambda: hear.count("microphone_lost") == 1, "the silence is noticed")
    finally:
        code = hear.end()

    (lost,) = [line for line in hear.lines if line["event"] == "microphone_lost"]
    assert lost["cause"] == "zeros"
    assert hear.count("microphone_open") == 0
    assert code == 0


def test_hear_permits_sound_only_while_it_is_not_muted(
    room: Room, environ: dict[str, str], settings: Path, household: Household
) -> None:
    del room
    lock = PlaybackLock(household.home.path / HOME_FOLDER)
    hear = Hear(settings, environ)
    try:
        wait_until(lock.refresh, "sound is permitted")

        assert earmark(settings, environ, "mute", "on").returncode == 0
        wait_until(lambda: not lock.refresh(), "it is forbidden")
        assert earmark(settings, environ, "mute", "off").returncode == 0
        wait_until(lock.refresh, "it is permitted again")

        os.kill(hear.pid, signal.SIGKILL)
        wait_until(lambda: not lock.refresh(), "without hear it is forbidden")
    finally:
        hear.end()
        lock.close()


def test_chime_sounds_in_a_pause_only_and_is_a_gap(
    room: Room, environ: dict[str, str], settings: Path, household: Household
) -> None:
    with settings.open("a", encoding="utf-8") as file:
        file.write('player.device = "earmark-loud"\n')
    folder = household.home.path / HOME_FOLDER
    sounded = folder / "loudspeaker.raw"
    hear = Hear(settings, environ)
    player = subprocess.Popen([*EARMARK, "play", f"--config={settings}"], env=environ)
    try:
        wait_until((folder / REPLY_KEY).exists, "the player runs")
        wait_until(lambda: hear.count("microphone_open") == 1, "the microphone is open")
        room.say_until(
            "alexa_command.flac",
            lambda: hear.count("sealed") == 1,
            "the command in one breath is sealed",
        )
        assert not sounded.exists()
        room.say_until(
            "alexa_pause_command.flac",
            lambda: hear.count("sealed") == 2,
            "one with a short pause is sealed",
        )
        assert not sounded.exists()

        room.say_until("alexa.flac", sounded.exists, "the chime sounds")
        wait_until(lambda: hear.count("sealed") == 3, "the clip begins behind it")
    finally:
        player.terminate()
        player.wait(PATIENCE_S)
        code = hear.end()

    assert code == 0
    assert player.returncode == 0
    # The player's start and end are short gaps too.
    gaps = [line["time_s"] for line in hear.lines if line.get("reason") == "playback"]
    sealed = [float(str(line["time_s"])) for line in hear.lines if line["event"] == "sealed"]
    assert [at for at in gaps if sealed[1] < float(str(at)) <= sealed[2] - TAIL_S]


def test_doctor_reports_the_room_level(room: Room, environ: dict[str, str], settings: Path) -> None:
    room.say("talk.flac")

    done = earmark(settings, environ, "doctor", "--json")

    findings = {line["check"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert findings["microphone"]["verdict"] == "ok", done.stdout
    assert findings["microphone"]["facts"]["length_samples"] >= 3 * SAMPLE_RATE_HZ
    assert -50 < findings["microphone"]["facts"]["level_dbfs"] < -5
    assert findings["keeper"]["verdict"] == "ok"
    # Nobody listens on port 1.
    assert findings["broker"]["verdict"] == "fail"
    assert done.returncode == 1
    # What else it looks at depends on the machine.
    assert set(findings) >= {
        *("confinement", "memory", "portaudio", "device", "mute", "microphone"),
        *("keeper", "key", "models", "spool", "broker", "swap", "core"),
        *("boot", "sandbox", "lamp", "clock", "telemetry"),
    }


def test_doctor_fails_on_a_silent_card(environ: dict[str, str], settings: Path) -> None:
    done = earmark(settings, environ, "doctor", "--device=earmark-silent")

    assert done.returncode == 1
    assert "fail  microphone  earmark-silent: its samples never change" in done.stdout
    assert done.stderr == ""


class ShutLine:
    """A switch in hardware that is shut."""

    def fileno(self) -> int:
        return self._end

    def was_muted(self) -> bool:
        return True

    def close(self) -> None:
        os.close(self._end)
        os.close(self._other_end)

    def __init__(self) -> None:
        self._end, self._other_end = os.pipe()


@pytest.mark.parametrize(
    ("device", "verdict", "fault"),
    [(NAME, "fail", "sound-while-muted"), ("earmark-silent", "ok", None)],
)
def test_switch_that_does_not_cut_is_detected(
    *,
    room: Room,
    environ: dict[str, str],
    household: Household,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    verdict: str,
    fault: str | None,
) -> None:
    monkeypatch.setenv(cards.VARIABLE, environ[cards.VARIABLE])
    lasting = MuteFiles(household.home.path)
    room.say("talk.flac")

    finding = prove_switch_cuts_microphone(
        MicrophoneSettings(device=device),
        LineSwitch("fake", ShutLine, time.monotonic),
        lasting,
    )

    assert finding.verdict == verdict, finding
    noted = lasting.fault.read()
    assert (noted and noted.reason) == fault
