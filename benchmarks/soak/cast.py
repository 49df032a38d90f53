"""Who plays: broker, archive, send and hear as processes that are started, killed and counted."""

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

PATIENCE_S: Final = 60.0
_PAGE_BYTES: Final = os.sysconf("SC_PAGESIZE")


class Actor:
    """One process that may be killed and started again.

    Args:
        command: what it runs.
        out: a file that gets what it says, from all its lives.
        environ: its environment.
    """

    def __init__(self, command: Sequence[str], out: Path, environ: dict[str, str]) -> None:
        self._command = command
        self._out = out
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self.lives = 0

    @property
    def pid(self) -> int:
        """Of the process; 0 while there is none."""
        return 0 if self._process is None else self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.is_running:
            return
        with self._out.open("ab") as out, self._out.with_suffix(".err").open("ab") as err:
            self._process = subprocess.Popen(  # noqa: S603 - earmark, with the words of its part in the soak
                self._command, env=self._environ, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
        self.lives += 1

    def end(self, number: signal.Signals = signal.SIGKILL) -> int | None:
        """End it; return its exit code, or None when there was nothing to end."""
        if self._process is None:
            return None
        self._process.send_signal(number)
        process, self._process = self._process, None
        try:
            return process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


class Cast:
    """All of them, on one home.

    Args:
        folder: theirs, with the settings and the stage.
        settings: the configuration of Earmark.
        port: the broker's.
    """

    def __init__(self, folder: Path, settings: Path, port: int) -> None:
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise Unavailable("mosquitto is not installed", "make debian")
        self.port = port
        (folder / "mosquitto.conf").write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n", "utf-8"
        )
        environ = {
            **os.environ,
            stage.FOLDER: str(folder),
            "PYTHONPATH": str(Path(stage.__file__).parent),
        }

        def actor(name: str, *command: str) -> Actor:
            return Actor(command, folder / f"{name}.out", environ)

        config = ("--config", str(settings))
        self.broker = actor("broker", program, "-c", str(folder / "mosquitto.conf"))
        self.archive = actor("archive", *earmark("archive", *config))
        self.send = actor("send", *earmark("send", *config))
        self.hear = actor("hear", *earmark("hear", *config, "--json"))

    def start(self) -> None:
        """Start all, the ear last.

        Raises:
            Unavailable: the broker does not answer.
        """
        self.broker.start()
        until(self._broker_answers, "the broker answers")
        self.archive.start()
        self.send.start()
        self.hear.start()

    def end(self) -> None:
        """End whoever still runs."""
        for actor in (self.hear, self.send, self.archive, self.broker):
            actor.end()

    def microphone(self) -> int | None:
        """Return the pid of hear's microphone's process, while there is one."""
        return next(iter(children(self.hear.pid)), None)

    def _broker_answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    except OSError:
        return []
    return [int(word) for word in text.split()]


def rss_bytes(pid: int) -> int:
    """Return what of a process is in memory; 0 when it is gone."""
    try:
        # Not smaps, which is closed to others for a process that forbids dumps.
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def until(holds: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for something to become true.

    Raises:
        Unavailable: it did not.
    """
    until_s = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() > until_s:
            raise Unavailable(f"never: {what}")
        time.sleep(0.02)
