"""A scene that kills processes while commands are under way."""

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from tests.home_assistant.home import House
from tests.home_assistant.voice_scenes import VoiceHouse, open_voice
from tests.system.conftest import wait_until

Say = Callable[[str], object]

_TIMES: Final = 2
"""Kills of each process."""
_SEED: Final = 13
_LONGEST_DELAY_S: Final = 4.0
"""The command of the recording ends 2 s after its wake, and is carried out within another."""
_RECOVERY_S: Final = 180.0
_LATEST_S: Final = 15.0
"""Time from a wake in which its command may be carried out: 5 s to its end, and 10 s."""
_DONE: Final = frozenset({"done"})
_OPEN: Final = frozenset({"unknown", None})
"""Ends that do not say whether the command was carried out."""
_LISTENING: Final = {"microphone": "on", "muted_by": "open", "fault": "off"}


@dataclass
class _Wake:
    """A wake, and the end of its command."""

    at_s: float
    end: str | None = None


@dataclass
class _Record:
    """What each speaker's hear has printed since the scene began."""

    wakes: dict[str, list[_Wake]] = field(default_factory=dict)

    def of(self, room: str) -> list[_Wake]:
        """Return the wakes of a room."""
        return [*self.wakes.get(room, ())]


def disturb_commands(house: House, say: Say) -> None:
    """Each process is killed during commands: none is carried out twice, late, or misreported."""
    # The moments do not decide what is right, and are the same in each run.
    moments = random.Random(_SEED)
    with open_voice(house) as voice, _recorded(house) as record:
        for name in house.speakers:
            _wait_for_command(record, name, time.monotonic())
        for what, restart in _RESTARTS.items():
            for number in range(_TIMES):
                room = tuple(house.speakers)[number % len(house.speakers)]
                delay_s = moments.uniform(0, _LONGEST_DELAY_S)
                known = len(record.of(room))
                wait_until(lambda: len(record.of(room)) > known, "a wake", _RECOVERY_S)  # noqa: B023 - used at once
                time.sleep(delay_s)
                restart(house)
                begun_s = time.monotonic()
                for name in house.speakers:
                    _wait_for_command(record, name, begun_s)
                    house.wait_for(name, **_LISTENING)
                ends = [_end_at(record, name, begun_s) for name in house.speakers]
                say(
                    f"{what} killed {delay_s:.1f} s after a wake in the {room}:"
                    f" {', '.join(map(str, ends))}; the next command of each room is carried out"
                )
        counts = _check(house, voice, record)
    listed = ", ".join(f"{count} {end}" for end, count in counts.most_common())
    say(f"{counts.total()} commands: {listed}; no light was switched twice or late by one")


def _restart_assist(house: House) -> None:
    house.hub.kill("assist")
    house.hub.start("assist")


def _restart_send(house: House) -> None:
    for speaker in house.speakers.values():
        speaker.earmark.kill("send")
        speaker.earmark.start("send")


def _restart_broker(house: House) -> None:
    house.household.kill()
    house.restart_household()


def _restart_home_assistant(house: House) -> None:
    house.assistant.stop(signal.SIGKILL)
    house.assistant.start()


_RESTARTS: Final[Mapping[str, Callable[[House], None]]] = {
    "assist": _restart_assist,
    "send": _restart_send,
    "the household's broker": _restart_broker,
    "Home Assistant": _restart_home_assistant,
}


def _check(house: House, voice: VoiceHouse, record: _Record) -> Counter[str]:
    """Compare what happened to the lights after each wake with the end that the speaker states."""
    counts: Counter[str] = Counter()
    for room in house.speakers:
        wakes = record.of(room)
        for wake, after in zip(wakes, [*wakes[1:], _Wake(float("inf"))], strict=True):
            times = [at_s for name, at_s in voice.switches if name == room]
            switched = [at_s for at_s in times if wake.at_s <= at_s < after.at_s]
            assert len(switched) <= 1, f"twice in the {room}: {wake}, {switched}"
            assert all(at_s - wake.at_s <= _LATEST_S for at_s in switched), (wake, switched)
            if wake.end not in _OPEN:
                assert len(switched) == (wake.end in _DONE), (room, wake, switched)
            counts[str(wake.end)] += 1
    return counts


def _wait_for_command(record: _Record, room: str, since_s: float) -> None:
    """Wait until a command that began after a time is carried out."""

    def is_done() -> bool:
        return any(wake.at_s > since_s and wake.end in _DONE for wake in record.of(room))

    wait_until(is_done, f"a command in the {room} is carried out", _RECOVERY_S)


def _end_at(record: _Record, room: str, at_s: float) -> str | None:
    """Return the end of the command that was under way, or the last one, at a time."""
    return [wake for wake in record.of(room) if wake.at_s <= at_s][-1].end


@contextmanager
def _recorded(house: House) -> Iterator[_Record]:
    """Follow what the speakers print, in threads of their own."""
    record = _Record()
    stop = threading.Event()
    threads = [
        threading.Thread(target=partial(_follow, house, name, record, stop))
        for name in house.speakers
    ]
    for thread in threads:
        thread.start()
    try:
        yield record
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _follow(house: House, room: str, record: _Record, stop: threading.Event) -> None:
    wakes = record.wakes[room] = []
    read = len(house.speakers[room].earmark.said("hear"))
    while not stop.wait(0.02):
        text = house.speakers[room].earmark.said("hear")
        lines, read = text[read : (end := text.rfind("\n") + 1)].splitlines(), max(read, end)
        for line in lines:
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("event") == "wake":
                wakes.append(_Wake(time.monotonic()))
            elif event.get("event") == "command" and wakes and wakes[-1].end is None:
                wakes[-1].end = event["end"]
