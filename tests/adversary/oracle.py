"""The oracle of the mixed run: accounts for every sealed clip. Pure.

A sealed clip is at the archive exactly once and to the byte, or erased by its owner's order, or
counted in a counter of its speaker's status. Everything else is a fault.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

UNCERTAIN_S = 10.0
"""Time after an order in which a clip that was sealed may be erased: the archive cannot tell that
it is later (``owner_state.MOST_DOUBT_S``), or carries out an order after its client has gone."""
COUNTED_LOSSES = ("dropped", "expired")
"""Counters of a spool, in the status of its speaker, that account for a clip that is gone. A clip
that was erased on arrival needs an order that came after it, and not a counter."""


@dataclass(frozen=True, slots=True)
class SealedClip:
    """A clip that a spool has stored durably."""

    clip: str
    """Id of the clip."""
    owner: str
    device: str
    sha256: str
    """SHA-256 of the envelope in hexadecimal."""
    order: int
    """Position among all events of the run, from 0."""
    at_s: float
    """Time at which it was sealed, in seconds."""


@dataclass(frozen=True, slots=True)
class ErasureOrder:
    """An order of an owner to erase all of their clips, confirmed by a receipt."""

    owner: str
    order: int
    """Position among all events of the run at which the receipt arrived."""
    at_s: float
    """Time at which the receipt arrived, or the client waited no longer, in seconds."""
    clips: frozenset[str]
    """Ids that the receipt names."""
    delivered: frozenset[str] = frozenset()
    """Ids sealed after the owner's last order and acknowledged before this one."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An envelope in the archive's folder."""

    clip: str
    owner: str
    """Name of the folder."""
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """State of all machines after the run, when the spools are empty."""

    files: Sequence[StoredFile]
    """Envelopes of the archive."""
    listed: Mapping[str, Sequence[str]]
    """Ids that the archive lists for each owner with proof of their key."""
    set_aside: Mapping[str, frozenset[str]]
    """Ids in the quarantine of each speaker's spool."""
    waiting: Mapping[str, frozenset[str]]
    """Ids that still wait in each speaker's spool."""
    counts: Mapping[str, Mapping[str, int]]
    """Counters of each speaker's spool."""
    part_files: Sequence[str]
    """Temporary files left behind."""
    opened_by_another: int
    """Clips that the key of another owner opened."""
    unopened: Sequence[str]
    """Ids of archived clips that the key of their owner does not open."""
    tombstones: frozenset[str] = frozenset()
    """Ids of the clips that the archive has recorded as erased."""


@dataclass(slots=True)
class Oracle:
    """What the run has sealed and ordered, in the order of events. For one thread."""

    sealed: dict[str, SealedClip] = field(default_factory=dict)
    orders: list[ErasureOrder] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    """Clips for which a speaker's spool raised an error, by speaker."""
    _events: int = 0

    def seal(self, clip: str, owner: str, device: str, sha256: str, at_s: float) -> None:
        """Record a clip that is durably in a spool since ``at_s``."""
        self.sealed[clip] = SealedClip(clip, owner, device, sha256, self._next(), at_s)

    def refuse(self, device: str) -> None:
        """Record a clip that a spool could not store."""
        self.refused[device] += 1

    def erase(
        self, owner: str, at_s: float, clips: Iterable[str] = (), delivered: Iterable[str] = ()
    ) -> None:
        """Record an order to erase all clips of an owner.

        Args:
            owner: name of the owner.
            at_s: time at which the receipt arrived, or the client waited no longer.
            clips: ids that the receipt names, none without a receipt.
            delivered: ids of ``sealed_since_order`` that had left their spool before the order.
        """
        number = self._next()
        self.orders.append(
            ErasureOrder(owner, number, at_s, frozenset(clips), frozenset(delivered))
        )

    def sealed_since_order(self, owner: str) -> set[str]:
        """Return the ids of an owner's clips that were sealed after their last order."""
        last = max((order.order for order in self.orders if order.owner == owner), default=-1)
        return {
            sealed.clip
            for sealed in self.sealed.values()
            if sealed.owner == owner and sealed.order > last
        }

    def judge(self, seen: Observed) -> list[str]:
        """Compare the records with what was observed; return the faults, none if all is well."""
        return [
            *self._judge_files(seen),
            *self._judge_absent(seen),
            *self._judge_orders(seen),
            *self._judge_listed(seen),
            *self._judge_counts(seen),
        ]

    def _next(self) -> int:
        self._events += 1
        return self._events - 1

    def _judge_files(self, seen: Observed) -> list[str]:
        faults = []
        times = Counter(file.clip for file in seen.files)
        for file in seen.files:
            sealed = self.sealed.get(file.clip)
            if sealed is None:
                faults.append(f"the archive has {file.clip}, which was not sealed")
            elif file.sha256 != sealed.sha256:
                faults.append(f"{file.clip} was altered")
            elif file.owner != sealed.owner:
                faults.append(f"{file.clip} of {sealed.owner} is stored for {file.owner}")
            if any(file.clip in order.clips for order in self.orders):
                faults.append(f"{file.clip} is stored, and a receipt says that it was erased")
        faults += [f"{clip} is stored {n} times" for clip, n in times.items() if n > 1]
        faults += [f"a temporary file was left: {name}" for name in seen.part_files]
        if seen.opened_by_another:
            faults.append(f"{seen.opened_by_another} clips were opened by another owner's key")
        return faults + [f"{clip} does not open with its owner's key" for clip in seen.unopened]

    def _judge_absent(self, seen: Observed) -> list[str]:
        """Account for each clip that is not at the archive."""
        there = {file.clip for file in seen.files}
        gone: Counter[str] = Counter()
        owners: defaultdict[str, set[str]] = defaultdict(set)
        faults = []
        for sealed in self.sealed.values():
            if sealed.clip in there or self._is_erased(sealed, seen):
                continue
            if sealed.clip in seen.set_aside.get(sealed.device, frozenset()):
                continue  # counted as quarantined, and its file exists
            if sealed.clip in seen.waiting.get(sealed.device, frozenset()):
                faults.append(f"{sealed.clip} still waits on {sealed.device}")
            else:
                gone[sealed.device] += 1
                owners[sealed.device].add(sealed.owner)
        for device, number in gone.items():
            counts = seen.counts.get(device, {})
            counted = sum(counts.get(name, 0) for name in COUNTED_LOSSES)
            if number > counted:
                of = " and ".join(sorted(owners[device]))
                faults.append(f"{number} clips of {of} on {device} are lost, {counted} are counted")
        return faults

    def _is_erased(self, sealed: SealedClip, seen: Observed) -> bool:
        """Return whether an order of its owner covers a clip.

        The order came later than the clip; or shortly before it, and the archive has recorded that
        it erased the clip.
        """
        return any(
            order.owner == sealed.owner and order.order > sealed.order for order in self.orders
        ) or self._is_erased_late(sealed.clip, seen)

    def _is_erased_late(self, clip: str, seen: Observed) -> bool:
        """Return whether an order erased a clip that was sealed shortly after it."""
        sealed = self.sealed[clip]
        return clip in seen.tombstones and any(
            order.order < sealed.order and sealed.at_s - order.at_s <= UNCERTAIN_S
            for order in self.orders
            if order.owner == sealed.owner
        )

    def _judge_orders(self, seen: Observed) -> list[str]:
        """An order erases what was delivered since the last one; it was not erased before."""
        return [
            f"{clip} was acknowledged after an order and before the next, whose receipt lacks it"
            for order in self.orders
            for clip in sorted(order.delivered - order.clips)
            if not self._is_erased_late(clip, seen)
        ]

    def _judge_listed(self, seen: Observed) -> list[str]:
        faults = []
        for owner, clips in seen.listed.items():
            stored = sorted(file.clip for file in seen.files if file.owner == owner)
            if sorted(clips) != stored:
                faults.append(f"{owner} is listed {len(clips)} clips, {len(stored)} are stored")
        return faults

    def _judge_counts(self, seen: Observed) -> list[str]:
        faults = []
        for device, number in self.refused.items():
            counted = seen.counts.get(device, {}).get("refused", 0)
            if counted < number:
                faults.append(f"{device} refused {number} clips and counted {counted}")
        for device, aside in seen.set_aside.items():
            counted = seen.counts.get(device, {}).get("quarantined", 0)
            if counted < len(aside):
                faults.append(f"{device} set {len(aside)} clips aside and counted {counted}")
        return faults
