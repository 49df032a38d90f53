"""Floods of connections: owners are served, clips are stored, machines join, nothing grows.

``connection_floods`` has the floods; here each runs for some seconds against real processes.
"""

import resource
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil
import pytest

from listener.archive.http_server import MOST_DESCRIPTORS
from listener.clips.client import ArchiveClient
from listener.clips.http import HttpClient, parse_address
from listener.config import SpoolSettings
from listener.envelope.open import parse_identities
from listener.errors import Unavailable
from listener.household import identity
from listener.household.join_client import join
from listener.household.state import HouseholdStore
from listener.rights import requests
from listener.spool.queue import Spool
from listener.storage.home import Home
from tests.adversary import connection_floods as floods
from tests.conftest import Household
from tests.household.guests import Host
from tests.ports import find_free_port
from tests.system.conftest import Earmark, Mosquitto, earmark, free_port, mosquitto, wait_until

__all__ = ["earmark", "free_port", "mosquitto"]  # fixtures of tests/system

pytestmark = pytest.mark.system

NEIGHBOURS = floods.loopback(10)
OWNER_REQUESTS = 5
MOST_ATTEMPTS = 8
FLOOD_S = 2.0
NEWCOMER_S = 180.0
"""Limit for a newcomer: a busy machine takes as long until others have used more than it."""
MOST_RESIDENT_BYTES = 128 << 20
MOST_LOG_BYTES = 16 << 10


@dataclass
class FloodedArchive:
    """An archive on TLS, measured during a flood."""

    port: int
    ca: Path
    process: psutil.Process
    earmark: Earmark
    household: Household
    resident_bytes: int = 0

    def owner(self) -> ArchiveClient:
        address = parse_address(f"https://localhost:{self.port}", self.ca)
        keys = parse_identities(self.household.identities["ada"].encode(), "ada")
        return ArchiveClient(HttpClient(address), "ada", keys)

    def ask(self) -> None:
        """Make requests one after the other, of a kind that needs no ticket."""
        for _ in range(OWNER_REQUESTS):
            about = self.owner().get_archive(dict)
            assert about["archive"].startswith("ed25519:")
            self.resident_bytes = max(self.resident_bytes, self.process.memory_info().rss)
            assert self.process.num_fds() < MOST_DESCRIPTORS

    def prove(self) -> None:
        """List the owner's clips, which takes a ticket and its proof."""
        self.owner().request_raw(requests.ListRequest())


@pytest.fixture
def archive(home: Path, earmark: Earmark, household: Household, tmp_path: Path) -> FloodedArchive:
    hosts = ("localhost", "127.0.0.1")
    office = HouseholdStore(home)
    office.set_up(lambda before: msgspec.structs.replace(before, hosts=hosts))
    crt, key, ca = (
        next((home / "household").rglob(name)) for name in ("s-api.crt", "s-api.key", "ca.crt")
    )
    port = find_free_port()
    config = tmp_path / "earmark.toml"
    config.write_text(
        f'{config.read_text()}archive.port = {port}\narchive.certificate_file = "{crt}"\n'
        f'archive.key_file = "{key}"\n'
    )
    earmark.is_weighed = True
    process = psutil.Process(earmark.start("archive").pid)
    wait_until((home / "archive.sock").exists, "the archive's socket is there")
    found = FloodedArchive(port, ca, process, earmark, household)
    wait_until(lambda: serves(found), "the archive's TLS port answers")
    return found


def serves(archive: FloodedArchive) -> bool:
    try:
        archive.owner().get_archive(dict)
    except Exception:  # noqa: BLE001 - it does not answer yet
        return False
    return True


def proves(archive: FloodedArchive) -> bool:
    try:
        archive.prove()
    except Unavailable:
        return False
    return True


@pytest.mark.parametrize("flood", floods.NETWORK_FLOODS, ids=lambda flood: flood.__name__)
def test_owner_is_served_during_a_flood_from_several_addresses(
    archive: FloodedArchive, flood: Callable[..., floods.FloodCounts]
) -> None:
    archive.prove()  # test_request_floods has the first proof under a flood of tickets
    target = floods.Target(archive.port, NEIGHBOURS)
    with floods.running(flood, target, FLOOD_S) as begun:
        while begun.is_running:
            archive.ask()
        counts = begun.stop()

    assert counts.opened > 0
    assert archive.resident_bytes < MOST_RESIDENT_BYTES
    assert "Traceback" not in archive.earmark.said("archive")
    assert len(archive.earmark.said("archive")) < MOST_LOG_BYTES
    archive.prove()


def test_first_proof_succeeds_among_many_silent_addresses(archive: FloodedArchive) -> None:
    target = floods.Target(archive.port, floods.loopback(100), connections=1)
    with floods.running(floods.silent_tls, target):
        wait_until(lambda: archive.process.num_fds() > 60, "the flood holds connections")
        archive.prove()
        archive.prove()


@pytest.mark.parametrize("flood", [floods.ticket_requests, floods.slow_bodies])
def test_newcomer_is_served_among_more_busy_addresses_than_places(
    archive: FloodedArchive, flood: Callable[..., floods.FloodCounts]
) -> None:
    """The owner's address has no proof yet. An earlier version refused each of 40 attempts."""
    target = floods.Target(archive.port, floods.loopback(200), connections=1)
    with floods.running(flood, target):
        wait_until(lambda: archive.process.num_fds() > 100, "the flood holds connections")
        wait_until(lambda: proves(archive), "the owner is served", NEWCOMER_S)


def test_clips_arrive_and_the_local_socket_answers_during_a_flood(
    archive: FloodedArchive, mosquitto: Mosquitto, home: Path
) -> None:
    mosquitto.start()
    spool = Spool(home / "spool", SpoolSettings())
    # What systemd gives a service: the soft limit is far below the number of connections.
    resource.prlimit(archive.process.pid, resource.RLIMIT_NOFILE, (1024, 4096))
    target = floods.Target(archive.port, ("127.0.0.1", *NEIGHBOURS), connections=150)
    with floods.running(floods.half_open, target):
        wait_until(lambda: archive.process.num_fds() > 80, "the flood holds connections")
        header = archive.household.header(archive.household.home.next_seq())
        spool.put(header.clip, "ada", header.seq, archive.household.seal(header))
        sent = archive.earmark.run("send", "--once")
        local = ArchiveClient(
            HttpClient(parse_address(str(home / "archive.sock"), None)),
            "ada",
            parse_identities(archive.household.identities["ada"].encode(), "ada"),
        )
        listed = local.request_raw(requests.ListRequest())

    assert sent.stdout == "sent 1, quarantined 0, waiting 0\n", sent.stderr
    assert header.clip in listed.decode()
    assert archive.process.num_fds() < MOST_DESCRIPTORS


def test_archive_without_enough_descriptors_does_not_start(earmark: Earmark) -> None:
    command = ["prlimit", "--nofile=128:128", *earmark.command("archive")]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 69
    assert "this process may open 128 files, and needs" in done.stderr


@pytest.fixture
def any_date() -> None:
    """The household of the join tests runs at any date."""


@pytest.fixture
def host(home: Path) -> Iterator[Host]:
    made = Host(home)
    yield made
    made.end()


@pytest.mark.parametrize("flood", [floods.half_open, floods.stalled_handshakes, floods.garbage])
def test_four_of_four_machines_join_during_a_flood(
    host: Host, tmp_path: Path, flood: Callable[..., floods.FloodCounts]
) -> None:
    # The blocker shares the first machine's address, and has others.
    sources = ("127.0.0.1", "127.0.0.2") if flood is floods.half_open else ("127.0.0.2",)
    target = floods.Target(host.server.port, sources, connections=40)
    waiting = host.wait(identity.device("last"))
    with floods.running(flood, target):
        threads = threading.active_count()
        for number in range(4):
            who = identity.device(f"d{number}")
            guest = Home(tmp_path / f"guest{number}")
            assert join(guest, host.invite(who, f"{number}" * 22)).who == who
        assert threading.active_count() <= threads + 40
    assert not waiting.done()
    assert len(host.home.roster().devices) == 4


@pytest.mark.parametrize("flood", [floods.stalled_handshakes, floods.silent_tls])
def test_machine_joins_among_more_addresses_than_places(
    host: Host, tmp_path: Path, flood: Callable[..., floods.FloodCounts]
) -> None:
    """An earlier version refused each of 8 attempts."""
    waiting = host.wait(identity.device("last"))
    who = identity.device("d0")
    with floods.running(flood, floods.Target(host.server.port, floods.loopback(200), 1)):
        wait_until(lambda: threading.active_count() > 30, "the flood holds connections")
        for left in reversed(range(MOST_ATTEMPTS)):
            try:
                join(Home(tmp_path / "guest"), host.invite(who, f"{left}" * 22))
                break
            except Unavailable:
                assert left, "never joined"
    assert not waiting.done()
