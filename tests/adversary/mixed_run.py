"""The mixed run: attacks of every kind while clips are sealed, then the oracle's verdict."""

import contextlib
import json
import math
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyrage

from benchmarks.soak.cast import until
from listener.archive.owner_state import ORDERS
from listener.clips.http import parse_address
from listener.digests import sha256
from listener.envelope import format as form
from listener.envelope.verify import verify
from listener.errors import BadEnvelope, EarmarkError, SpoolFull
from listener.storage.locations import ARCHIVE_LOCATIONS, SPEAKER_LOCATIONS, find_location
from tests.adversary.attacks import Attacks
from tests.adversary.machines import BATH, HALL, OWNERS, Machines
from tests.adversary.oracle import Observed, Oracle, StoredFile
from tests.adversary.request_load import OwnerClient, RequestFailed
from tests.adversary.vitals import MIB, Limits, Vitals, read_sample

_TURN_S: Final = 0.05
_SAMPLE_S: Final = 0.5
_SAY_S: Final = 15.0
_SETTLE_S: Final = 120.0
MOST_CLIPS: Final = 450
_LONG_S: Final = 120.0
"""From this duration on, the growth of memory is judged; restarts dominate shorter runs."""
LIMITS: Final = {
    "broker": Limits(rss_bytes=64 * MIB, log_bytes_per_s=20_000),
    "archive": Limits(rss_bytes=128 * MIB, log_bytes_per_s=20_000),
    "send of hall": Limits(rss_bytes=64 * MIB),
    "send of bath": Limits(rss_bytes=64 * MIB, log_bytes_per_s=4_000),
    "hear": Limits(rss_bytes=128 * MIB),
}
"""libfaketime and coverage are part of the memory. The broker logs each connection, and the archive
each envelope that it refuses; a flood of either is judged by the floods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedPlan:
    """Settings of a mixed run."""

    seconds: float
    seed: int
    pause_s: float = 1.5
    """Mean time between two attacks."""
    clip_s: float = 0.25
    """Mean time between two clips of ``bath``."""
    order_s: float = 5.0
    """Mean time between two requests of the owners."""
    speed: float = 8.0
    """Speed of the simulated sound card; 0 for a run without hear."""
    has_disks: bool = False
    """Whether disks are filled; the process must be allowed to mount."""


@dataclass(slots=True)
class MixedResult:
    """Result of a mixed run."""

    faults: list[str]
    attacks: Counter[str]
    counts: Counter[str] = field(default_factory=Counter)
    """Clips by outcome, and requests."""
    starts: dict[str, int] = field(default_factory=dict)
    """Number of starts of each process."""
    vitals: list[Vitals] = field(default_factory=list)


def run_mixed(folder: Path, plan: MixedPlan, say: Callable[[str], None]) -> MixedResult:
    """Run all attacks, repair everything, and judge every clip.

    Args:
        folder: an empty folder.
        plan: settings of the run.
        say: called with each line of progress.

    Raises:
        Unavailable: a program that is needed is not installed, or a process does not recover.
    """
    machines = Machines(folder, seed=plan.seed, speed=plan.speed, has_disks=plan.has_disks)
    with closing(machines):
        return _MixedRun(machines, plan, say).run()


class _MixedRun:
    """One run. For one thread."""

    def __init__(self, machines: Machines, plan: MixedPlan, say: Callable[[str], None]) -> None:
        self._machines = machines
        self._plan = plan
        self._say = say
        self._random = random.Random(plan.seed ^ 0x5EED)
        self._attacks = Attacks(machines, seed=plan.seed, pause_s=plan.pause_s)
        self._oracle = Oracle()
        self._vitals = {name: Vitals(name) for name in machines.actors()}
        self._sealing = machines.sealing()
        self._requests: Counter[str] = Counter()
        self._began_s = time.monotonic()
        self._faults: list[str] = []
        # An archive may limit the clips of one device in an hour.
        self._clip_s = max(plan.clip_s, plan.seconds / MOST_CLIPS)

    def run(self) -> MixedResult:
        self._machines.start()
        self._began_s = began_s = time.monotonic()
        clip_s = order_s = sample_s = 0.0
        said_s = _SAY_S
        while (now_s := time.monotonic() - began_s) < self._plan.seconds:
            self._attacks.turn()
            if now_s >= clip_s:
                clip_s = now_s + self._random.uniform(0.2, 1.8) * self._clip_s
                self._seal()
            if now_s >= order_s:
                order_s = now_s + self._random.uniform(0.5, 1.5) * self._plan.order_s
                self._order()
            if now_s >= sample_s:
                sample_s = now_s + _SAMPLE_S
                self._sample()
            if now_s >= said_s:
                said_s = now_s + _SAY_S
                attacks = self._attacks.happened.total()
                self._say(f"{now_s:.0f} s: {attacks} attacks, {len(self._oracle.sealed)} clips")
            time.sleep(_TURN_S)
        self._attacks.repair()
        self._settle()
        return self._judge()

    def _seal(self) -> None:
        """Seal a clip of ``bath`` by its clock and put it into its spool."""
        bath = self._machines.bath
        owner = self._random.choice(OWNERS)
        at = datetime.fromtimestamp(time.time() + bath.offset_s, UTC)
        # The sequence numbers are the run's own: a full disk would stop the file's counter.
        seq = len(self._oracle.sealed) + self._oracle.refused.total() + 1
        header = self._sealing.header(
            seq, owner, device=BATH, t=form.format_timestamp(at), ttl_s=30 * 86_400
        )
        data = self._sealing.seal(header)
        sealed_s = time.monotonic()
        try:
            bath.spool.put(header.clip, owner, seq, data)
        except SpoolFull:
            self._oracle.refuse(BATH)
        else:
            self._oracle.seal(header.clip, owner, BATH, sha256(data).hex(), sealed_s)

    def _order(self) -> None:
        """Let an owner list or export, or bob erase all of their clips."""
        op = self._random.choice(("list", "export", "erase"))
        owner = "bob" if op == "erase" else self._random.choice(OWNERS)
        client = self._client(owner, patience_s=3.0)
        delivered = self._oracle.sealed_since_order(owner)
        for speaker in self._machines.speakers.values():
            delivered -= speaker.waiting() | speaker.set_aside()
        try:
            if op == "erase":
                receipt = json.loads(client.ask("erase", all=True))["receipt"]
                self._oracle.erase(owner, time.monotonic(), receipt["clips"], delivered)
            else:
                client.ask(op)
            self._requests[f"{op} served"] += 1
        except RequestFailed:
            self._requests[f"{op} disturbed"] += 1
            if op == "erase":
                self._oracle.erase(owner, time.monotonic())  # it may be carried out all the same

    def _sample(self) -> None:
        for name, actor in self._machines.actors().items():
            if actor.is_running:
                err = self._machines.folder.glob(f"*/{name.split()[0]}.err")
                at_s = time.monotonic() - self._began_s
                self._vitals[name].add(read_sample(actor.pid, at_s, err))

    def _client(self, owner: str, patience_s: float = 30.0) -> OwnerClient:
        address = parse_address(str(self._machines.socket), None)
        return OwnerClient(address, owner, self._machines.identities[owner], patience_s)

    def _settle(self) -> None:
        """Wait until every machine has recovered and every spool is empty."""
        machines = self._machines
        if machines.has_hear:
            self._end_hear()
        until(lambda: _answers(self._client("ada")), "the archive answers", _SETTLE_S)
        for speaker in machines.speakers.values():
            until(speaker.is_sending, f"send of {speaker.name} runs", _SETTLE_S)
            self._wait_for_empty_spool(speaker.name)
            if aside := speaker.set_aside():
                self._requests["clips set aside and delivered later"] += len(aside)
                speaker.spool.restore()
                self._wait_for_empty_spool(speaker.name)

    def _end_hear(self) -> None:
        """End hear once it listens: before, SIGTERM has no handler."""
        until(self._machines.is_hear_started, "hear listens", _SETTLE_S)
        code = self._machines.hear.end(signal.SIGTERM)
        if code != 0:
            self._faults.append(f"hear exited with code {code}")

    def _wait_for_empty_spool(self, name: str) -> None:
        speaker = self._machines.speakers[name]
        with contextlib.suppress(EarmarkError):  # what waits is a fault of the oracle
            until(lambda: not speaker.spool.waiting(), f"{name}'s spool is empty", _SETTLE_S)

    def _judge(self) -> MixedResult:
        machines = self._machines
        listed = {owner: self._client(owner).clips() for owner in OWNERS}
        starts = {name: actor.lives for name, actor in machines.actors().items()}
        codes = machines.stop()
        faults = self._faults + [
            f"{name} exited with code {code}" for name, code in codes.items() if code
        ]
        files = dict(_stored(machines.archive_home.path))
        faults += self._adopt_clips_of_hear(files)
        seen = self._observe(files, listed)
        faults += self._oracle.judge(seen)
        if "Traceback" in (messages := machines.messages()):
            faults.append("a traceback: " + messages.partition("Traceback")[2][-400:])
        for name, vitals in self._vitals.items():
            limits = LIMITS[name]
            found = vitals.judge(limits)
            is_long = self._plan.seconds >= _LONG_S
            faults += [fault for fault in found if is_long or "grew by" not in fault]
        counts = Counter(self._requests)
        counts["clips sealed"] = len(self._oracle.sealed)
        counts["clips sealed by hear"] = sum(
            sealed.device == HALL for sealed in self._oracle.sealed.values()
        )
        counts["clips at the archive"] = len(seen.files)
        counts["clips erased"] = len({c for order in self._oracle.orders for c in order.clips})
        counts["envelopes refused as erased"] = machines.messages().count("envelope (erased)")
        counts["clips refused by a full disk"] = self._oracle.refused.total()
        return MixedResult(
            faults, self._attacks.happened, counts, starts, list(self._vitals.values())
        )

    def _adopt_clips_of_hear(self, files: dict[Path, bytes]) -> list[str]:
        """Add the clips that hear sealed; a kill may come between a clip and its event."""
        path = self._machines.hear_events
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        reported = {event["clip"] for event in map(_event, lines) if event.get("event") == "sealed"}
        there = {}
        for file, data in files.items():
            with contextlib.suppress(BadEnvelope):
                if form.parse_envelope(data).header.device == HALL:
                    there[file.stem] = sha256(data).hex()
        for clip in reported | there.keys():
            # Its signature is verified below: a clip that is there as it was sealed has its hash.
            self._oracle.seal(clip, "ada", HALL, there.get(clip, "not stored"), math.inf)
        if (more := len(there.keys() - reported)) > self._attacks.hear_kills:
            return [f"{more} clips of hear without an event, {self._attacks.hear_kills} kills"]
        return []

    def _observe(self, files: dict[Path, bytes], listed: dict[str, list[str]]) -> Observed:
        machines = self._machines
        roster = machines.archive_home.roster()
        unopened, opened_by_another = [], 0
        for file, data in files.items():
            owner = file.parent.name
            try:
                envelope = verify(data, roster.device_keys(), roster.owner_keys())
            except BadEnvelope:
                unopened.append(file.stem)
                continue
            for name, secret in machines.identities.items():
                is_opened = _opens(envelope.ciphertext, secret)
                if name == owner and not is_opened:
                    unopened.append(file.stem)
                opened_by_another += name != owner and is_opened
        speakers = machines.speakers
        homes = [machines.archive_home.path, *(one.home.path for one in speakers.values())]
        return Observed(
            files=[
                StoredFile(file.stem, file.parent.name, sha256(data).hex())
                for file, data in files.items()
            ],
            listed=listed,
            set_aside={name: one.set_aside() for name, one in speakers.items()},
            waiting={name: one.waiting() for name, one in speakers.items()},
            counts={name: one.counts() for name, one in speakers.items()},
            part_files=[name for home in homes for name in _left_parts(home)],
            opened_by_another=opened_by_another,
            unopened=unopened,
            tombstones=_tombstones(machines.archive_home.path),
        )


def _stored(home: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield the envelopes of the archive, whichever folder they are in."""
    for path in sorted((home / "archive").rglob("*.earmark")):
        yield path, path.read_bytes()


def _left_parts(home: Path) -> Iterator[str]:
    """Yield the names of temporary files that a killed process may not leave.

    It may leave one that has nothing of a clip and that the next write replaces.
    """
    for path in home.rglob("*.part"):
        place = str(path.relative_to(home))
        known = find_location(place, ARCHIVE_LOCATIONS + SPEAKER_LOCATIONS)
        if known is None or known.content != "none":
            yield path.name


def _tombstones(home: Path) -> frozenset[str]:
    """Return the ids of the clips that the archive has recorded as erased."""
    with closing(sqlite3.connect(home / ORDERS)) as connection:
        return frozenset(clip for (clip,) in connection.execute("select clip from tombstone"))


def _answers(client: OwnerClient) -> bool:
    try:
        client.ask("list")
    except RequestFailed:
        return False
    return True


def _event(line: str) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(line)
    except ValueError:  # the last line before a kill may be cut
        return {}
    return found


def _opens(ciphertext: bytes, secret: str) -> bool:
    try:
        pyrage.decrypt(ciphertext, [pyrage.x25519.Identity.from_str(secret)])
    except pyrage.DecryptError:
        return False
    return True
