"""The parts of a fleet on this machine: brokers, database, object store, archives, speakers."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import IO, Final

import msgspec
import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.archive.records import RowMac
from listener.archive.schema import HealthAnswer
from listener.clips.client import ArchiveClient
from listener.clips.http import HttpClient, parse_address
from listener.envelope import keys
from listener.envelope.open import parse_identities
from listener.errors import Unavailable
from listener.owner.roster import Roster
from listener.rights import requests
from listener.storage.home import Home
from tests.archive.fleet_servers import (
    BUCKET,
    Fleet,
    PostgresServer,
    SeaweedServer,
    find_postgresql,
)
from tests.conftest import introduced
from tests.fleet.speakers import FleetPlan, FleetReport, SpeakerPlan
from tests.ports import find_free_port
from tests.system.conftest import Mosquitto, wait_until

ARCHIVES: Final = 3
START_S: Final = 120.0
_PAGE: Final = 4096
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class SimulatedOwner:
    """An owner with their secret key."""

    name: str
    identity: str

    @property
    def recipient(self) -> str:
        return str(pyrage.x25519.Identity.from_str(self.identity).to_public())


@dataclass(slots=True)
class ArchiveProcess:
    """One archive with a data directory of its own; keys and roster are the same in all.

    Args:
        number: of the instance, from 1 on.
        folder: for its data directory, configuration and log.
        environment: of the object store.
    """

    number: int
    folder: Path
    environment: dict[str, str]
    starts: int = 0
    restarts: int = 0
    """Starts after it ended by itself, because a server was away."""
    cpu_s: float = 0.0
    """Processor time of the processes that ended."""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def socket(self) -> Path:
        return self.home / f"archive-{self.number}.sock"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "listener", "archive"),
                    *("--config", str(self.folder / "archive.toml"), "--home", str(self.home)),
                ],
                env=os.environ | self.environment,
                stdout=log,
                stderr=log,
            )
        self.starts += 1

    def supervise(self) -> None:
        """Start it again if it ended because a server was away, as its unit does.

        Raises:
            AssertionError: it ended for another reason.
        """
        assert self._process is not None
        code = self._process.poll()
        if code is None:
            return
        if code != Unavailable.exit_code:
            raise AssertionError(f"archive {self.number} ended with {code}: {self.log[-2000:]}")
        self.restarts += 1
        self.start()

    def is_ready(self) -> bool:
        """Whether it answers on its socket."""
        return self._health() is not None

    def is_connected(self) -> bool:
        """Whether it is connected to every broker."""
        health = self._health()
        return health is not None and health.brokers_connected == health.brokers > 0

    def _health(self) -> HealthAnswer | None:
        """Return the state that it reports; None if it does not answer, or cannot be used."""
        self.supervise()
        with contextlib.suppress(Unavailable):
            client = HttpClient(parse_address(str(self.socket), None))
            with client.request("/v1/health") as reply:
                if reply.status == HTTPStatus.OK:
                    return msgspec.json.decode(reply.body(), type=HealthAnswer)
        return None

    def wait_ready(self) -> None:
        """Wait until it answers.

        Raises:
            AssertionError: it does not; the message has the end of its log.
        """
        try:
            wait_until(self.is_ready, f"archive {self.number} answers", START_S)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.log[-2000:]}") from error

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self.cpu_s += self.live_cpu_s()
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        if self._process is not None:
            self.cpu_s += self.live_cpu_s()
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def live_cpu_s(self) -> float:
        return 0.0 if self._process is None else cpu_s(self._process.pid)

    def rss_bytes(self) -> int:
        assert self._process is not None
        statm = Path(f"/proc/{self._process.pid}/statm").read_text("ascii")
        return int(statm.split()[1]) * _PAGE


def cpu_s(pid: int) -> float:
    """Return the processor time of a process, user and system, in seconds."""
    with contextlib.suppress(OSError):
        parts = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        return (int(parts[11]) + int(parts[12])) / _TICKS
    return 0.0


def tree_cpu_s(pid: int) -> float:
    """Return the processor time of a process, its children that ended, and those that run."""
    total = 0.0
    with contextlib.suppress(OSError):
        parts = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        total = sum(map(int, parts[11:15])) / _TICKS
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text("ascii").split():
                total += tree_cpu_s(int(child))
    return total


class SpeakerProcess:
    """A process of simulated speakers."""

    def __init__(self, plan: FleetPlan) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fleet.speakers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.clips: Final = sum(one.clips for one in plan.speakers)
        self.answered = 0
        self.report: FleetReport | None = None
        self._ready = threading.Event()
        stdin = self._pipe(self._process.stdin)
        stdin.write(msgspec.json.encode(plan) + b"\n")
        stdin.flush()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_ready(self) -> None:
        assert self._ready.wait(600), "the speakers are not ready"

    def go(self) -> None:
        """Let the speakers publish."""
        stdin = self._pipe(self._process.stdin)
        stdin.write(b"go\n")
        stdin.flush()

    @property
    def is_done(self) -> bool:
        return not self._reader.is_alive()

    def end(self) -> FleetReport:
        """Wait for its end; return its report."""
        self._reader.join()
        assert self._process.wait(60) == 0
        assert self.report is not None
        return self.report

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        for line in self._pipe(self._process.stdout):
            if line == b"ready\n":
                self._ready.set()
            elif line.startswith(b"{"):
                self.report = msgspec.json.decode(line, type=FleetReport)
            else:
                self.answered = int(line)

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe


@dataclass(slots=True)
class Stage:
    """Everything that a scene uses."""

    folder: Path
    brokers: list[Mosquitto]
    postgres: PostgresServer
    seaweed: SeaweedServer
    fleet: Fleet
    archives: list[ArchiveProcess]
    owners: list[SimulatedOwner]
    speakers: list[tuple[str, str]]
    """Name and seed of the key of each."""
    used: dict[str, int] = field(default_factory=dict)
    """Numbers that each speaker has used."""
    running: list[SpeakerProcess] = field(default_factory=list)
    """Every process of speakers that was started."""
    clip_ms: float | None = None
    """Processor time of a clip in all servers, once it is measured."""

    @property
    def broker_addresses(self) -> tuple[str, ...]:
        return tuple(f"127.0.0.1:{one.port}" for one in self.brokers)

    @property
    def objects_url(self) -> str:
        return objects_url(self.fleet)

    def start_archives(self) -> None:
        """Start every archive; wait until each answers and receives clips from every broker.

        A clip that is published before is sent again after ``RETRY_S``, which no scene measures.
        """
        for one in self.archives:
            one.start()
        for one in self.archives:
            one.wait_ready()
            wait_until(one.is_connected, f"archive {one.number} has connected", START_S)

    def launch(
        self,
        clips: int,
        *,
        owners: Sequence[SimulatedOwner] | None = None,
        per_s: float = 0.0,
        processes: int = 2,
        clip_bytes: int = 20_000,
        patience_s: float = 1800.0,
        resend_all: bool = False,
        ttl_s: int = 86_400,
        speakers: int | None = None,
    ) -> list[SpeakerProcess]:
        """Start processes of speakers that publish so many clips in all; they wait for ``go``."""
        whose = owners or self.owners
        chosen = self.speakers[:speakers]
        plans = []
        for index, (name, seed) in enumerate(chosen):
            share = clips // len(chosen) + (index < clips % len(chosen))
            if share:
                owner = whose[index % len(whose)]
                first = self.used.get(name, 0) + 1
                self.used[name] = first + share - 1
                plans.append(
                    SpeakerPlan(
                        name=name,
                        seed=seed,
                        owner=owner.name,
                        recipient=owner.recipient,
                        clips=share,
                        first_seq=first,
                    )
                )
        made = [
            SpeakerProcess(
                FleetPlan(
                    brokers=self.broker_addresses,
                    connections=10,
                    clip_bytes=clip_bytes,
                    per_s=per_s / processes,
                    ttl_s=ttl_s,
                    speakers=tuple(plans[number::processes]),
                    patience_s=patience_s,
                    prefix=f"f-{secrets.token_hex(4)}",
                    resend_all=resend_all,
                )
            )
            for number in range(processes)
        ]
        self.running += made
        for one in made:
            one.wait_ready()
        return made

    def client(self, owner: SimulatedOwner, archive: int = 0) -> ArchiveClient:
        """Return the client of an owner for one of the archives."""
        address = parse_address(str(self.archives[archive].socket), None)
        identities = parse_identities(owner.identity.encode(), owner.name)
        return ArchiveClient(HttpClient(address), owner.name, identities)

    def rows(self, owner: SimulatedOwner | None = None) -> dict[str, str]:
        """Return the SHA-256 of each stored clip by id, from the database; or of an owner's."""
        query = "select clip, sha256 from clip where owner is not null"
        if owner is None:
            return dict(self.fleet.ask(query))
        return dict(self.fleet.ask(f"{query} and owner = %s", (owner.name,)))

    def objects(self) -> list[str]:
        """Return the ids of the stored objects; one that lies twice is there twice."""
        return [Path(key).stem for key in self.fleet.keys("clips/") if not key.endswith("/")]

    def close(self) -> None:
        for process in self.running:
            process.kill()
        for archive in self.archives:
            archive.stop()
        for broker in self.brokers:
            broker.kill()
        self.fleet.close()
        self.postgres.remove()
        self.seaweed.remove()


def objects_url(fleet: Fleet) -> str:
    """Return the URL of the fleet's objects."""
    return f"s3://{BUCKET}/{fleet.database.removeprefix('fleet-')}"


def ask(client: ArchiveClient, op: str, **fields: object) -> requests.Request:
    """Return a request of an owner."""
    body = {"owner": client.owner, "request": {"op": op} | fields}
    return requests.parse(msgspec.json.encode(body)).request


@contextlib.contextmanager
def set_up(folder: Path, speakers: int, owners: int) -> Iterator[Stage]:
    """Start brokers, database and object store, and prepare the archives.

    Raises:
        AssertionError: a server is not installed, or does not start.
    """
    programs = find_postgresql()
    assert programs is not None, "PostgreSQL is not installed: apt-get install postgresql"
    mosquitto = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
    assert mosquitto is not None, "mosquitto is not installed: make debian"
    with contextlib.ExitStack() as stack:
        postgres = PostgresServer(programs)
        stack.callback(postgres.remove)
        seaweed = SeaweedServer()
        stack.callback(seaweed.remove)
        postgres.start()
        seaweed.start()
        stack.enter_context(_with_variables(seaweed.environment))  # obstore reads them
        fleet = Fleet(postgres, seaweed)
        brokers = []
        for number in (1, 2):
            home = folder / f"broker-{number}"
            home.mkdir()
            broker = Mosquitto(mosquitto, home, find_free_port())
            stack.callback(broker.kill)
            start_broker(broker)
            brokers.append(broker)
        names = [(f"speaker-{number}", secrets.token_hex(32)) for number in range(speakers)]
        people = [
            SimulatedOwner(f"owner-{number}", str(pyrage.x25519.Identity.generate()))
            for number in range(owners)
        ]
        base = _make_home(folder / "base", names, people)
        fleet.row_mac = RowMac.for_key(Home(base).archive_key())
        archives = [
            _make_archive(folder, number, base, brokers, fleet, seaweed)
            for number in range(1, ARCHIVES + 1)
        ]
        stage = Stage(folder, brokers, postgres, seaweed, fleet, archives, people, names)
        stack.callback(stage.close)
        stage.start_archives()
        yield stage


@contextlib.contextmanager
def _with_variables(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def start_broker(broker: Mosquitto) -> None:
    """Start a broker with the limits of the household's configuration, and room for the fleet."""
    broker.start("max_packet_size 1100000", "max_inflight_messages 8", "max_queued_messages 2000")


def _make_home(
    path: Path, speakers: Iterable[tuple[str, str]], owners: Iterable[SimulatedOwner]
) -> Path:
    path.mkdir(mode=0o700)
    home = Home(path)
    home.archive_key()

    def edit(roster: Roster) -> Roster:
        for name, seed in speakers:
            public = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)).public_key()
            roster = roster.with_device(name, keys.device_text(public))
        for owner in owners:
            roster = partial(introduced, name=owner.name, recipient=owner.recipient)(
                roster, now_s=int(time.time())
            )
        return roster

    home.change_roster(edit)
    return path


def _make_archive(
    folder: Path,
    number: int,
    base: Path,
    brokers: Sequence[Mosquitto],
    fleet: Fleet,
    seaweed: SeaweedServer,
) -> ArchiveProcess:
    place = folder / f"archive-{number}"
    place.mkdir()
    shutil.copytree(base, place / "home")
    hosts = ", ".join(f'"127.0.0.1:{one.port}"' for one in brokers)
    (place / "archive.toml").write_text(
        f"broker.hosts = [{hosts}]\n"
        f'archive.database = "{fleet.url}"\narchive.objects = "{objects_url(fleet)}"\n'
        f"archive.instance = {number}\narchive.instances = {ARCHIVES}\n"
        "archive.clips_per_hour = 0\narchive.bytes_per_day = 0\n"
    )
    return ArchiveProcess(number, place, seaweed.environment)
