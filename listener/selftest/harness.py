"""Harness that runs hear and send as processes in a temporary home and observes them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from listener.errors import EarmarkError, Unavailable
from listener.selftest import memory, syscalls
from listener.selftest.processes import Process, process_tree
from listener.selftest.setup import KEEPER, TemporaryHome, WatermarkScene
from listener.selftest.sources import AudioSource

_PAUSE_S: Final = 0.01
_START_S: Final = 60.0
_GRACE_S: Final = 10.0
_LONGEST_OUTPUT: Final = 2_000


class Harness:
    """One run of hear and send. Use it as a context manager; one thread.

    Args:
        setup: temporary home of the run.
        source: plays the scene to hear.
        scene: audio and the times of the checks.
        tracer: path of strace, or None.
    """

    def __init__(
        self, setup: TemporaryHome, source: AudioSource, scene: WatermarkScene, tracer: str | None
    ) -> None:
        self._setup = setup
        self._source = source
        self._scene = scene
        self._tracer = tracer
        self._events: list[dict[str, Any]] = []
        self._commands: dict[str, subprocess.Popen[bytes]] = {}
        self._names: dict[int, str] = {}
        self._assist = setup.assist
        self._reader = threading.Thread(target=self._read, name="events", daemon=True)
        # A thread of its own: hear takes no answer later than 3 s after its wake, and the search of
        # memory can take longer.
        self._is_ending = threading.Event()
        self._replier = threading.Thread(target=self._reply, name="assist", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._start("send")
            self._start("hear", "--keeper", KEEPER, "--json", *self._source.arguments)
            self._reader.start()
            self._replier.start()
            self.wait_for("started")
            for process in self.processes():
                memory.check_access(process.pid)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def processes(self) -> tuple[Process, ...]:
        """Return the running processes of hear and send, with their children."""
        processes = tuple(
            process for child in self._commands.values() for process in process_tree(child.pid)
        )
        for process in processes:
            self._names |= dict.fromkeys(process.threads, process.name)
        return processes

    def wait_until_played(self, until_s: float) -> None:
        """Wait until hear has read the scene up to a time.

        Args:
            until_s: seconds from the beginning of the scene.

        Raises:
            EarmarkError: hear or send ended before, or the time was not reached.
        """
        until_s += self._source.lag_s
        patience_s = until_s + _START_S
        self._wait(
            lambda: self._source.played_s(self.processes()) >= until_s,
            patience_s,
            f"hear did not reach second {until_s:.1f} of the scene in time",
        )

    def wait_for(self, event: str) -> dict[str, Any]:
        """Wait for an event that hear prints, and return its fields.

        Args:
            event: its kind.

        Raises:
            EarmarkError: hear or send ended before, or the event did not come in time.
        """
        events: list[dict[str, Any]] = []

        def has_come() -> bool:
            self._source.played_s(self.processes())
            events[:] = [each for each in list(self._events) if each.get("event") == event]
            return bool(events)

        patience_s = self._scene.length_s + _START_S
        self._wait(has_come, patience_s, f"hear did not print the event {event} in time")
        return events[0]

    def seal_clip(self) -> dict[str, Any]:
        """Wait until the clip and its command copy are encrypted.

        Returns:
            The fields of the event of the clip.

        Raises:
            EarmarkError: hear or send ended before, or there is no clip or no command copy in time.
        """
        sealed = self.wait_for("sealed")
        end = self.wait_for("command")["end"]
        if end != "done":
            raise Unavailable(
                f"hear made no command copy ({end})",
                "run the selftest again while this machine is less busy",
            )
        return sealed

    def mute(self, word: str) -> None:
        """Mute or unmute with `earmark mute`, unless the source mutes by its own script.

        Args:
            word: ``on`` or ``off``.
        """
        if not self._source.is_scripted:
            command = self._command("mute", word)
            done = subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - a fixed command of this interpreter
            # hear may take longer to confirm it while it is traced; its own event is waited for.
            if done.returncode not in {0, Unavailable.exit_code}:
                raise self._failure("hear", f"earmark mute {word} failed")

    @property
    def landlock(self) -> int:
        """Version of the Landlock interface that confines hear; 0 if it is not active."""
        started = next((event for event in self._events if event["event"] == "started"), {})
        return int(started.get("landlock", 0))

    def finish(self) -> None:
        """Let hear end with the scene, or stop it; then stop send.

        Raises:
            EarmarkError: hear does not end, or with an exit code other than 0.
        """
        hear = self._commands["hear"]
        if not self._source.is_scripted:
            self._request_end(hear)
        with contextlib.suppress(subprocess.TimeoutExpired):
            hear.wait(self._scene.length_s + _GRACE_S)
        if hear.returncode != 0:
            raise self._failure("hear", "hear did not end with exit code 0")
        self._end()

    def sent_data(self, search: memory.Search) -> list[tuple[str, syscalls.SentData]]:
        """Return the data of traced calls with the name of its process; call after `finish`."""
        data = []
        for name in self._commands:
            with self._trace(name).open(encoding="ascii", errors="replace") as lines:
                sent = syscalls.search_trace(lines, search)
            # The name of a thread is unknown if it started and ended between two observations.
            data += [(self._names.get(each.thread, name), each) for each in sent]
        return data

    def _start(self, name: str, *words: str) -> None:
        command = self._command(name, *words)
        if self._tracer:
            command = syscalls.strace_command(command, self._tracer, self._trace(name))
        # Its messages are read only if it fails.
        with self._errors(name).open("wb") as errors:
            self._commands[name] = subprocess.Popen(  # noqa: S603 - this program, perhaps behind strace
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if name == "hear" else subprocess.DEVNULL,
                stderr=errors,
                env={**_environment(), **self._source.environ},
            )

    def _command(self, name: str, *words: str) -> list[str]:
        command = [sys.executable, "-m", "listener", name, "--config", str(self._setup.config)]
        return [*command, "--home", str(self._setup.home), *words]

    def _trace(self, name: str) -> Path:
        return self._setup.folder / f"{self._source.name}.{name}.trace"

    def _errors(self, name: str) -> Path:
        return self._setup.folder / f"{self._source.name}.{name}.errors"

    def _read(self) -> None:
        output = self._commands["hear"].stdout
        if output is not None:
            for line in output:
                self._events.append(json.loads(line))

    def _reply(self) -> None:
        """Answer hear's ask as soon as it is there, and state the outcome after the clip."""
        while not self._is_ending.wait(_PAUSE_S):
            if self._assist.answer():
                break
        while not self._is_ending.wait(_PAUSE_S):
            if any(event.get("event") == "sealed" for event in list(self._events)):
                self._assist.state_outcome()
                return

    def _wait(self, holds: Callable[[], bool], patience_s: float, failure: str) -> None:
        until_s = time.monotonic() + patience_s
        while not holds():
            for name, child in self._commands.items():
                if child.poll() is not None:
                    raise self._failure(name, f"{name} ended before the end of the selftest")
            if time.monotonic() > until_s:
                raise self._failure("hear", failure)
            time.sleep(_PAUSE_S)

    def _failure(self, name: str, what: str) -> EarmarkError:
        output = self._errors(name).read_text("utf-8", "replace")[-_LONGEST_OUTPUT:].strip()
        return EarmarkError(f"{what}; its messages: {output or 'none'}")

    def _end(self) -> None:
        self._is_ending.set()
        if self._replier.is_alive():
            self._replier.join()
        self._source.close()
        for child in self._commands.values():
            self._request_end(child)
        for child in self._commands.values():
            try:
                child.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                for process in process_tree(child.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)
                child.kill()
                child.wait()
        if self._reader.is_alive():
            self._reader.join()
        hear = self._commands.get("hear")
        if hear is not None and hear.stdout is not None:
            hear.stdout.close()

    def _request_end(self, child: subprocess.Popen[bytes]) -> None:
        """Send SIGTERM to hear or send; strace, if it runs them, ends with them."""
        for process in process_tree(child.pid):
            if process.name in self._commands:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)


def _environment() -> dict[str, str]:
    # systemd's notification socket is for this process only.
    return {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
