"""Processes of the soak test: broker, archive, send and hear, with restarts counted."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.processes import earmark
from benchmarks.soak.stage import sounddevice as stage
from listener.errors import Unavailable

TIMEOUT_S: Final = 60.0
_PAGE_BYTES: Final = os.sysconf("SC_PAGESIZE")


class Actor:
    """A process that can be killed and restarted.

    Args:
        command: command of the process.
        out: file for its output, over all starts.
        environ: environment of the process.
    """

    def __init__(self, command: Sequence[str], out: Path, environ: dict[str, str]) -> None:
        self._command = command
        self._out = out
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self.lives = 0

    @property
    def pid(self) -> int:
        """Process id; 0 without a process."""
        return 0 if self._process is None else self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process, unless it runs."""
        if self.is_running:
            return
        with self._out.open("ab") as out, self._out.with_suffix(".err").open("ab") as err:
            self._process = subprocess.Popen(  # noqa: S603 - earmark or mosquitto with fixed arguments
                self._command, env=self._environ, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
        self.lives += 1

    def end(self, number: signal.Signals = signal.SIGKILL) -> int | None:
        """Stop the process; return its exit code, or None if there was no process."""
        if self._process is None:
            return None
        self._process.send_signal(number)
        process, self._process = self._process, None
        try:
            return process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


class Cast:
    """All processes, on one data directory.

    Args:
        folder: folder of the run.
        settings: configuration of Earmark.
        port: port of the broker.
        card: folder of the simulated sound card.
    """

    def __init__(self, folder: Path, settings: Path, port: int, card: Path) -> None:
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise Unavailable("mosquitto is not installed", "install it: make debian")
        self.port = port
        (folder / "mosquitto.conf").write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n", "utf-8"
        )
        environ = {
            **os.environ,
            stage.FOLDER: str(card),
            "PYTHONPATH": os.pathsep.join(
                filter(None, (str(Path(stage.__file__).parent), os.environ.get("PYTHONPATH")))
            ),
        }

        def actor(name: str, *command: str) -> Actor:
            return Actor(command, folder / f"{name}.out", environ)

        config = ("--config", str(settings))
        self.broker = actor("broker", program, "-c", str(folder / "mosquitto.conf"))
        self.archive = actor("archive", *earmark("archive", *config))
        self.send = actor("send", *earmark("send", *config))
        self.hear = actor("hear", *earmark("hear", *config, "--json"))

    def start(self) -> None:
        """Start all processes, hear last.

        Raises:
            Unavailable: the broker does not answer.
        """
        self.broker.start()
        until(self._broker_answers, "the broker answers")
        self.archive.start()
        self.send.start()
        self.hear.start()

    def end(self) -> None:
        """Stop all processes that run."""
        for actor in (self.hear, self.send, self.archive, self.broker):
            actor.end()

    def microphone(self) -> int | None:
        """Return the process id of hear's microphone process; None without one."""
        return next(iter(children(self.hear.pid)), None)

    def _broker_answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    except OSError:
        return []
    return [int(word) for word in text.split()]


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process in bytes; 0 if it has exited."""
    try:
        # Not smaps: it cannot be read of a process that disabled core dumps.
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def until(holds: Callable[[], object], what: str, timeout_s: float = TIMEOUT_S) -> None:
    """Wait until ``holds`` returns true.

    Raises:
        Unavailable: it did not within the timeout.
    """
    until_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > until_s:
            raise Unavailable(f"timeout: {what}")
        time.sleep(0.02)
