"""Whether everything adds up: the counters, the clips and the memory."""

import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import soundfile

from benchmarks.soak.tape import Tape
from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.envelope.open import open_envelope, parse_identities
from listener.ipc.notices import Tally
from listener.storage.home import Home

HOUR_S: Final = 3_600
MOST_GROWTH_BYTES: Final = 2 << 20


@dataclass(slots=True)
class Accounts:
    """What was seen of one run."""

    tallies: int = 0
    """How many counters were read."""
    wrong: list[str] = field(default_factory=list)
    """What did not add up."""
    last: Tally | None = None
    memory: list[tuple[float, int]] = field(default_factory=list)
    """Seconds of sound heard, and bytes of hear in memory then."""

    def count(self, tally: Tally, rss_bytes: int) -> None:
        """Take in counters and memory of one moment."""
        self.tallies += 1
        self.last = tally
        told = tally.discarded_samples + tally.sealed_samples + tally.held_samples
        if tally.heard_samples != told:
            self.wrong.append(f"heard {tally.heard_samples} and accounted for {told}")
        if tally.lost:
            self.wrong.append(f"{tally.lost} sealed clips were lost")
        if rss_bytes:
            self.memory.append((tally.heard_samples / SAMPLE_RATE_HZ, rss_bytes))

    @property
    def heard_s(self) -> float:
        """How much sound was heard."""
        return 0.0 if self.last is None else self.last.heard_samples / SAMPLE_RATE_HZ

    def growth_bytes(self, settled_s: float = HOUR_S) -> int:
        """Return by how much the peak rose after ``settled_s`` seconds of sound."""
        before = [rss for heard_s, rss in self.memory if heard_s <= settled_s]
        after = [rss for heard_s, rss in self.memory if heard_s > settled_s]
        return max(after) - max(before) if before and after else 0

    def peaks(self, every_s: float = HOUR_S) -> list[int]:
        """Return the most memory in each stretch of ``every_s`` seconds of sound, in bytes."""
        most: dict[int, int] = {}
        for heard_s, rss in self.memory:
            stretch = int(heard_s // every_s)
            most[stretch] = max(most.get(stretch, 0), rss)
        return [most[stretch] for stretch in sorted(most)]


def check_end(events: Sequence[dict[str, Any]], archived: Iterable[str]) -> list[str]:
    """Return what is wrong between what hear printed and what the archive has.

    Args:
        events: hear's lines, from its start to its end.
        archived: the ids of the clips that the archive lists.
    """
    wrong = []
    sealed = [event for event in events if event["event"] == "sealed"]
    ended = events[-1]
    if ended["event"] != "ended":
        return [f"hear's last word was {ended['event']}"]
    if _samples(ended["heard_s"]) != _samples(ended["discarded_s"]) + _samples(ended["sealed_s"]):
        wrong.append(f"heard {ended['heard_s']} is not discarded and sealed: {ended}")
    ids = [event["clip"] for event in sealed]
    if len(ids) != ended["sealed"] or len(set(ids)) != len(ids):
        wrong.append(f"{ended['sealed']} clips were counted and {len(ids)} told")
    there = list(archived)
    if sorted(there) != sorted(ids):
        missing, extra = set(ids) - set(there), set(there) - set(ids)
        wrong.append(f"of {len(ids)} sealed clips {len(missing)} are lost, {len(extra)} are extra")
    places = _union((_samples(e["time_s"]), _samples(e["length_s"])) for e in sealed)
    if places != _samples(ended["sealed_s"]):
        wrong.append(f"the clips cover {places} samples, counted were {ended['sealed_s']} s")
    bad = ("lost", "unattributed", "broken")
    return wrong + [f"{ended[name]} {name}" for name in bad if ended[name]]


def check_sound(home: Home, files: Iterable[Path], identity: str, tape: Tape) -> list[str]:
    """Open every envelope; return what is wrong: a clip must be on the tape in one piece.

    Args:
        home: whose roster knows device and owner.
        files: the envelopes.
        identity: the owner's private key.
        tape: what was heard.
    """
    wrong = []
    roster = home.roster()
    identities = parse_identities(identity.encode(), "the owner's")
    for file in files:
        opened = open_envelope(
            file.read_bytes(), identities, roster.device_keys(), roster.active_owners()
        )
        samples, _ = soundfile.read(io.BytesIO(opened.flac), dtype="int16")
        if not tape.has_in_one_piece(samples):
            wrong.append(f"clip {opened.header.seq} is not in one piece on the tape")
    return wrong


def read_events(path: Path) -> list[dict[str, Any]]:
    """Return what hear printed with --json."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def table(accounts: Accounts, say: Callable[[str], None]) -> None:
    """Say how much memory there was in each hour of sound."""
    for hour, peak in enumerate(accounts.peaks(), 1):
        say(f"hour {hour}: hear at most {peak / (1 << 20):.2f} MiB")


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE_HZ)


def _union(places: Iterable[tuple[int, int]]) -> int:
    """Return how many samples lie in at least one of the places, each a first and a length."""
    total = reached = 0
    for first, length in sorted(places):
        end = first + length
        total += max(0, end - max(first, reached))
        reached = max(reached, end)
    return total
