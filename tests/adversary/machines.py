"""Machines of the mixed run: an archive with its broker, and two speakers, each with its clock.

``hall`` runs hear on a simulated sound card (``benchmarks/soak``). ``bath`` has no hear: the run
itself seals its clips and knows the bytes of each.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import pyrage

from benchmarks.processes import earmark
from benchmarks.soak.cast import Actor, children, until
from benchmarks.soak.faults import Desk
from benchmarks.soak.stage import sounddevice as stage
from benchmarks.soak.tape import Tape
from listener.config import SpoolSettings
from listener.envelope import keys
from listener.errors import Unavailable
from listener.ipc.datagrams import has_listener
from listener.ipc.notice_socket import SOCKET
from listener.owner.roster import Roster
from listener.spool.queue import Spool
from listener.storage.home import Home
from tests.adversary.small_disk import SmallDisk
from tests.conftest import ROOT, Household, introduced
from tests.ports import find_free_port
from tests.system.conftest import WallClock

OWNERS: Final = ("ada", "bob")
HALL: Final = "hall"
BATH: Final = "bath"
ARCHIVE_DISK_BYTES: Final = 160 << 20
SPOOL_DISK_BYTES: Final = 32 << 20
_TAPE_S: Final = 120.0


def find_mosquitto() -> str:
    """Return the path of the broker's program.

    Raises:
        Unavailable: it is not installed.
    """
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise Unavailable("mosquitto is not installed", "install it: make debian")
    return program


def faketime_library() -> Path:
    """Return the path of libfaketime for programs with threads.

    Raises:
        Unavailable: it is not installed.
    """
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise Unavailable("libfaketime is not installed", "install it: make debian")
    return found[0]


class Speaker:
    """A speaker: its data directory, clock, disk, spool and send.

    Args:
        folder: folder of the machine; created.
        name: name of the device.
        port: port of the broker.
        library: library of ``build_monotonic_library``.
        disk_bytes: size of its own file system; 0 for none.
        lines: further lines of the configuration.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        port: int,
        sleep: Path,
        *,
        disk_bytes: int = 0,
        lines: Iterable[str] = (),
    ) -> None:
        folder.mkdir()
        self.name = name
        place = folder / "disk"
        place.mkdir()
        self.disk = SmallDisk(place, disk_bytes) if disk_bytes else None
        self.home = Home(place / "home")
        self.key = self.home.device_key()
        self.clock = WallClock(faketime_library(), self.home.path)
        self.offset_s = 0.0
        self.config = folder / "earmark.toml"
        self.config.write_text(
            f'home = "{self.home.path}"\ndevice.name = "{name}"\n'
            f"broker.port = {port}\nspool.retry_s = 0.5\n" + "".join(f"{x}\n" for x in lines),
            "utf-8",
        )
        self.environ = environment(self.clock, sleep)
        self.send = Actor(
            earmark("send", "--config", str(self.config)), folder / "send.out", self.environ
        )
        self.spool = Spool(self.home.path / "spool", SpoolSettings())

    def move_clock(self, offset_s: float) -> None:
        """Set the machine's wall clock off from the true time."""
        self.offset_s = offset_s
        self.clock.move(timedelta(seconds=offset_s))

    def is_sending(self) -> bool:
        """Return whether send has started: it has its handlers of signals by then."""
        return has_listener(self.home.path / SOCKET)

    def set_aside(self) -> frozenset[str]:
        """Return the ids of the clips in the quarantine."""
        folder = self.home.path / "spool" / "quarantine"
        if not folder.is_dir():
            return frozenset()
        return frozenset(path.name.split(".")[2] for path in folder.glob("*.earmark"))

    def waiting(self) -> frozenset[str]:
        """Return the ids of the clips that wait for delivery."""
        return frozenset(entry.clip for entry in self.spool.waiting())

    def counts(self) -> dict[str, int]:
        """Return the counters of the spool by name."""
        counts = self.spool.counts()
        return {name: getattr(counts, name) for name in counts.__struct_fields__}


def environment(clock: WallClock, library: Path) -> dict[str, str]:
    """Return the environment of a process on a machine with this clock.

    Args:
        clock: the clock.
        library: library of ``build_monotonic_library``.
    """
    found = {name: text for name, text in (os.environ | clock.environment).items() if text}
    if "monotonic.so" not in found["LD_PRELOAD"]:
        found["LD_PRELOAD"] = f"{library}:{found['LD_PRELOAD']}"
    return found


def build_monotonic_library() -> Path:
    """Compile what the monotonic clock needs beside libfaketime; return the library's path.

    It is part of the source tree, since hear may reach no other folder.

    Raises:
        Unavailable: there is no compiler.
    """
    library = ROOT / "build" / "monotonic.so"
    library.parent.mkdir(exist_ok=True)
    source = ROOT / "tests" / "faketime" / "monotonic.c"
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder) / library.name
        command = ["gcc", "-shared", "-fPIC", "-O2", "-o", str(made), str(source)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Unavailable("cannot compile tests/faketime/monotonic.c", "install gcc") from error
        made.replace(library)
    return library


class Machines:
    """All machines of the mixed run. ``close`` ends every process and unmounts the disks.

    Args:
        folder: an empty folder.
        seed: seed of the audio.
        speed: speed of the simulated sound card; 0 for a run without hear.
        has_disks: whether the archive and ``bath`` have small file systems of their own.
    """

    def __init__(self, folder: Path, *, seed: int, speed: float, has_disks: bool) -> None:
        self.folder = folder
        self._sleep = build_monotonic_library()
        port = find_free_port()
        self.port = port
        self.api_port = find_free_port()
        self.identities = {name: str(pyrage.x25519.Identity.generate()) for name in OWNERS}
        self.hall = Speaker(
            folder / HALL,
            HALL,
            port,
            self._sleep,
            lines=[
                'attribution.keeper = "ada"',
                'mute.switch = "none"',
                "mute.remote_unmute = true",
            ],
        )
        self.bath = Speaker(
            folder / BATH,
            BATH,
            port,
            self._sleep,
            disk_bytes=SPOOL_DISK_BYTES if has_disks else 0,
        )
        self.speakers = {HALL: self.hall, BATH: self.bath}
        self._start_archive_machine(has_disks=has_disks)
        self._start_hall(seed, speed)

    def _start_archive_machine(self, *, has_disks: bool) -> None:
        folder = self.folder / "archive"
        place = folder / "disk"
        place.mkdir(parents=True)
        self.archive_disk = SmallDisk(place, ARCHIVE_DISK_BYTES) if has_disks else None
        self.archive_home = Home(place / "home")
        self.archive_clock = WallClock(faketime_library(), folder)
        config = folder / "earmark.toml"
        config.write_text(
            f'home = "{self.archive_home.path}"\nbroker.port = {self.port}\n'
            f'archive.host = "127.0.0.1"\narchive.port = {self.api_port}\n',
            "utf-8",
        )
        (folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\n", "utf-8"
        )
        command = (find_mosquitto(), "-c", str(folder / "mosquitto.conf"))
        self.broker = Actor(command, folder / "broker.out", dict(os.environ))
        self.archive = Actor(
            earmark("archive", "--config", str(config)),
            folder / "archive.out",
            environment(self.archive_clock, self._sleep),
        )
        self._introduce(self.archive_home, OWNERS, tuple(self.speakers.values()))

    def _start_hall(self, seed: int, speed: float) -> None:
        # In the data directory, since hear may reach no other folder.
        card = self.hall.home.path / "card"
        card.mkdir()
        self._introduce(self.hall.home, ("ada",), (self.hall,))
        self.has_hear = speed > 0
        self._hear_events_at = 0
        self.desk = Desk(card, speed or 1.0)
        if self.has_hear:
            Tape(seed, _TAPE_S).write(card / stage.TAPE)
        environ = self.hall.environ | {
            stage.FOLDER: str(card),
            "PYTHONPATH": os.pathsep.join(
                filter(None, (str(Path(stage.__file__).parent), os.environ.get("PYTHONPATH")))
            ),
        }
        self.hear = Actor(
            earmark("hear", "--config", str(self.hall.config), "--json"),
            self.hear_events,
            environ,
        )

    def _introduce(self, home: Home, owners: Iterable[str], speakers: Iterable[Speaker]) -> None:
        for speaker in speakers:
            key = keys.device_text(speaker.key.public_key())
            home.change_roster(partial(Roster.with_device, name=speaker.name, key=key))
        for name in owners:
            recipient = str(pyrage.x25519.Identity.from_str(self.identities[name]).to_public())
            home.change_roster(
                partial(introduced, name=name, recipient=recipient, now_s=int(time.time()))
            )

    @property
    def socket(self) -> Path:
        """The archive's socket for owners."""
        return self.archive_home.path / "archive.sock"

    def sealing(self) -> Household:
        """Return a sealer of clips with the key of ``bath``."""
        return Household(self.bath.home, self.bath.key, self.identities)

    def actors(self) -> dict[str, Actor]:
        """Return the processes by name, in the order of starting."""
        found = {
            "broker": self.broker,
            "archive": self.archive,
            "send of hall": self.hall.send,
            "send of bath": self.bath.send,
        }
        return found | ({"hear": self.hear} if self.has_hear else {})

    def start(self) -> None:
        """Start all processes that do not run.

        Raises:
            Unavailable: the broker does not answer.
        """
        for name, actor in self.actors().items():
            if actor is self.hear:
                self.start_hear()
            actor.start()
            if name == "broker":
                until(self._broker_answers, "the broker answers")

    def start_hear(self) -> None:
        """Start hear, unless it runs, and note where its events begin."""
        if not self.hear.is_running:
            self._hear_events_at = self.hear_events.stat().st_size if self.hear.lives else 0
            self.hear.start()

    @property
    def hear_events(self) -> Path:
        """File of hear's events, over all starts."""
        return self.folder / HALL / "hear.out"

    def is_hear_started(self) -> bool:
        """Return whether hear has printed since its last start that it listens."""
        return b'"event":"started"' in self.hear_events.read_bytes()[self._hear_events_at :]

    def microphone(self) -> int | None:
        """Return the process id of hear's microphone process; None without one."""
        return next(iter(children(self.hear.pid)), None) if self.hear.pid else None

    def stop(self) -> dict[str, int | None]:
        """End all processes with SIGTERM, hear first; return their exit codes."""
        return {
            name: actor.end(signal.SIGTERM) for name, actor in reversed(list(self.actors().items()))
        }

    def close(self) -> None:
        """End all processes and unmount the disks."""
        for actor in self.actors().values():
            actor.end()
        for disk in (self.archive_disk, self.bath.disk):
            if disk is not None:
                disk.close()

    def messages(self) -> str:
        """Return what all processes have written to standard error."""
        return "".join(
            path.read_text("utf-8", "replace") for path in sorted(self.folder.glob("*/*.err"))
        )

    def _broker_answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True
