"""Several archive processes on one database and one object store, with real servers.

A crash is an exception at the moment in question: nothing after it runs, as after a kill. `make
fleet` kills real processes.
"""

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
import psycopg
import pyrage
import pytest
from starlette.testclient import TestClient

from listener.archive.api import Api
from listener.archive.archive_clock import ArchiveClock
from listener.archive.challenges import RequestChallenges
from listener.archive.context import ArchiveContext
from listener.archive.elapsed_time import ArchiveTime
from listener.archive.fleet.background_sweep import BackgroundSweep
from listener.archive.fleet.election import LEASE_S, Election
from listener.archive.fleet.fleet_store import FleetStore, open_database
from listener.archive.fleet.sharded_log import SHARDS, ShardedLog, find_shard, root_hash
from listener.archive.fleet.shared_home import SYNC_S, SharedHome
from listener.archive.fleet.tickets import SharedTickets, ticket_secret
from listener.archive.fleet.tombstones import TombstoneExport
from listener.archive.operations import Operations
from listener.archive.owner_state import make_tombstone
from listener.archive.publisher import ArchivePublisher
from listener.archive.receiver import Receiver
from listener.archive.records import Erased, Replayed, RowMac
from listener.envelope import format as form
from listener.errors import ConfigError, Unavailable
from listener.rights.hash_chain import parse_row, verify_chain
from listener.storage.access_log import LogEntry
from listener.storage.home import Home
from tests.archive.computer import Computer
from tests.archive.conftest import OwnerClient
from tests.archive.stored_clips import T_S, store_clip
from tests.system.conftest import wait_until

if TYPE_CHECKING:
    from tests.archive.fleet_servers import Fleet, PostgresServer, SeaweedServer
    from tests.conftest import Household

EARMARK = (sys.executable, "-m", "listener")

pytestmark = pytest.mark.system
NOW = ArchiveTime(T_S, 0.0, T_S)


class Crash(BaseException):
    """The process was killed here."""


@contextlib.contextmanager
def crash_at(owner: object, name: str, *, after: bool = False) -> Iterator[None]:
    """Kill the process before a method of an object runs, or after it."""
    patch = pytest.MonkeyPatch()
    method: Callable[..., Any] = getattr(owner, name)

    def crash(*arguments: object, **named: object) -> None:
        if after:
            method(*arguments, **named)
        raise Crash

    patch.setattr(owner, name, crash)
    try:
        with pytest.raises(Crash):
            yield
    finally:
        patch.undo()


def offer(store: FleetStore, data: bytes) -> bool:
    return store.keep(form.parse_envelope(data), data, T_S)


def repair(store: FleetStore, household: "Household", grace_s: int = 0) -> int:
    verify = Receiver(store, household.home.roster, lambda: T_S).verify_stored
    return store.repair(verify, grace_s)


def tombstone_of(data: bytes) -> Any:  # noqa: ANN401 - a Tombstone
    return make_tombstone(form.parse_envelope(data), hashlib.sha256(data).hexdigest())


def check_complete(fleet: "Fleet", expected: set[str]) -> None:
    """Check that rows and objects are exactly these clips."""
    rows = {clip for (clip,) in fleet.ask("select clip from clip where owner is not null")}
    objects = {key.rpartition("/")[2] for key in fleet.keys("clips/")}
    assert rows == objects == expected
    assert fleet.ask("select count(*) from doomed") == [(0,)]


def test_clip_that_reaches_three_processes_at_once_is_stored_once(
    fleet: "Fleet", household: "Household"
) -> None:
    stores = [fleet.open(str(number)) for number in range(3)]
    sealed = [household.seal(household.header(seq)) for seq in range(1, 21)]

    with ThreadPoolExecutor(6) as pool:
        stored = list(pool.map(lambda pair: offer(*pair), [(s, d) for d in sealed for s in stores]))

    assert sum(stored) == len(sealed)
    check_complete(fleet, {form.parse_envelope(data).header.clip for data in sealed})


def test_two_clips_with_one_number_at_once_leave_one(
    fleet: "Fleet", household: "Household"
) -> None:
    stores = [fleet.open(str(number)) for number in range(2)]
    for seq in range(1, 11):
        rivals = [household.seal(household.header(seq)) for _ in stores]

        def attempt(pair: tuple[FleetStore, bytes]) -> bool:
            try:
                return offer(*pair)
            except Replayed:
                return False

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(attempt, zip(stores, rivals, strict=True))) == [False, True]

    rows = {clip for (clip,) in fleet.ask("select clip from clip")}
    check_complete(fleet, rows)
    assert len(rows) == 10


def test_clip_whose_process_was_killed_before_its_row_is_stored_by_another(
    fleet: "Fleet", household: "Household"
) -> None:
    first, second = fleet.open("1"), fleet.open("2")
    data = household.seal(household.header(1))
    with crash_at(first, "_insert"):
        offer(first, data)

    assert repair(second, household, grace_s=3600) == 0  # it may be in writing
    assert offer(second, data)
    assert not offer(first, data)
    check_complete(fleet, {form.parse_envelope(data).header.clip})


@pytest.mark.parametrize("moment", ["export", "delete", "forget"])
def test_erasure_that_was_killed_is_completed_by_another_process(
    fleet: "Fleet", household: "Household", moment: str
) -> None:
    first, second = fleet.open("1"), fleet.open("2")
    data = household.seal(household.header(1))
    kept = store_clip(first, household, 2)
    offer(first, data)

    target: tuple[object, str, bool] = {
        "export": (first._export, "write", False),  # noqa: SLF001 - the moment is inside
        "delete": (first.blobs, "erase", False),
        "forget": (first.blobs, "erase", True),
    }[moment]
    with crash_at(target[0], target[1], after=target[2]):
        first.erase("ada", [tombstone_of(data)])

    assert second.owner_state.is_erased(form.parse_envelope(data).header.clip)
    assert [record.clip for record in second.clips("ada")] == [kept.clip]
    with pytest.raises(Erased):
        offer(second, data)
    assert second.complete_erasures(grace_s=0) == 1
    check_complete(fleet, {kept.clip})
    assert fleet.keys("tombstones/")


def test_none_of_an_owners_clips_comes_back_while_they_are_erased(
    fleet: "Fleet", household: "Household"
) -> None:
    stores = [fleet.open(str(number)) for number in range(3)]
    sealed = [household.seal(household.header(seq)) for seq in range(1, 41)]
    others = [household.seal(household.header(seq, "bob")) for seq in range(101, 111)]
    for data in [*sealed[:20], *others]:
        offer(stores[0], data)
    is_over = threading.Event()

    def redeliver(store: FleetStore) -> None:
        while not is_over.is_set():
            for data in sealed[:20]:
                with contextlib.suppress(Erased, Replayed):
                    offer(store, data)

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(redeliver, store) for store in stores[1:]]
        time.sleep(0.3)
        stores[0].refuse_span("ada", ("", "A"), None, NOW)
        clips = [record.clip for record in stores[0].clips("ada")]
        for clip in clips:
            row = stores[0].row(clip)
            assert row is not None
            stores[0].erase("ada", [row[1]])
        time.sleep(0.3)
        is_over.set()
        for one in running:
            one.result()

    for data in sealed[20:]:  # those that waited in the spool have lower numbers than bob's
        with pytest.raises(Erased):
            offer(stores[1], data)
    check_complete(fleet, {form.parse_envelope(data).header.clip for data in others})


def test_two_sweeps_at_once_expire_each_clip_once(fleet: "Fleet", household: "Household") -> None:
    stores = [fleet.open(str(number)) for number in range(3)]
    for seq in range(1, 31):
        store_clip(stores[0], household, seq)

    with ThreadPoolExecutor(3) as pool:
        expired = list(pool.map(lambda store: store.expire(T_S + 86_400), stores))

    assert sum(expired) == 30
    check_complete(fleet, set())


def test_row_without_a_valid_mac_expires_no_clip_and_is_repaired(
    fleet: "Fleet", household: "Household"
) -> None:
    store = fleet.open()
    header = store_clip(store, household, ttl_s=30 * 86_400)
    fleet.ask("update clip set expires_s = 1")

    assert store.expire(T_S + 86_400) == 0
    repair(store, household)

    ((record, has_valid_mac),) = store.page_with_mac_check("ada", ("", "A"))
    assert (record.clip, has_valid_mac) == (header.clip, True)
    assert record.expires_s > T_S + 20 * 86_400


def test_older_copy_of_the_database_brings_no_erased_clip_back(
    fleet: "Fleet", household: "Household", postgres: "PostgresServer"
) -> None:
    store = fleet.open()
    erased = household.seal(household.header(1))
    late = household.seal(household.header(2))
    kept = store_clip(store, household, 3)
    offer(store, erased)
    store.database.close()
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f'create database "{fleet.database}-y" template "{fleet.database}"')

    store.erase("ada", [tombstone_of(erased)])
    offer(store, late)
    store.erase("ada", [tombstone_of(late)])
    store.database.close()
    fleet.url = postgres.url_of(f"{fleet.database}-y")
    again = fleet.open("2")

    assert [record.clip for record in again.clips("ada")] == [kept.clip]
    for data in (erased, late):
        assert again.owner_state.is_erased(form.parse_envelope(data).header.clip)
        with pytest.raises(Erased):
            offer(again, data)
    again.complete_erasures(grace_s=0)
    check_complete(fleet, {kept.clip})
    # The next connection has nothing to add, and new copies have numbers of their own.
    with fleet.connect().connection() as connection:
        assert TombstoneExport(fleet.blobs).import_missing(connection) == 0
    again.erase("ada", [row[1] for row in [again.row(kept.clip)] if row])
    numbers = [key.partition("-")[0] for key in fleet.keys("tombstones/")]
    assert len(numbers) == len(set(numbers))


def test_order_that_is_younger_than_the_copy_is_in_force(
    fleet: "Fleet", household: "Household", postgres: "PostgresServer"
) -> None:
    store = fleet.open()
    store_clip(store, household, 5)
    waiting = household.seal(household.header(4))
    store.database.close()
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f'create database "{fleet.database}-y" template "{fleet.database}"')
    store.refuse_span("ada", ("", "A"), None, NOW)
    store.database.close()

    fleet.url = postgres.url_of(f"{fleet.database}-y")
    again = fleet.open()

    with pytest.raises(Erased):
        offer(again, waiting)
    again.expire(T_S)
    fleet.open().has_sealed("ada", "hall")
    assert len(fleet.keys("orders/")) == 1
    assert fleet.ask("select count(*) from erase_order") == [(1,)]


def test_empty_database_is_made_anew_from_the_objects(
    fleet: "Fleet", household: "Household", postgres: "PostgresServer"
) -> None:
    store = fleet.open()
    erased = household.seal(household.header(1))
    kept = store_clip(store, household, 2)
    offer(store, erased)
    store.erase("ada", [tombstone_of(erased)])
    fleet.url = postgres.create(f"{fleet.database}-new")

    again = fleet.open()
    assert repair(again, household) == 1

    check_complete(fleet, {kept.clip})
    with pytest.raises(Erased):
        offer(again, erased)


def test_damaged_list_of_tombstones_stops_the_archive(fleet: "Fleet") -> None:
    fleet.open()
    obstore.put(fleet.objects, "tombstones/000000000000001-ff", b"[{")

    with pytest.raises(Unavailable, match="not a copy of tombstones"):
        fleet.open().owner_state.is_erased("x")


def test_repair_leaves_what_another_process_is_storing(
    fleet: "Fleet", household: "Household"
) -> None:
    writer, other = fleet.open("1"), fleet.open("2")
    sealed = [household.seal(household.header(seq)) for seq in range(1, 31)]
    is_over = threading.Event()

    def repair_always() -> int:
        runs = 0
        while not is_over.is_set():
            # Without the grace, too, no acknowledged clip may be lost.
            repair(other, household, grace_s=0)
            runs += 1
        return runs

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(repair_always)
        for data in sealed:
            offer(writer, data)  # False where the repair has made the row first
        is_over.set()
        assert running.result() > 0
    check_complete(fleet, {form.parse_envelope(data).header.clip for data in sealed})


def test_repair_runs_in_one_process(fleet: "Fleet", household: "Household") -> None:
    first, second = fleet.open("1"), fleet.open("2")
    header = household.header(1)
    first.blobs.put_new("ada", header.clip, household.seal(header))
    with first.database.try_lock(0x6561_7202) as is_held:
        assert is_held
        assert repair(second, household) == 0
        assert second.expire(2**33) == 0

    assert repair(second, household) == 1


def test_ticket_is_redeemed_once_wherever_the_answer_arrives(
    fleet: "Fleet", household: "Household"
) -> None:
    first, second = (Process(fleet, household, number) for number in (1, 2))
    ada = first.client("ada")
    header = store_clip(first.store, household)
    ticket = ada.request_ticket("play", clip=header.clip).json()
    answer = ada.decrypt(ticket["challenge"])

    wrong = second.client("ada").answer(ticket["ticket"], "ada:play:wrong")
    assert wrong.status_code == 403  # used up there, and nowhere else
    there = Process(fleet, household, 3).client("ada").answer(ticket["ticket"], answer)
    assert there.status_code == 200
    assert ada.answer(ticket["ticket"], answer).status_code == 404


def test_owner_lists_plays_exports_and_erases_at_any_process(
    fleet: "Fleet", household: "Household"
) -> None:
    first, second = (Process(fleet, household, number) for number in (1, 2))
    headers = [store_clip(first.store, household, seq) for seq in (1, 2)]
    others = store_clip(second.store, household, 3, owner="bob")
    ada = second.client("ada")

    listed = ada.request("list").json()
    assert [clip["clip"] for clip in listed["clips"]] == sorted(one.clip for one in headers)
    assert ada.request("play", clip=headers[0].clip).content == first.store.blobs.get(
        "ada", headers[0].clip
    )
    assert ada.request("play", clip=others.clip).status_code == 404
    exported = first.client("ada").request("export")
    assert exported.status_code == 200
    assert exported.content.startswith(b"PK")

    receipt = first.client("ada").request("erase", all=True).json()
    assert sorted(receipt["receipt"]["clips"]) == sorted(one.clip for one in headers)
    assert ada.request("list").json()["clips"] == []
    check_complete(fleet, {others.clip})

    page = ada.request("log").json()
    rows = [parse_row(row) for row in page["rows"]]
    verify_chain(rows, [])
    assert {row.body.op for row in rows if row.body is not None} >= {"list", "erase", "export"}
    assert page["head"]["head"]["hash"] == second.log.head("ada").hash


def test_chains_of_shards_are_covered_by_one_root(fleet: "Fleet") -> None:
    elected = ShardedLog(fleet.connect(), lambda: T_S, is_elected=lambda: True)
    other = ShardedLog(fleet.connect(), lambda: T_S, is_elected=lambda: False)
    assert other.head().n == 0
    owners = [f"owner-{number}" for number in range(12)]

    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda owner: [
                    log.append(LogEntry(owner=owner, op="list", outcome="done", other="ada"))
                    for log in (elected, other)
                ],
                owners,
            )
        )

    for owner in (*owners, "ada"):
        rows = other.page(owner, 0, 1000)
        verify_chain([parse_row(row) for row in rows], [])
        assert rows[-1]["hash"] == elected.head(owner).hash == other.hash_at(len(rows), owner)
    # Each row is in the owner's chain and in that of the second owner.
    of_ada = [row for row in other.page("ada", 0, 1000) if "body" in row]
    assert len(of_ada) == 24
    root = elected.head()
    heads = [
        (shard, head.n, head.hash)
        for shard in range(SHARDS)
        for owner in (*owners, "ada")
        if find_shard(owner) == shard and (head := other.head(owner)).n
    ]
    assert root.hash == root_hash(sorted(set(heads)))
    assert root.n == sum(n for _, n, _ in set(heads))
    assert other.head() == root
    assert other.hash_at(root.n) == root.hash


def test_one_process_publishes_settings_and_another_takes_over(
    fleet: "Fleet", household: "Household"
) -> None:
    clock = [0.0]
    first, second = (Process(fleet, household, number) for number in (1, 2))
    elections = [
        Election(one.store.database, "publisher", str(number), lambda: clock[0])
        for number, one in enumerate((first, second))
    ]
    publishers = [
        ArchivePublisher(one.context, election)
        for one, election in zip((first, second), elections, strict=True)
    ]
    second.store.owner_state.set_retention("ada", 7)

    topics = [[one.topic for one in publisher.pending_messages()] for publisher in publishers]
    assert "earmark/v1/retention/ada" in topics[0]
    assert topics[1] == []

    # The first one hangs: its lease ends by the database's clock.
    fleet.ask("update lease set until = clock_timestamp() - interval '1 second'")
    clock[0] += LEASE_S
    assert "earmark/v1/retention/ada" in [one.topic for one in publishers[1].pending_messages()]
    assert [elections[1](), elections[0]()] == [True, False]


def test_each_process_states_the_numbers_that_it_accepted(
    fleet: "Fleet", household: "Household"
) -> None:
    process = Process(fleet, household, 1)
    publisher = ArchivePublisher(process.context, lambda: False)
    assert list(publisher.pending_numbers()) == []

    store_clip(process.store, household, 7)

    (message,) = publisher.pending_numbers()
    assert message.topic == "earmark/v1/sequence/hall"
    assert b'"seq":7' in message.payload
    assert list(publisher.pending_numbers()) == []


def test_sweep_runs_beside_intake(fleet: "Fleet", household: "Household") -> None:
    store = fleet.open()
    header = household.header(1)
    store.blobs.put_new("ada", header.clip, household.seal(header))
    store_clip(store, household, 2)
    computer = Computer(T_S)
    clock = ArchiveClock(store, computer.wall_s, computer)
    sweep = BackgroundSweep(
        store, Receiver(store, household.home.roster, lambda: T_S).verify_stored, clock
    )

    assert sweep.run_if_due() == 0
    sweep.join(60)
    computer.run(2 * 86_400)
    sweep.run_if_due()
    sweep.join(60)
    erased = sweep.run_if_due()
    sweep.join(60)

    assert erased == 1
    assert fleet.ask("select count(*) from clip where owner is not null") == [(0,)]


def test_rosters_of_two_homes_follow_each_other(
    fleet: "Fleet", household: "Household", tmp_path: Path
) -> None:
    clock = [0.0]
    own = household.home.path
    (tmp_path / "other").mkdir()
    mac = RowMac(b"key")
    first = SharedHome(own, fleet.connect(), "1", mac, lambda: clock[0])
    second = SharedHome(tmp_path / "other", fleet.connect(), "2", mac, lambda: clock[0])

    def sync() -> None:
        for home in (first, second, first):
            clock[0] += SYNC_S
            home.sync()
        assert second.roster() == first.roster()

    sync()
    assert {owner.name for owner in second.roster().owners} == {"ada", "bob"}

    # A command changes the file of a home, as earmark household does.
    Home(own).change_roster(lambda roster: roster.without_owner("bob"))
    sync()
    assert [owner.name for owner in second.roster().owners] == ["ada"]

    # Two processes change it at once: neither change is lost.
    recipients = [str(pyrage.x25519.Identity.generate().to_public()) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(
            pool.map(
                lambda pair: pair[0].change_roster(
                    lambda roster: roster.with_owner(f"new-{pair[1][-4:]}", pair[1])
                ),
                zip((first, second), recipients, strict=True),
            )
        )
    sync()
    assert len(first.roster().owners) == 3
    assert fleet.ask("select max(version) from roster") == [(4,)]

    fleet.ask("update roster set content = replace(content, 'ada', 'eve') where version = 4")
    clock[0] += SYNC_S
    with pytest.raises(Unavailable, match="not written by an archive"):
        second.sync()
    assert {"ada"} < {owner.name for owner in second.roster().owners}


def test_servers_that_do_not_answer_make_the_archive_unavailable(
    fleet: "Fleet", household: "Household", postgres: "PostgresServer"
) -> None:
    store = fleet.open()
    kept = store_clip(store, household, 1)
    data = household.seal(household.header(2))
    postgres.kill()
    try:
        with pytest.raises(Unavailable, match="cannot use the database"):
            offer(store, data)
    finally:
        postgres.start()

    assert offer(store, data)
    assert len(fleet.keys("clips/")) == 2
    assert store.row(kept.clip) is not None


@pytest.mark.parametrize("url", ["postgresql://[", "postgresql://h/?port=x&nonsense=1"])
def test_wrong_url_is_a_configuration_error(fleet: "Fleet", url: str) -> None:
    with pytest.raises((ConfigError, Unavailable)):
        open_database(url, fleet.blobs)


def test_later_schema_is_not_used(fleet: "Fleet") -> None:
    fleet.open()
    fleet.ask("update earmark_schema set version = 99")

    with pytest.raises(Unavailable, match="schema 99"):
        fleet.open()


class Process:
    """One archive process with its API."""

    def __init__(self, fleet: "Fleet", household: "Household", number: int) -> None:
        self.household = household
        self.store = fleet.open(str(number))
        self.log = ShardedLog(self.store.database, time.time)
        key = household.home.archive_key()
        self.context = ArchiveContext(
            household.home, self.store, self.log, household.home.roster, key
        )
        challenges = RequestChallenges(
            time.time, ticket_secret(key), SharedTickets(self.store.database)
        )
        api = Api(self.context, challenges, Operations(self.context))
        self._client = TestClient(api.app(), client=("127.0.0.1", 1))

    def client(self, owner: str) -> OwnerClient:
        return OwnerClient(self._client, owner, self.household.identities[owner])


def test_two_processes_serve_one_home_and_outlive_a_kill(
    fleet: "Fleet", household: "Household", tmp_path: Path, seaweed: "SeaweedServer"
) -> None:
    """With the command itself; the brokers do not answer."""
    kept = store_clip(fleet.open(), household, 1)
    home = household.home.path
    files = []
    for number in (1, 2):
        file = tmp_path / f"archive-{number}.toml"
        file.write_text(
            f'home = "{home}"\nbroker.port = 1\n[archive]\ndatabase = "{fleet.url}"\n'
            f'objects = "{fleet.objects_url}"\ninstance = {number}\ninstances = 2\n'
        )
        files.append(file)
    environment = os.environ | seaweed.environment

    def start(number: int) -> subprocess.Popen[bytes]:
        words = (*EARMARK, "archive", "serve", "--config", str(files[number - 1]))
        return subprocess.Popen(words, env=environment)

    def answers(number: int) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(home / f"archive-{number}.sock"))
            peer.sendall(b"GET /v1/archive HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            return peer.makefile("rb").readline().startswith(b"HTTP/1.1 200")
        return False

    processes = {number: start(number) for number in (1, 2)}
    try:
        for number in processes:
            wait_until(partial(answers, number), f"archive {number} answers")
        second = subprocess.run(
            (*EARMARK, "archive", "serve", "--config", str(files[0])),
            env=environment,
            capture_output=True,
            check=False,
        )
        assert b"another earmark archive-1 already runs" in second.stderr
        processes[1].kill()
        processes[1].wait()
        assert answers(2)
        processes[1] = start(1)
        wait_until(partial(answers, 1), "archive 1 answers again")
        listed = subprocess.run(
            (*EARMARK, "archive", "list", "--json", "--config", str(files[0])),
            env=environment,
            capture_output=True,
            check=True,
        )
        assert json.loads(listed.stdout)["clip"] == kept.clip
    finally:
        for process in processes.values():
            process.terminate()
        assert [process.wait(60) for process in processes.values()] == [0, 0]
