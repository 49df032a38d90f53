"""One run of the soak test: audio with faults, then the checks."""

import json
import os
import select
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyrage

from benchmarks.processes import DEVICE, KEEPER, earmark, finished
from benchmarks.soak.accounts import Accounts, check_end, check_sound, read_events
from benchmarks.soak.cast import Cast, rss_bytes, until
from benchmarks.soak.faults import Desk, Faults
from benchmarks.soak.stage import sounddevice as stage
from benchmarks.soak.tape import Tape
from listener.config import SpoolSettings
from listener.envelope import keys
from listener.errors import Unavailable
from listener.ipc import notices
from listener.ipc.datagrams import Inbox
from listener.ipc.notice_socket import MONITOR_SOCKET
from listener.ipc.notices import LONGEST_BYTES
from listener.spool.queue import Spool
from listener.storage.home import Home

TURN_S: Final = 0.02
SAY_EVERY_S: Final = 10.0
SLOWEST: Final = 4.0
"""Maximum duration of a run, relative to that of its speed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Settings of a run."""

    sound_s: float
    """Seconds of audio."""
    speed: float = 100.0
    """Speed of the sound card relative to real time; faults halve the overall speed."""
    seed: int = 1
    pause_s: float = 3.0
    """Mean time between two faults."""
    tape_s: float = 600.0
    patience_s: float = 60.0
    """Additional time before the run fails."""


@dataclass(slots=True)
class Result:
    """Result of a run."""

    accounts: Accounts
    faults: Counter[str]
    took_s: float
    wrong: list[str] = field(default_factory=list)
    """Failed checks."""
    events: Counter[str] = field(default_factory=Counter)
    """Number of hear's events by name; clips that were not kept, and gaps, by reason."""
    lives: dict[str, int] = field(default_factory=dict)
    """Number of starts of each process."""
    memory: dict[str, int] = field(default_factory=dict)
    """Resident memory of the other processes at the end, in bytes."""


def soak(folder: Path, plan: Plan, say: Callable[[str], None]) -> Result:
    """Run the soak test.

    Args:
        folder: an empty folder.
        plan: settings of the run.
        say: called with each line of progress.

    Raises:
        Unavailable: a process that is needed is not installed or does not answer.
    """
    home, identity = _create_home(folder)
    settings, port = _settings(folder, home)
    tape = Tape(plan.seed, plan.tape_s)
    # In the data directory, since hear may reach no other folder.
    card = home.path / "card"
    card.mkdir()
    tape.write(card / stage.TAPE)
    desk = Desk(card, plan.speed)
    cast = Cast(folder, settings, port, card)
    faults = Faults(cast, desk, home.path, seed=plan.seed, pause_s=plan.pause_s)
    accounts = Accounts()
    began_s = time.monotonic()
    with closing(Inbox(home.path / MONITOR_SOCKET, LONGEST_BYTES)) as inbox:
        try:
            cast.start()
            hearing = _Hearing(cast, faults, accounts, inbox)
            hearing.until_heard(plan, say)
            took_s = time.monotonic() - began_s
            faults.repair()
            code = cast.hear.end(signal.SIGTERM)
            spool = Spool(home.path / "spool", SpoolSettings())
            until(lambda: not spool.waiting(), "the spool is empty")
            archived = _archived(settings)
            memory = {
                name: rss_bytes(actor.pid)
                for name, actor in (("send", cast.send), ("archive", cast.archive))
            }
        finally:
            cast.end()
    events = read_events(folder / "hear.out")
    wrong = [*accounts.wrong, *check_end(events, archived)]
    if code != 0:
        wrong.append(f"hear exited with code {code}")
    counts = spool.counts()
    if counts.dropped or counts.refused or counts.quarantined:
        wrong.append(f"the spool lost clips: {counts}")
    files = sorted((home.path / "archive" / "clips").rglob("*.earmark"))
    wrong += check_sound(home, files, identity, tape)
    counts_by_event = Counter(_name(event) for event in events)
    lives = {name: getattr(cast, name).lives for name in ("hear", "send", "archive", "broker")}
    return Result(accounts, faults.happened, took_s, wrong, counts_by_event, lives, memory)


class _Hearing:
    """Loop while hear runs."""

    def __init__(self, cast: Cast, faults: Faults, accounts: Accounts, inbox: Inbox) -> None:
        self._cast = cast
        self._faults = faults
        self._accounts = accounts
        self._inbox = inbox

    def until_heard(self, plan: Plan, say: Callable[[str], None]) -> None:
        """Inject faults until enough audio was heard, and a clip was encrypted.

        How many faults there are in a second of audio depends on the speed of the computer.

        Raises:
            Unavailable: hear exited, or is much too slow.
        """
        until(self._has_counted, "hear publishes counters")
        began_s = time.monotonic()
        limit_s = began_s + plan.patience_s + SLOWEST * plan.sound_s / plan.speed
        printed_s = began_s
        while self._accounts.heard_s < plan.sound_s or not self._accounts.sealed_s:
            self._faults.turn()
            self._turn()
            now_s = time.monotonic()
            if not self._cast.hear.is_running:
                raise Unavailable(f"hear exited unexpectedly with code {self._cast.hear.end()}")
            if now_s > limit_s:
                heard_s, sealed_s = self._accounts.heard_s, self._accounts.sealed_s
                raise Unavailable(f"only {heard_s:.0f} s were heard, {sealed_s:.0f} s in clips")
            if now_s - printed_s >= SAY_EVERY_S:
                printed_s = now_s
                heard_s = self._accounts.heard_s
                say(
                    f"heard {heard_s / 60:.0f} min at {heard_s / (now_s - began_s):.0f} times"
                    f" real time, hear {self._accounts.memory[-1][1] / (1 << 20):.2f} MiB,"
                    f" {sum(self._faults.happened.values())} faults"
                )

    def _has_counted(self) -> bool:
        self._turn()
        return self._accounts.tallies > 0

    def _turn(self) -> None:
        select.select([self._inbox], [], [], TURN_S)
        for data in self._inbox.receive():
            notice = notices.decode_for_monitor(data)
            if isinstance(notice, notices.CountersNotice):
                self._accounts.count(notice.tally, rss_bytes(self._cast.hear.pid))


def _create_home(folder: Path) -> tuple[Home, str]:
    """Create a data directory with a device and a confirmed keeper; return it and their key."""
    home = Home(folder / "home")
    identity = pyrage.x25519.Identity.generate()
    now_s = int(time.time())
    device = keys.device_text(home.device_key().public_key())
    home.change_roster(
        lambda roster: (
            roster.with_device(DEVICE, device)
            .with_owner(KEEPER, str(identity.to_public()))
            .with_challenge(KEEPER, "proven", now_s)
            .with_confirmation(KEEPER, "proven", now_s)
        )
    )
    return home, str(identity)


def _settings(folder: Path, home: Home) -> tuple[Path, int]:
    """Write the configuration; return its path and the broker's port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    path = folder / "earmark.toml"
    path.write_text(
        f'home = "{home.path}"\n'
        f'device.name = "{DEVICE}"\nattribution.keeper = "{KEEPER}"\n'
        'mute.switch = "none"\nmute.remote_unmute = true\n'
        f"broker.port = {port}\nspool.retry_s = 0.5\n",
        "utf-8",
    )
    return path, port


def _archived(settings: Path) -> list[str]:
    done = finished(earmark("archive", "list", "--json", "--config", str(settings)), os.environ)
    done.check_returncode()
    return [json.loads(line)["clip"] for line in done.stdout.splitlines()]


def _name(event: dict[str, object]) -> str:
    name = str(event["event"])
    return f"{name}: {event['reason']}" if name in ("not_kept", "gap") else name
