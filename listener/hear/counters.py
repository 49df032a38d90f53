"""What became of every sample that was heard: the numbers that must add up at every moment.

Counted is the *place* of a sample on the stream's line, once, whatever overlaps:

- **heard**: it came through the gate;
- **held**: it still exists in the clear, in the ring, in a clip that is being made, or in one that
  waits to be sealed;
- **sealed**: it went into at least one envelope that the spool has;
- **discarded**: it was held, and is nowhere any more.

``heard == discarded + sealed + held`` follows from how places move, not from a fourth count.
Samples that the switch kept out are **muted** and were never heard.
"""

import threading
from dataclasses import dataclass
from enum import Enum, auto

import msgspec

from listener.audio.pcm import Frame, Gap, GapReason
from listener.ipc.notices import Tally

_Span = tuple[int, int]  # half open


class ClipOutcome(Enum):
    """What became of a clip."""

    SEALED = auto()
    UNATTRIBUTED = auto()
    """Nobody's for sure, so there is no clip."""
    ABANDONED = auto()
    """A gap cut it, or nobody had time for it; wiped."""
    LOST = auto()
    """Sealing or the spool refused it."""


@dataclass(slots=True, eq=False)
class PendingClip:
    """The sound of one clip: it is held until its outcome is known."""

    first_sample: int
    end_sample: int | None = None
    """None while the clip grows."""


class Counters:
    """A tally that adds up. Safe for use by several threads."""

    def __init__(self, device: str, boot: str) -> None:
        """Begin at zero.

        Args:
            device: its name.
            boot: random, for this run; see `notices.Tally`.
        """
        self._lock = threading.Lock()
        self._tally = Tally(device=device, boot=boot, seq=0)
        self._held: list[_Span] = []
        self._pending: list[PendingClip] = []
        self._ring: _Span = (0, 0)

    def tally(self) -> Tally:
        """Return all counts of one moment."""
        with self._lock:
            return msgspec.structs.replace(self._tally, held_samples=_length(self._held))

    def count_frame(self, frame: Frame, ring_first_sample: int) -> None:
        """Count a frame that went into the ring.

        Args:
            frame: the frame.
            ring_first_sample: where the oldest sample stands that the ring still holds.
        """
        with self._lock:
            self._add(heard_samples=len(frame.samples))
            self._held = _merge_spans([*self._held, (frame.first_sample, frame.end_sample)])
            self._ring = (ring_first_sample, frame.end_sample)
            self._settle()

    def count_gap(self, gap: Gap) -> None:
        """Count a gap, at which the ring was wiped."""
        with self._lock:
            muted = gap.length_samples - gap.cut_samples if gap.reason is GapReason.MUTED else 0
            self._add(
                heard_samples=gap.cut_samples,
                discarded_samples=gap.cut_samples,
                muted_samples=muted,
            )
            self._ring = (0, 0)
            self._settle()

    def count_wipe(self) -> None:
        """Note that the ring was wiped without a gap: at the end."""
        with self._lock:
            self._ring = (0, 0)
            self._settle()

    def count_wake(self) -> None:
        """Count a wake."""
        with self._lock:
            self._add(wakes=1)

    def count_near_miss(self) -> None:
        """Count a near miss."""
        with self._lock:
            self._add(near_misses=1)

    def begin_clip(self, first_sample: int) -> PendingClip:
        """Hold what a clip holds, from ``first_sample`` on; it must not be discarded yet."""
        with self._lock:
            pending = PendingClip(first_sample)
            self._pending.append(pending)
            return pending

    def end_clip(self, pending: PendingClip, end_sample: int) -> None:
        """Say where the clip ends; what came after is held by the ring alone."""
        with self._lock:
            pending.end_sample = end_sample
            self._settle()

    def set_outcome(self, pending: PendingClip, outcome: ClipOutcome, seq: int = 0) -> None:
        """Let go of a clip's sound, once; deciding again changes nothing.

        Args:
            pending: the clip's.
            outcome: what became of it.
            seq: the number its envelope got, if it got one.
        """
        with self._lock:
            if pending not in self._pending:
                return
            self._pending.remove(pending)
            if outcome is ClipOutcome.SEALED and pending.end_sample is not None:
                left = _subtract(self._held, (pending.first_sample, pending.end_sample))
                self._add(sealed_samples=_length(self._held) - _length(left))
                self._held = left
            self._add(
                sealed=outcome is ClipOutcome.SEALED,
                unattributed=outcome is ClipOutcome.UNATTRIBUTED,
                abandoned=outcome is ClipOutcome.ABANDONED,
                lost=outcome is ClipOutcome.LOST,
            )
            if seq:
                self._tally = msgspec.structs.replace(self._tally, seq=max(seq, self._tally.seq))
            self._settle()

    def _settle(self) -> None:
        """Discard what neither the ring nor a clip holds any more."""
        keep = _merge_spans(
            [
                self._ring,
                *(
                    (
                        pending.first_sample,
                        _ENDLESS if pending.end_sample is None else pending.end_sample,
                    )
                    for pending in self._pending
                ),
            ]
        )
        held = _intersect(self._held, keep)
        self._add(discarded_samples=_length(self._held) - _length(held))
        self._held = held

    def _add(self, **counts: int) -> None:
        self._tally = msgspec.structs.replace(
            self._tally,
            **{name: getattr(self._tally, name) + count for name, count in counts.items()},
        )


_ENDLESS = 1 << 62


def _length(spans: list[_Span]) -> int:
    return sum(end - first for first, end in spans)


def _merge_spans(spans: list[_Span]) -> list[_Span]:
    """Return the same places as few, sorted, disjoint spans."""
    merged: list[_Span] = []
    for first, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((first, end))
    return merged


def _intersect(ours: list[_Span], theirs: list[_Span]) -> list[_Span]:
    """Return the places in both, of disjoint spans each."""
    both = ((max(a, c), min(b, d)) for a, b in ours for c, d in theirs)
    return _merge_spans(list(both))


def _subtract(spans: list[_Span], hole: _Span) -> list[_Span]:
    """Return the places that are not in ``hole``."""
    return _intersect(spans, [(-_ENDLESS, hole[0]), (hole[1], _ENDLESS)])
