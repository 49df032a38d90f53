"""Checks of a run: counters, clips and memory."""

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
    """Counters and memory of one run."""

    tallies: int = 0
    """Number of counters read."""
    wrong: list[str] = field(default_factory=list)
    """Failed checks."""
    last: Tally | None = None
    memory: list[tuple[float, int]] = field(default_factory=list)
    """Seconds of audio heard, and resident memory of hear in bytes at that time."""

    def count(self, tally: Tally, rss_bytes: int) -> None:
        """Add and check the counters, and add the memory."""
        self.tallies += 1
        self.last = tally
        accounted = tally.discarded_samples + tally.sealed_samples + tally.held_samples
        if tally.heard_samples != accounted:
            self.wrong.append(f"heard {tally.heard_samples} and accounted for {accounted}")
        if tally.lost:
            self.wrong.append(f"{tally.lost} sealed clips were lost")
        if rss_bytes:
            self.memory.append((tally.heard_samples / SAMPLE_RATE_HZ, rss_bytes))

    @property
    def heard_s(self) -> float:
        """Seconds of audio heard."""
        return 0.0 if self.last is None else self.last.heard_samples / SAMPLE_RATE_HZ

    @property
    def sealed_s(self) -> float:
        """Seconds of audio in encrypted clips."""
        return 0.0 if self.last is None else self.last.sealed_samples / SAMPLE_RATE_HZ

    def growth_bytes(self, settled_s: float = HOUR_S) -> int:
        """Return the growth of the peak after ``settled_s`` seconds of audio, in bytes."""
        before = [rss for heard_s, rss in self.memory if heard_s <= settled_s]
        after = [rss for heard_s, rss in self.memory if heard_s > settled_s]
        return max(after) - max(before) if before and after else 0

    def peaks(self, every_s: float = HOUR_S) -> list[int]:
        """Return the peak memory of each ``every_s`` seconds of audio, in bytes."""
        most: dict[int, int] = {}
        for heard_s, rss in self.memory:
            stretch = int(heard_s // every_s)
            most[stretch] = max(most.get(stretch, 0), rss)
        return [most[stretch] for stretch in sorted(most)]


def check_end(events: Sequence[dict[str, Any]], archived: Iterable[str]) -> list[str]:
    """Compare hear's events with the clips of the archive; return the failed checks.

    Args:
        events: events of hear, from its start to its end.
        archived: ids of the clips in the archive.
    """
    wrong = []
    sealed = [event for event in events if event["event"] == "sealed"]
    ended = events[-1]
    if ended["event"] != "ended":
        return [f"hear's last event was {ended['event']}"]
    if _samples(ended["heard_s"]) != _samples(ended["discarded_s"]) + _samples(ended["sealed_s"]):
        wrong.append(f"heard {ended['heard_s']} is not discarded and sealed: {ended}")
    ids = [event["clip"] for event in sealed]
    if len(ids) != ended["sealed"] or len(set(ids)) != len(ids):
        wrong.append(f"{ended['sealed']} clips were counted and {len(ids)} reported")
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
    """Open every envelope, and compare each clip with the tape; return the failed checks.

    Args:
        home: data directory with the roster.
        files: the envelopes.
        identity: the owner's private key.
        tape: the audio that was played.
    """
    wrong = []
    roster = home.roster()
    identities = parse_identities(identity.encode(), "the owner's")
    for file in files:
        opened = open_envelope(
            file.read_bytes(), identities, roster.device_keys(), roster.active_owners()
        )
        samples, _ = soundfile.read(io.BytesIO(opened.flac), dtype="int16")
        if not tape.contains(samples):
            wrong.append(f"clip {opened.header.seq} is not a contiguous part of the tape")
    return wrong


def read_events(path: Path) -> list[dict[str, Any]]:
    """Return the events that hear printed with --json."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def table(accounts: Accounts, say: Callable[[str], None]) -> None:
    """Print the peak memory of each hour of audio."""
    for hour, peak in enumerate(accounts.peaks(), 1):
        say(f"hour {hour}: hear at most {peak / (1 << 20):.2f} MiB")


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE_HZ)


def _union(places: Iterable[tuple[int, int]]) -> int:
    """Return the samples in the union of intervals, each a first sample and a length."""
    total = reached = 0
    for first, length in sorted(places):
        end = first + length
        total += max(0, end - max(first, reached))
        reached = max(reached, end)
    return total
