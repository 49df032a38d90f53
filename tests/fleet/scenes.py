"""The proofs of a fleet. Each returns what is wrong, in words; nothing if all is as it must be."""

import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec
import psycopg
import pyrage

from listener.archive.fleet.fleet_store import FleetStore
from listener.archive.fleet.tombstones import MOST_ROWS
from listener.archive.records import ClipRecord, RowMac
from listener.clips.http import HttpClient, parse_address
from listener.errors import EarmarkError
from listener.quantities import quantity
from listener.storage.home import Home
from tests.fleet.repair import RepairFigures, RepairPlan
from tests.fleet.speakers import FleetReport
from tests.fleet.stage import (
    ARCHIVES,
    SimulatedOwner,
    SpeakerProcess,
    Stage,
    ask,
    cpu_s,
    start_broker,
    tree_cpu_s,
)

Say = Callable[[str], None]

ARCHIVE_KILLS: Final = 10
BROKER_KILLS: Final = 3
HUNG_P99_S: Final = 5.0
LEAST_PER_S: Final = 80.0
LIST_P95_S: Final = 0.050
MOST_GROWTH_BYTES: Final = 2 << 20
_DUE: Final = "select clip from clip where owner is not null and expires_s <= %s"
_FAULT_S: Final = 1.0
_GRACE_S: Final = 30
"""Age of an object that a repair compares; the archive's own is an hour."""
_REST_S: Final = 10.0
"""Time for which the processes are measured without a clip."""


@dataclass(slots=True)
class Delivered:
    """Reports of several processes together."""

    stored: dict[str, str] = field(default_factory=dict)
    waits_s: list[float] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    unanswered: list[str] = field(default_factory=list)
    published: int = 0
    connections: int = 0
    took_s: float = 0.0
    cpu_s: float = 0.0

    def add(self, report: FleetReport) -> None:
        """Add the report of one process."""
        self.stored |= report.stored
        self.waits_s += report.waits_s
        for reason, number in report.refused.items():
            self.refused[reason] = self.refused.get(reason, 0) + number
        self.unanswered += report.unanswered
        self.published += report.published
        self.connections += report.connections
        self.took_s = max(self.took_s, report.took_s)
        self.cpu_s += report.cpu_s


def collect(processes: Sequence[SpeakerProcess]) -> Delivered:
    """Wait for the end of speakers, and return what became of their clips."""
    total = Delivered()
    for process in processes:
        total.add(process.end())
    return total


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of the values does not exceed; 0 without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def load() -> str:
    """Return the load of this machine."""
    return " ".join(f"{one:.1f}" for one in os.getloadavg())


def count(stage: Stage, expected: dict[str, str]) -> tuple[str, list[str]]:
    """Compare rows and objects with the clips that were acknowledged.

    Returns:
        A line with the figures, and what is wrong.
    """
    rows, objects = stage.rows(), stage.objects()
    lost = expected.keys() - rows.keys()
    wrong_bytes = [clip for clip in expected.keys() & rows.keys() if rows[clip] != expected[clip]]
    twice = len(objects) - len(set(objects))
    figures = {
        "acknowledged clips": len(expected),
        "rows": len(rows),
        "objects": len(objects),
        "lost": len(lost),
        "twice": twice,
        "rows without an object": len(rows.keys() - set(objects)),
        "objects without a row": len(set(objects) - rows.keys()),
        "rows with another hash": len(wrong_bytes),
        "rows that were not acknowledged": len(rows.keys() - expected.keys()),
    }
    faults = [f"{number} {what}" for what, number in list(figures.items())[3:] if number]
    return ", ".join(f"{number} {what}" for what, number in figures.items()), faults


@dataclass(slots=True)
class Killer:
    """Kills in a random order, one after the other, while clips arrive."""

    stage: Stage
    say: Say
    done: list[str] = field(default_factory=list)

    def run(self, processes: Sequence[SpeakerProcess], clips: int) -> None:
        """Kill what is due whenever another part of the clips is answered; start it again."""
        faults = [f"archive {n}" for n in range(ARCHIVES) for _ in range(ARCHIVE_KILLS)]
        faults += [
            f"broker {n}" for n in range(len(self.stage.brokers)) for _ in range(BROKER_KILLS)
        ]
        random.Random(1).shuffle(faults)
        faults[len(faults) // 3 : len(faults) // 3] = ["database"]
        faults[2 * len(faults) // 3 : 2 * len(faults) // 3] = ["object store"]
        for number, fault in enumerate(faults):
            due = clips * 0.9 * (number + 1) / len(faults)
            while sum(one.answered for one in processes) < due:
                if all(one.is_done for one in processes):
                    raise AssertionError("the clips ended before the faults")
                for archive in self.stage.archives:
                    archive.supervise()
                time.sleep(0.05)
            self._carry_out(fault)
            self.done.append(fault)

    def _carry_out(self, fault: str) -> None:
        kind, _, number = fault.partition(" ")
        match kind:
            case "archive":
                archive = self.stage.archives[int(number)]
                archive.wait_ready()
                archive.kill()
                archive.start()
            case "broker":
                broker = self.stage.brokers[int(number)]
                broker.kill()
                time.sleep(_FAULT_S)
                start_broker(broker)
            case "database":
                self.stage.postgres.kill()
                time.sleep(_FAULT_S)
                self.stage.postgres.start()
            case _:
                self.stage.seaweed.kill()
                time.sleep(_FAULT_S)
                self.stage.seaweed.start()


def killed(stage: Stage, say: Say, clips: int) -> Iterator[str]:
    """Deliver clips while every part is killed."""
    before = stage.rows()
    speakers = stage.launch(clips, per_s=30.0)
    for one in speakers:
        one.go()
    killer = Killer(stage, say)
    killer.run(speakers, clips)
    while not all(one.is_done for one in speakers):
        for archive in stage.archives:
            archive.supervise()
        time.sleep(0.1)
    delivered = collect(speakers)
    ended = sum(archive.restarts for archive in stage.archives)
    say(
        f"killed with -9: {len(killer.done)} times; archives ended {ended} times because a server"
        f" was away, and were started again; {delivered.published} publications of {clips}"
        f" clips, {delivered.connections} connections, {delivered.took_s:.0f} s"
    )
    say(
        f"answer after p50 {percentile(delivered.waits_s, 0.5):.2f} s,"
        f" p99 {percentile(delivered.waits_s, 0.99):.1f} s,"
        f" longest {max(delivered.waits_s):.1f} s; refused {delivered.refused or 'none'}"
    )
    if delivered.unanswered:
        yield f"{len(delivered.unanswered)} clips without an answer"
    permanent = delivered.refused.keys() - {"deferred", "unavailable"}
    if permanent:
        yield f"refused for good: {permanent}"
    figures, faults = count(stage, before | delivered.stored)
    say(figures)
    if len(delivered.stored) != clips:
        yield f"{len(delivered.stored)} of {clips} clips were acknowledged"
    yield from faults


def hung(stage: Stage, say: Say, clips: int) -> Iterator[str]:
    """Deliver clips while one archive is stopped and its connections stay open."""
    before = stage.rows()
    speakers = stage.launch(clips, per_s=20.0)
    stage.archives[0].send_signal(signal.SIGSTOP)
    try:
        for one in speakers:
            one.go()
        delivered = collect(speakers)
    finally:
        stage.archives[0].send_signal(signal.SIGCONT)
    p99_s = percentile(delivered.waits_s, 0.99)
    say(
        f"one of {ARCHIVES} archives hangs (SIGSTOP), {clips} clips at 20 a second: answer after"
        f" p50 {percentile(delivered.waits_s, 0.5):.2f} s, p99 {p99_s:.2f} s,"
        f" longest {max(delivered.waits_s):.2f} s; refused {delivered.refused or 'none'}"
    )
    stage.archives[0].wait_ready()
    time.sleep(3)  # what it held arrives a second time
    figures, faults = count(stage, before | delivered.stored)
    say(figures)
    if p99_s >= HUNG_P99_S:
        yield f"p99 is {p99_s:.1f} s"
    yield from faults


def throughput(stage: Stage, say: Say, clips: int) -> Iterator[str]:
    """Deliver clips as fast as they are answered, and measure the processor time of each part."""
    before = stage.rows()
    # So many that each has its answer before it publishes again, at the rate that is demanded.
    speakers = stage.launch(clips, clip_bytes=30_000, speakers=300)
    parts: dict[str, Callable[[], float]] = {
        "archives": lambda: sum(one.live_cpu_s() for one in stage.archives),
        "database": lambda: tree_cpu_s(stage.postgres.process_id),
        "object store": lambda: cpu_s(stage.seaweed.process_id),
        "brokers": lambda: sum(cpu_s(one.process_id) for one in stage.brokers),
    }
    rest = {name: read() for name, read in parts.items()}
    time.sleep(_REST_S)
    begun = {name: read() for name, read in parts.items()}
    for one in speakers:
        one.go()
    delivered = collect(speakers)
    # Without what the processes need without a clip.
    used = {
        name: 1000
        * (read() - begun[name] - (begun[name] - rest[name]) * delivered.took_s / _REST_S)
        / clips
        for name, read in parts.items()
    }
    rate = clips / delivered.took_s
    listed = ", ".join(f"{name} {number:.2f} ms" for name, number in used.items())
    say(
        f"{clips} clips of 30 kB in {delivered.took_s:.1f} s: {rate:.0f} a second; answer after"
        f" p50 {percentile(delivered.waits_s, 0.5):.2f} s,"
        f" p99 {percentile(delivered.waits_s, 0.99):.2f} s"
    )
    own = 1000 * delivered.cpu_s / clips
    say(f"processor time of a clip: {listed}; the simulated speakers {own:.2f} ms")
    figures, faults = count(stage, before | delivered.stored)
    say(figures)
    stage.clip_ms = servers = sum(used.values())
    two_cores = 2 * 1000 / servers
    say(f"two cores beside the speakers: {two_cores:.0f} clips a second by processor time")
    if max(rate, two_cores) < LEAST_PER_S:
        yield f"{rate:.0f} clips a second, {two_cores:.0f} by processor time"
    yield from faults


def erased(stage: Stage, say: Say, clips: int) -> Iterator[str]:
    """Let an owner erase everything while every clip of theirs is delivered a second time.

    At the order, most clips were not stored once: they wait at their speakers and in the brokers.
    """
    owner = stage.owners[0]
    others = _count_others(stage, owner)
    speakers = stage.launch(clips, owners=[owner], resend_all=True)
    for one in speakers:
        one.go()
    while any(one.answered < one.clips * 0.3 for one in speakers):
        time.sleep(0.05)
    client = stage.client(owner, 1)
    answered = sum(one.answered for one in speakers)
    receipt = client.request_raw(ask(client, "erase", all=True))
    delivered = collect(speakers)
    left = stage.rows(owner)
    objects = stage.fleet.keys(f"clips/{owner.name}/")
    say(
        f"erased everything after {answered} answers to {clips} clips, each delivered twice:"
        f" receipt of {len(receipt)} bytes, {len(delivered.stored)} had been stored,"
        f" {delivered.refused.get('erased', 0)} deliveries answered as erased,"
        f" {delivered.refused.get('deferred', 0)} as undecided;"
        f" {len(left)} rows and {len(objects)} objects of the owner are left"
    )
    if left or objects:
        yield f"{len(left)} rows and {len(objects)} objects came back"
    if delivered.unanswered:
        yield f"{len(delivered.unanswered)} clips without an answer"
    if delivered.refused.get("erased", 0) < clips:
        yield f"only {delivered.refused.get('erased', 0)} deliveries were answered as erased"
    if others != _count_others(stage, owner):
        yield "clips of other owners changed"


def _count_others(stage: Stage, owner: SimulatedOwner) -> int:
    query = "select count(*) from clip where owner != %s"
    return int(stage.fleet.ask(query, (owner.name,))[0][0])


def swept(stage: Stage, say: Say, clips: int) -> Iterator[str]:
    """Let two archives expire the same clips at once."""
    owner = stage.owners[1]
    speakers = stage.launch(clips, owners=[owner], ttl_s=86_400)
    for one in speakers:
        one.go()
    delivered = collect(speakers)
    due_s = int(time.time()) + 86_400 * 2
    # Those of the other scenes, too. The rows and objects of `large` are kept longer.
    due = {clip for (clip,) in stage.fleet.ask(_DUE, (due_s,))}
    stores = [stage.fleet.open(f"sweep-{number}") for number in (1, 2)]
    stops = threading.Barrier(len(stores))

    def sweep(store: FleetStore) -> int:
        stops.wait()
        return store.expire(due_s)

    with ThreadPoolExecutor() as pool:
        counts = list(pool.map(sweep, stores))
    left = len(stage.fleet.ask(_DUE, (due_s,)))
    (tombstones,) = stage.fleet.ask(
        "select count(*) from clip where owner is null and clip = any(%s)", (list(due),)
    )[0]
    objects = due.intersection(stage.objects())
    say(
        f"two sweeps at once: {counts} clips expired, of {len(due)}; {left} left,"
        f" {tombstones} tombstones, {len(objects)} objects"
    )
    if sum(counts) != len(due) or left or tombstones != len(due):
        yield f"{sum(counts)} clips were expired, of {len(due)}; {tombstones} tombstones"
    if not delivered.stored.keys() <= due:
        yield f"{len(delivered.stored.keys() - due)} clips were not due"
    if objects:
        yield f"{len(objects)} objects are left after the sweeps"


def redeemed(stage: Stage, say: Say) -> Iterator[str]:
    """Answer a ticket of one archive at another, twice, and at two at once."""
    outcomes = []
    for owner in stage.owners[2:6]:
        asked, *answered = [_address(stage, number) for number in range(ARCHIVES)]
        ticket, answer = _ticket(asked, owner)
        with ThreadPoolExecutor() as pool:
            at_once = list(pool.map(partial(_answer, ticket=ticket, answer=answer), answered))
        outcomes.append((sorted(at_once), _answer(asked, ticket, answer)))
    say(f"a ticket of one archive answered at two others at once, then at its own: {outcomes}")
    if any(one != ([200, 404], 404) for one in outcomes):
        yield f"a ticket was answered {outcomes}"


def _address(stage: Stage, number: int) -> HttpClient:
    return HttpClient(parse_address(str(stage.archives[number].socket), None))


def _ticket(client: HttpClient, owner: SimulatedOwner) -> tuple[str, bytes]:
    body = msgspec.json.encode({"owner": owner.name, "request": {"op": "list"}})
    with client.request("/v1/tickets", body, "application/json") as reply:
        fields = msgspec.json.decode(reply.body())
    identity = pyrage.x25519.Identity.from_str(owner.identity)
    return fields["ticket"], bytes(pyrage.decrypt(fields["challenge"].encode(), [identity]))


def _answer(client: HttpClient, ticket: str, answer: bytes) -> int:
    with client.request(f"/v1/tickets/{ticket}", answer, "text/plain") as reply:
        return reply.status


def restored(stage: Stage, say: Say, clips: int) -> Iterator[str]:
    """Put the database of before an erasure back: what was erased is not served."""
    owner = stage.owners[7]
    speakers = stage.launch(clips, owners=[owner])
    for one in speakers:
        one.go()
    delivered = collect(speakers)
    for archive in stage.archives:
        archive.stop()
    stage.postgres.stop()
    copy = stage.postgres.data.with_name("yesterday")
    subprocess.run(["cp", "-a", str(stage.postgres.data), str(copy)], check=True)
    stage.postgres.start()
    stage.start_archives()
    client = stage.client(owner)
    client.request_raw(ask(client, "erase", all=True))
    for archive in stage.archives:
        archive.stop()
    stage.postgres.stop()
    shutil.rmtree(stage.postgres.data)
    copy.rename(stage.postgres.data)
    stage.postgres.start()
    stage.start_archives()
    served = []
    for number in range(ARCHIVES):
        client = stage.client(owner, number)
        for clip in list(delivered.stored)[:20]:
            with contextlib.suppress(EarmarkError):
                client.get_envelope(clip)
                served.append(clip)
    rows = stage.rows(owner)
    say(
        f"the database of before the erasure of {quantity(len(delivered.stored), 'clip')} put back:"
        f" {len(served)} served, {len(rows)} rows of the owner"
    )
    if served or rows:
        yield f"{len(served)} erased clips are served again, {len(rows)} have rows"
    again = stage.fleet.keys(f"clips/{owner.name}/")
    if again:
        yield f"{len(again)} objects of erased clips"


def large(stage: Stage, say: Say, rows: int, objects: int) -> Iterator[str]:
    """List and repair with many rows and objects, while clips arrive."""
    owners = [f"crowd-{number}" for number in range(200)]
    stage.fleet.ask(
        "insert into clip (clip, owner, device, dkey, seq, t, ttl_s, size_bytes, sha256,"  # noqa: S608 - a number of its own
        " ciphertext_sha256, received_s, expires_s, code, instance, start)"
        " select gen_random_uuid()::text, 'crowd-' || n % 200, 'speaker-' || n % 50, 'crowd', n,"
        " to_char(timestamp '2026-01-01' + n * interval '1 second',"
        ' \'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"\'), 86400, 100,'
        " md5(n::text) || md5(n::text), md5('c' || n) || md5('c' || n), 1, 4102444800, '', '', 0"
        f" from generate_series(1, {rows}) as n"
    )
    stage.fleet.ask("analyze clip")
    store = stage.fleet.open("list")
    waits_s = []
    for number in range(200):
        begun_s = time.monotonic()
        page = store.page(owners[number], ("", "A"), limit=100)
        waits_s.append(time.monotonic() - begun_s)
        if len(page) != 100:
            yield f"a page had {len(page)} clips"
    p95_s = percentile(waits_s, 0.95)
    say(
        f"{rows:,} rows: a page of 100 clips takes p50 {1000 * percentile(waits_s, 0.5):.1f} ms,"
        f" p95 {1000 * p95_s:.1f} ms"
    )
    if p95_s > LIST_P95_S:
        yield f"the list takes {1000 * p95_s:.0f} ms at p95"
    yield from _repair(stage, say, objects)


def _repair(stage: Stage, say: Say, objects: int) -> Iterator[str]:
    """Repair with a tenth of the objects, then with all, while clips arrive."""
    first = _fill(stage, 0, objects // 10)
    time.sleep(_GRACE_S)
    small = _run_repair(stage)
    _fill(stage, first, objects)
    time.sleep(_GRACE_S)
    speakers = stage.launch(200, per_s=10.0)
    for one in speakers:
        one.go()
    begun_s = time.monotonic()
    whole = _run_repair(stage)
    delivered = collect(speakers)
    growth = whole.peak_bytes - small.peak_bytes
    say(
        f"repair of {objects:,} objects: {whole.took_s:.0f} s, processor time {whole.cpu_s:.0f} s,"
        f" at most {whole.most_rows} rows in a statement; memory {small.peak_bytes / (1 << 20):.1f}"
        f" MiB at {objects // 10:,} objects, {growth / (1 << 20):+.2f} MiB at {objects:,}"
    )
    say(
        f"meanwhile {len(delivered.stored)} of 200 clips were stored, answered after p99"
        f" {percentile(delivered.waits_s, 0.99):.2f} s"
        f" ({time.monotonic() - begun_s:.0f} s in all)"
    )
    if whole.most_rows < MOST_ROWS < objects:
        yield f"at most {whole.most_rows} objects were compared at once"
    if whole.most_rows > MOST_ROWS or small.most_rows > MOST_ROWS:
        yield f"a statement had {max(whole.most_rows, small.most_rows)} rows"
    if growth >= MOST_GROWTH_BYTES:
        yield f"memory grew by {growth} bytes"
    if delivered.unanswered or len(delivered.stored) != 200:
        yield f"{len(delivered.stored)} of 200 clips were stored during the repair"
    if whole.created or small.created:
        yield f"{whole.created + small.created} rows were created for objects that had one"


def _fill(stage: Stage, first: int, until: int) -> int:
    """Store small objects with their rows; return the number of the next."""
    mac = stage.fleet.row_mac or RowMac()
    now_s = int(time.time())
    records = [
        ClipRecord(
            clip=str(uuid.UUID(int=number + 1)),
            owner=f"heap-{number % 100}",
            device="heap",
            seq=number + 1,
            t="2026-01-01T00:00:00.000Z",
            ttl_s=86_400 * 3650,
            size_bytes=100,
            received_s=now_s,
            expires_s=now_s + 86_400 * 3650,
        )
        for number in range(first, until)
    ]
    with ThreadPoolExecutor(16) as pool:
        list(
            pool.map(
                lambda one: stage.fleet.blobs.put_new(one.owner, one.clip, bytes(100)), records
            )
        )
    columns = "clip, owner, device, seq, t, ttl_s, size_bytes, received_s, expires_s, code"
    with (
        psycopg.connect(stage.fleet.url) as connection,
        connection.cursor().copy(
            f"copy clip ({columns}, sha256, ciphertext_sha256, dkey, instance, start) from stdin"
        ) as copy,
    ):
        for one in records:
            digest = hashlib.sha256(one.clip.encode()).hexdigest()
            values = (one.clip, one.owner, one.device, one.seq, one.t, one.ttl_s, one.size_bytes)
            ends = (one.received_s, one.expires_s, mac.compute(one))
            copy.write_row((*values, *ends, digest, digest, "heap", "", 0))
    return until


def _run_repair(stage: Stage) -> RepairFigures:
    plan = RepairPlan(
        database=stage.fleet.url,
        objects=stage.objects_url,
        environment=stage.seaweed.environment,
        grace_s=_GRACE_S,
        key=Home(stage.folder / "base").archive_key().private_bytes_raw().hex(),
    )
    done = subprocess.run(
        [sys.executable, "-m", "tests.fleet.repair"],
        input=msgspec.json.encode(plan),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")[-3000:]
    return msgspec.json.decode(done.stdout, type=RepairFigures)
