"""``earmark monitor`` beside a real ``earmark hear``."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from listener.ipc.notice_socket import MONITOR_SOCKET

if TYPE_CHECKING:
    from tests.conftest import Household

pytestmark = pytest.mark.system

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
COMMAND = FIXTURES / "alexa_command.flac"
PATIENCE_S = 50.0


class Verbs:
    """Verbs as processes of their own on one home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._running: list[subprocess.Popen[str]] = []

    def words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "listener", words[0], "--home", str(self.home), *words[1:]]

    def start(self, *words: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            self.words(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._running.append(process)
        return process

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.words(*words), capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )

    def hear(self, *more: str) -> "subprocess.Popen[str]":
        """Hear the word in real time, with some talk before and behind it."""
        files = ",".join(str(FIXTURES / f"{name}.flac") for name in ("alexa_command", "talk"))
        return self.start("hear", "--keeper", "ada", "--microphone", files, *more)

    def end(self) -> None:
        for process in self._running:
            process.kill()
            process.communicate()


@pytest.fixture
def verbs(household: "Household") -> Iterator[Verbs]:
    made = Verbs(household.home.path)
    yield made
    made.end()


def until(process: "subprocess.Popen[str]", holds: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any test on a line
    """Read lines of JSON until one is as wanted; return all of them."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(json.loads(line))
        if holds(seen[-1]):
            return seen
    raise AssertionError(f"it ended before: {seen[-1:]}")


def test_monitor_shows_a_wake_and_no_audio(verbs: Verbs) -> None:
    monitor = verbs.start("monitor", "--json")
    verbs.hear()

    seen = until(monitor, lambda line: line["hearing"] and (line["counters"] or {}).get("sealed"))

    hearing = [line for line in seen if line["hearing"]]
    assert {line["lamp"] for line in hearing} == {"idle", "hearing"}
    assert {line["mute"] for line in hearing} == {"open"}
    assert max(line["words"]["alexa"]["score"] for line in hearing) > 0.9
    assert all(line["words"]["alexa"]["threshold"] == 0.5 for line in hearing)
    assert hearing[-1]["last"]["event"] == "wake"
    assert min(line["level_dbfs"] for line in hearing) < max(line["level_dbfs"] for line in hearing)
    tally = hearing[-1]["counters"]
    assert tally["heard_samples"] == (
        tally["discarded_samples"] + tally["sealed_samples"] + tally["held_samples"]
    )
    # Nothing in a line is as long as sound would have to be.
    assert max(len(json.dumps(line)) for line in seen) < 1_500


def test_monitor_shows_a_mute(verbs: Verbs) -> None:
    monitor = verbs.start("monitor", "--json")
    verbs.hear("--mute", "1-60")

    seen = until(monitor, lambda line: line["hearing"] and line["level_dbfs"] is None)

    assert (seen[-1]["mute"], seen[-1]["lamp"]) == ("hardware", "muted")


def test_snapshot_of_a_running_and_a_stopped_hear(verbs: Verbs) -> None:
    alone = verbs.run("monitor", "--once")
    assert (alone.returncode, alone.stdout) == (69, "")
    assert "error: hear is not running at" in alone.stderr
    verbs.hear()

    text = verbs.run("monitor", "--once")
    data = verbs.run("monitor", "--once", "--json")

    assert (text.returncode, text.stderr) == (0, "")
    assert text.stdout.startswith("level -")
    assert json.loads(data.stdout)["hearing"] is True


def test_monitor_without_a_terminal_prints_plain_lines(verbs: Verbs) -> None:
    monitor = verbs.start("monitor")
    assert monitor.stdout is not None
    assert monitor.stdout.readline() == "hear is not running\n"

    verbs.hear()

    line = monitor.stdout.readline()
    assert line.startswith("level -")
    assert "alexa 0.00/0.50; open; lamp idle; cpu " in line
    monitor.send_signal(signal.SIGINT)
    assert monitor.wait(PATIENCE_S) == 0
    assert not (verbs.home / MONITOR_SOCKET).exists()


def test_monitor_in_a_terminal_draws(verbs: Verbs) -> None:
    verbs.hear()
    ours, theirs = pty.openpty()
    monitor = subprocess.Popen(
        verbs.words("monitor"),
        stdout=theirs,
        stdin=theirs,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LANG": "C.UTF-8"},
    )
    os.close(theirs)
    drawn = b""
    until_s = time.monotonic() + PATIENCE_S

    while drawn.count(b"wakes at 0.50") < 3:
        assert time.monotonic() < until_s, drawn.decode()
        drawn += os.read(ours, 4096)
    monitor.send_signal(signal.SIGINT)

    assert monitor.wait(PATIENCE_S) == 0
    os.close(ours)
    assert "speaker: running since" in drawn.decode()


def test_second_monitor_is_refused(verbs: Verbs) -> None:
    first = verbs.start("monitor")
    until_s = time.monotonic() + PATIENCE_S
    while not (verbs.home / MONITOR_SOCKET).exists():
        assert time.monotonic() < until_s
        time.sleep(0.02)

    second = verbs.run("monitor", "--once")

    assert second.returncode == 69
    assert "another process already listens" in second.stderr
    assert first.poll() is None
    assert (verbs.home / MONITOR_SOCKET).stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_monitor_as_root_gives_its_socket_to_the_hear_user(verbs: Verbs) -> None:
    os.chown(verbs.home / "device.key", 12_345, 12_345)

    monitor = verbs.start("monitor")

    until_s = time.monotonic() + PATIENCE_S
    socket = verbs.home / MONITOR_SOCKET
    while not socket.exists() or socket.stat().st_uid == 0:
        assert time.monotonic() < until_s
        time.sleep(0.02)
    assert (socket.stat().st_uid, socket.stat().st_gid) == (12_345, 12_345)
    assert monitor.poll() is None
