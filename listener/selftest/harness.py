"""Hear and send at work on a stage, as processes of their own, watched from outside."""

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

from listener.errors import EarmarkError
from listener.selftest import memory, syscalls
from listener.selftest.processes import Process, process_tree
from listener.selftest.setup import KEEPER, TemporaryHome, WatermarkScene
from listener.selftest.sources import AudioSource

_PAUSE_S: Final = 0.01
_START_S: Final = 60.0
_GRACE_S: Final = 10.0
_LONGEST_COMPLAINT: Final = 2_000


class Harness:
    """One run. Use it as a context manager; one thread.

    Args:
        stage: where.
        road: how the sound gets in.
        scene: what is played.
        tracer: strace, or None.
    """

    def __init__(
        self, stage: TemporaryHome, road: AudioSource, scene: WatermarkScene, tracer: str | None
    ) -> None:
        self._stage = stage
        self._road = road
        self._scene = scene
        self._tracer = tracer
        self._events: list[dict[str, Any]] = []
        self._verbs: dict[str, subprocess.Popen[bytes]] = {}
        self._names: dict[int, str] = {}
        self._reader = threading.Thread(target=self._read, name="events", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._start("send")
            self._start("hear", "--keeper", KEEPER, "--json", *self._road.arguments)
            self._reader.start()
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
        """Return every process of ours that runs now."""
        found = tuple(
            process for verb in self._verbs.values() for process in process_tree(verb.pid)
        )
        for process in found:
            self._names |= dict.fromkeys(process.threads, process.name)
        return found

    def wait_until_played(self, until_s: float) -> None:
        """Wait until hear has taken in so much of the scene.

        Raises:
            EarmarkError: it ended before.
        """
        until_s += self._road.lag_s
        patience_s = until_s + _START_S
        self._wait(
            lambda: self._road.played_s(self.processes()) >= until_s,
            patience_s,
            f"hear does not come to second {until_s:.1f}",
        )

    def wait_for(self, event: str) -> dict[str, Any]:
        """Wait for a line that hear prints, and return it.

        Raises:
            EarmarkError: it ended before, or never says so.
        """
        found: list[dict[str, Any]] = []

        def has_come() -> bool:
            self._road.played_s(self.processes())
            found[:] = [one for one in list(self._events) if one.get("event") == event]
            return bool(found)

        self._wait(has_come, self._scene.length_s + _START_S, f"hear never says {event}")
        return found[0]

    def mute(self, word: str) -> None:
        """Mute and unmute as a person does, where no script does it.

        Args:
            word: ``on`` or ``off``.
        """
        if not self._road.is_scripted:
            command = self._command("mute", word)
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - this program

    def finish(self) -> None:
        """Let hear end as it does by itself, or when told to; then send.

        Raises:
            EarmarkError: hear does not end, or not well.
        """
        hear = self._verbs["hear"]
        if not self._road.is_scripted:
            self._request_end(hear)
        with contextlib.suppress(subprocess.TimeoutExpired):
            hear.wait(self._scene.length_s + _GRACE_S)
        if hear.returncode != 0:
            raise self._failure("hear", "hear does not end well")
        self._end()

    def sent_data(self, search: memory.Search) -> list[tuple[str, syscalls.SentData]]:
        """Return what was handed to the kernel, beside the name of who did; after `finish`."""
        found = []
        for verb in self._verbs:
            with self._trace(verb).open(encoding="ascii", errors="replace") as lines:
                sent = syscalls.search_trace(lines, search)
            # A thread that came and went between two looks has no other name.
            found += [(self._names.get(one.thread, verb), one) for one in sent]
        return found

    def _start(self, verb: str, *words: str) -> None:
        command = self._command(verb, *words)
        if self._tracer:
            command = syscalls.strace_command(command, self._tracer, self._trace(verb))
        # What it complains of is read only if it fails.
        with self._errors(verb).open("wb") as errors:
            self._verbs[verb] = subprocess.Popen(  # noqa: S603 - this program, perhaps behind strace
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if verb == "hear" else subprocess.DEVNULL,
                stderr=errors,
                env={**_environment(), **self._road.environ},
            )

    def _command(self, verb: str, *words: str) -> list[str]:
        command = [sys.executable, "-m", "listener", verb, "--config", str(self._stage.settings)]
        return [*command, "--home", str(self._stage.home), *words]

    def _trace(self, verb: str) -> Path:
        return self._stage.folder / f"{self._road.name}.{verb}.trace"

    def _errors(self, verb: str) -> Path:
        return self._stage.folder / f"{self._road.name}.{verb}.errors"

    def _read(self) -> None:
        output = self._verbs["hear"].stdout
        if output is not None:
            for line in output:
                self._events.append(json.loads(line))

    def _wait(self, holds: Callable[[], bool], patience_s: float, what: str) -> None:
        until_s = time.monotonic() + patience_s
        while not holds():
            for verb, started in self._verbs.items():
                if started.poll() is not None:
                    raise self._failure(verb, f"{verb} ended before the end of the selftest")
            if time.monotonic() > until_s:
                raise self._failure("hear", what)
            time.sleep(_PAUSE_S)

    def _failure(self, verb: str, what: str) -> EarmarkError:
        said = self._errors(verb).read_text("utf-8", "replace")[-_LONGEST_COMPLAINT:].strip()
        return EarmarkError(f"{what}; it said: {said or 'nothing'}")

    def _end(self) -> None:
        self._road.close()
        for started in self._verbs.values():
            self._request_end(started)
        for started in self._verbs.values():
            try:
                started.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                for process in process_tree(started.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)
                started.kill()
                started.wait()
        if self._reader.is_alive():
            self._reader.join()
        hear = self._verbs.get("hear")
        if hear is not None and hear.stdout is not None:
            hear.stdout.close()

    def _request_end(self, started: subprocess.Popen[bytes]) -> None:
        """Ask a verb to end; strace, where it stands in between, ends with it."""
        for process in process_tree(started.pid):
            if process.name in self._verbs:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)


def _environment() -> dict[str, str]:
    # systemd's socket is for this process, and a setting of the user's home is not the stage's.
    return {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
