"""What goes wrong, and when: drawn by lot from a seed, so that it can go wrong again."""

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
_STALL_S: Final = 1.2  # beyond the second after which the ear gives a card up


class Desk:
    """The harness's end of the sound card; see ``stage``."""

    def __init__(self, folder: Path, speed: float) -> None:
        path = folder / stage.DESK
        path.write_bytes(bytes(stage.DESK_BYTES))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), stage.DESK_BYTES)
        stage.SPEED.pack_into(self._memory, stage.SPEED_AT, speed)

    def put(self, place: int, *, on: bool) -> None:
        """Make something befall the card, or end it."""
        self._memory[place] = on


class Faults:
    """Lets things go wrong, one after the other, and mends them later. One thread.

    Args:
        cast: who can be killed.
        desk: of the sound card.
        home: where software mutes last.
        seed: what the lots depend on.
        pause_s: between two faults, in the mean.
    """

    def __init__(self, cast: Cast, desk: Desk, home: Path, *, seed: int, pause_s: float) -> None:
        self._lots = np.random.default_rng(seed)
        self._cast = cast
        self._desk = desk
        self._lasting = MuteFiles(home, patience_s=30.0)
        self._controller = ControlClient(home / control.SOCKET)
        self._pause_s = pause_s
        self._due_s = time.monotonic() + pause_s
        self._mend: list[tuple[float, Callable[[], None]]] = []
        self.happened: Counter[str] = Counter()
        """How often what went wrong."""

    def turn(self) -> None:
        """Do what is due."""
        now_s = time.monotonic()
        for due in [due for due in self._mend if due[0] <= now_s]:
            self._mend.remove(due)
            due[1]()
        if now_s >= self._due_s:
            self._due_s = now_s + self._lots.uniform(0.5, 1.5) * self._pause_s
            faults = self._all()
            fault = faults[self._lots.integers(len(faults))]
            self.happened[fault.__name__.strip("_").replace("_", " ")] += 1
            fault()

    def mend(self) -> None:
        """Mend everything, and let nothing go wrong any more."""
        for _, mend in self._mend:
            mend()
        self._mend.clear()
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

    def _later(self, least_s: float, most_s: float, mend: Callable[[], None]) -> None:
        self._mend.append((time.monotonic() + self._lots.uniform(least_s, most_s), mend))

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
        self._later(0.0, 0.8, lambda: self._say(control.UnmuteRequest()))

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

    def _say(self, request: control.Request) -> None:
        self._controller.send(request)
        # A message may be lost where the ear is busy; a file is not.
        self._later(0.3, 0.3, lambda: self._mute_in_the_file(muted=False))

    def _mute_in_the_file(self, *, muted: bool) -> None:
        self._lasting.mute(datetime.now(UTC), "command", muted=muted)
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
