"""Fixtures for real brokers and processes; each test has its own, on free ports."""

import contextlib
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.ports import find_free_port

PATIENCE_S = 60.0


def wait_until(holds: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for something to become true; the limit is for failures, not a measurement."""
    until_s = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < until_s, f"never: {what}"
        time.sleep(0.02)


@pytest.fixture
def free_port() -> int:
    return find_free_port()


class Mosquitto:
    """Debian's broker without persistence: what it held is lost with it."""

    def __init__(self, program: str, folder: Path, port: int) -> None:
        self.port = port
        self.program = program
        self._config = folder / "mosquitto.conf"
        self._log = folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.database: Path | None = None
        """Folder of a database that ``save`` writes; set it before the start."""

    def start(self, *lines: str, listener: str = "allow_anonymous true") -> None:
        database = f"true\npersistence_location {self.database}/" if self.database else "false"
        text = (
            f"user {getpass.getuser()}\npersistence {database}\n"
            f"listener {self.port} 127.0.0.1\n{listener}\n"
        )
        self._run(text + "".join(f"{line}\n" for line in lines))

    def start_with(self, folder: Path) -> None:
        """Run on a folder of ready files, which name the port, as Debian's own settings do."""
        self._run(f"user {getpass.getuser()}\npersistence false\ninclude_dir {folder}\n")

    def reload(self) -> None:
        """Let it read rights and revoked certificates again, as ``systemctl reload`` does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def said(self) -> str:
        """Return what it has written to its log."""
        return self._log.read_text("utf-8", "replace")

    def save(self) -> None:
        """Let it write its database, as it does every half hour and at its end."""
        assert self._process is not None
        assert self.database is not None
        self._process.send_signal(signal.SIGUSR1)
        wait_until((self.database / "mosquitto.db").exists, "the database")

    def _run(self, text: str) -> None:
        self._config.write_text(text)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self.program, "-c", str(self._config)], stdout=log, stderr=log
            )
        # It opens one listener after the other.
        for port in sorted(
            {self.port, *map(int, re.findall(r"^listener (\d+)", text, re.MULTILINE))}
        ):
            wait_until(partial(self._answers, port), f"mosquitto answers at port {port}")

    @property
    def process_id(self) -> int:
        assert self._process is not None
        return self._process.pid

    def pause(self) -> None:
        """Let it hang: its connections stay open, and nothing is read."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on, if it was paused and runs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self, port: int) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text("utf-8", "replace")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False


@pytest.fixture
def mosquitto(tmp_path: Path, free_port: int) -> Iterator[Mosquitto]:
    """A broker that a test starts, kills and starts again."""
    program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        pytest.skip("mosquitto is not installed: make debian")
    broker = Mosquitto(program, tmp_path, free_port)
    yield broker
    broker.kill()


class Earmark:
    """Verbs as processes of their own, on one home and one configuration."""

    def __init__(self, home: Path, config: Path) -> None:
        self._home = home
        self._config = config
        self._running: dict[str, subprocess.Popen[str]] = {}
        self.environment: dict[str, str] = {}
        """What started verbs find in theirs besides the usual; ``""`` leaves a name out."""
        self.is_weighed = False
        """Whether they go without what counts coverage, which takes memory of its own."""

    def command(self, *words: str) -> list[str]:
        verb, *rest = words
        return [
            *(sys.executable, "-m", "listener", verb),
            *("--config", str(self._config), "--home", str(self._home), *rest),
        ]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end."""
        return subprocess.run(
            self.command(*words), capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a verb that goes on; its messages go to a file beside the home."""
        with (self._home.parent / f"{words[0]}.log").open("a") as log:
            process = subprocess.Popen(
                self.command(*words),
                stdout=log,
                stderr=log,
                text=True,
                env={
                    name: value
                    for name, value in (os.environ | self.environment).items()
                    if value and not (self.is_weighed and "COVERAGE" in name)
                },
            )
        self._running[words[0]] = process
        return process

    def pid(self, verb: str) -> int:
        """Return the process id of a started verb."""
        return self._running[verb].pid

    def said(self, verb: str) -> str:
        """Return what a started verb has written."""
        return (self._home.parent / f"{verb}.log").read_text("utf-8")

    def kill(self, verb: str, number: signal.Signals = signal.SIGKILL) -> int:
        """End a verb; return its exit code."""
        process = self._running.pop(verb)
        process.send_signal(number)
        return process.wait(PATIENCE_S)

    def end(self) -> None:
        for verb in list(self._running):
            self.kill(verb)


@pytest.fixture
def earmark(home: Path, tmp_path: Path, free_port: int) -> Iterator[Earmark]:
    config = tmp_path / "earmark.toml"
    config.write_text(
        f'device.name = "hall"\nbroker.port = {free_port}\n'
        "spool.retry_s = 0.5\nspool.most_clips = 500\n"
        "archive.clips_per_hour = 100000\n"
    )
    verbs = Earmark(home, config)
    yield verbs
    verbs.end()


class WallClock:
    """The time of day of verbs, moved about while they run; what counts seconds goes on as ever."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._offset = folder / "faketime"
        # The tests themselves may run at another date (make calendar): offsets are from theirs.
        outer = os.environ.get("LD_PRELOAD", "")
        true = subprocess.run(
            ["date", "+%s"], env=os.environ | {"LD_PRELOAD": ""}, check=True, capture_output=True
        )
        self._outer_s = round(time.time()) - int(true.stdout) if "faketime" in outer else 0
        self.environment = {
            "LD_PRELOAD": outer if "faketime" in outer else str(library),
            "FAKETIME": "",
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.move(timedelta())

    def move(self, offset: timedelta) -> None:
        """Set it off from the time of the tests."""
        self._offset.write_text(f"{self._outer_s + offset.total_seconds():+.0f}\n")

    def now_s(self) -> float:
        """Ask a process what time it thinks it is."""
        told = subprocess.run(
            [sys.executable, "-c", "import time; print(time.time())"],
            env={name: value for name, value in (os.environ | self.environment).items() if value},
            check=True,
            capture_output=True,
        )
        return float(told.stdout)


@pytest.fixture
def wall_clock(tmp_path: Path, earmark: Earmark) -> WallClock:
    """A clock for all verbs that the test starts."""
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert libraries, "libfaketime is not installed: make debian"
    clock = WallClock(libraries[0], tmp_path)
    earmark.environment |= clock.environment
    return clock


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    """A private authority, the broker's certificate and one for device and archive each."""
    folder = tmp_path / "pki"
    folder.mkdir()

    def openssl(*words: str) -> None:
        subprocess.run(
            ["openssl", *words],
            cwd=folder,
            check=True,
            capture_output=True,
        )

    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    for authority in ("ca", "stranger"):
        out = ("-keyout", f"{authority}.key", "-out", f"{authority}.pem", "-days", "2")
        openssl(*new, *out, "-subj", f"/CN={authority}")
    for name in ("broker", "d-hall", "s-archive"):
        out = ("-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-subj", f"/CN={name}")
        openssl(*new, *out, *signed, "-addext", "subjectAltName=IP:127.0.0.1")
    return folder


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[[Callable[[], object], str], None]:
    return wait_until
