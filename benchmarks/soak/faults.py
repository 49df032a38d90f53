"""Injected faults at random times from a seed, so that a run can be repeated."""

import contextlib
import mmap
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.soak.cast import Actor, Cast
from benchmarks.soak.stage import sounddevice as stage
from listener.hear.mute.state import MuteFiles
from listener.ipc import control
from listener.ipc.control import ControlClient

_FLURRY: Final = 20
_EDGE_S: Final = 0.001
_STALL_S: Final = 1.2  # longer than the second after which hear gives up a sound card


class Desk:
    """Control of the simulated sound card; see ``stage``."""

    def __init__(self, folder: Path, speed: float) -> None:
        path = folder / stage.DESK
        path.write_bytes(bytes(stage.DESK_BYTES))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), stage.DESK_BYTES)
        stage.SPEED.pack_into(self._memory, stage.SPEED_AT, speed)

    def put(self, place: int, *, on: bool) -> None:
        """Start or end a fault of the card."""
        self._memory[place] = on


class Faults:
    """Injects faults one after the other and repairs them later. Use from one thread.

    Args:
        cast: the processes.
        desk: control of the sound card.
        home: data directory with the state of the software mute.
        seed: seed of the choices.
        pause_s: mean time between two faults.
    """

    def __init__(self, cast: Cast, desk: Desk, home: Path, *, seed: int, pause_s: float) -> None:
        self._random = np.random.default_rng(seed)
        self._cast = cast
        self._desk = desk
        self._mute_files = MuteFiles(home, patience_s=30.0)
        self._controller = ControlClient(home / control.SOCKET)
        self._pause_s = pause_s
        self._due_s = time.monotonic() + pause_s
        self._repairs: list[tuple[float, Callable[[], None]]] = []
        self.happened: Counter[str] = Counter()
        """Number of times of each fault."""

    def turn(self) -> None:
        """Inject and repair the faults that are due."""
        now_s = time.monotonic()
        for due in [due for due in self._repairs if due[0] <= now_s]:
            self._repairs.remove(due)
            due[1]()
        if now_s >= self._due_s:
            self._due_s = now_s + self._random.uniform(0.5, 1.5) * self._pause_s
            faults = self._all()
            fault = faults[self._random.integers(len(faults))]
            self.happened[fault.__name__.strip("_").replace("_", " ")] += 1
            fault()

    def repair(self) -> None:
        """Repair all faults and stop injecting."""
        for _, repair in self._repairs:
            repair()
        self._repairs.clear()
        for place in (stage.STALLED, stage.MISSING):
            self._desk.put(place, on=False)
        self._mute_in_the_file(muted=False)
        for actor in (self._cast.broker, self._cast.archive, self._cast.send):
            actor.start()
        self._controller.close()

    def _all(self) -> tuple[Callable[[], None], ...]:
        return (
            self._microphone_killed,
            self._card_stalled,
            self._card_failed,
            self._card_gone,
            self._overrun,
            self._overrun,
            self._muted_by_message,
            self._muted_by_message,
            self._muted_in_the_file,
            self._flurry_of_edges,
            self._sender_down,
            self._archive_down,
            self._broker_down,
        )

    def _later(self, least_s: float, most_s: float, repair: Callable[[], None]) -> None:
        self._repairs.append((time.monotonic() + self._random.uniform(least_s, most_s), repair))

    def _microphone_killed(self) -> None:
        if (pid := self._cast.microphone()) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _card_stalled(self) -> None:
        self._desk.put(stage.STALLED, on=True)
        self._later(_STALL_S, _STALL_S, lambda: self._desk.put(stage.STALLED, on=False))

    def _card_failed(self) -> None:
        self._desk.put(stage.FAILING, on=True)

    def _card_gone(self) -> None:
        self._desk.put(stage.MISSING, on=True)
        self._desk.put(stage.FAILING, on=True)
        self._later(0.3, 1.5, lambda: self._desk.put(stage.MISSING, on=False))

    def _overrun(self) -> None:
        self._desk.put(stage.OVERRUN, on=True)

    def _muted_by_message(self) -> None:
        self._controller.send(control.MuteRequest())
        self._later(0.0, 0.8, lambda: self._send(control.UnmuteRequest()))

    def _muted_in_the_file(self) -> None:
        self._mute_in_the_file(muted=True)
        self._later(0.0, 0.8, lambda: self._mute_in_the_file(muted=False))

    def _flurry_of_edges(self) -> None:
        for _ in range(_FLURRY):
            self._controller.send(control.MuteRequest())
            time.sleep(_EDGE_S)
            self._controller.send(control.UnmuteRequest())
            time.sleep(_EDGE_S)
        self._later(0.2, 0.2, lambda: self._mute_in_the_file(muted=False))

    def _send(self, request: control.Request) -> None:
        self._controller.send(request)
        # A datagram may be lost if hear is busy; the file is not.
        self._later(0.3, 0.3, lambda: self._mute_in_the_file(muted=False))

    def _mute_in_the_file(self, *, muted: bool) -> None:
        self._mute_files.mute(datetime.now(UTC), "command", muted=muted)
        self._controller.send(control.Wakeup())

    def _sender_down(self) -> None:
        self._down(self._cast.send)

    def _archive_down(self) -> None:
        self._down(self._cast.archive)

    def _broker_down(self) -> None:
        self._down(self._cast.broker)

    def _down(self, actor: Actor) -> None:
        actor.end(signal.SIGKILL)
        self._later(0.2, 4.0, actor.start)
