"""Accounts for every sample: heard = discarded + sealed + held, at every moment.

Each sample position of the stream is counted once, even where clips overlap:

- **heard**: passed the gate;
- **held**: still in memory and not encrypted: in the ring buffer, in the clip that is recorded, or
  in a clip that waits for the sealer;
- **sealed**: in at least one envelope in the spool;
- **discarded**: no longer held, and not sealed.

The equation holds because positions move between these sets; no count is computed from the others.
Samples that arrive while muted are counted as **muted**, and not as heard.
"""

import threading
from dataclasses import dataclass
from enum import Enum, auto

import msgspec

from listener.audio.pcm import Frame, Gap, GapReason
from listener.ipc.notices import AttributionNotice, Tally
from listener.owner.attribution import NoOwner

_Span = tuple[int, int]  # first sample, end sample (exclusive)
_ENDLESS = 1 << 62


class ClipOutcome(Enum):
    """Outcome of a clip."""

    SEALED = auto()
    UNATTRIBUTED = auto()
    """Owner not recognised; wiped."""
    ABANDONED = auto()
    """Interrupted by a gap, a mute or the stop, or no free buffer; wiped."""
    LOST = auto()
    """Sealing or the spool failed; wiped."""


@dataclass(slots=True, eq=False)
class PendingClip:
    """Samples of one clip, which are held until its outcome is set."""

    first_sample: int
    end_sample: int | None = None
    """None while the clip is recorded."""


class Counters:
    """Counters of samples, wakes and clips. Safe for use by several threads."""

    def __init__(self, device: str, boot: str) -> None:
        """Start at zero.

        Args:
            device: name of the device.
            boot: random id of this run; see `notices.Tally`.
        """
        self._lock = threading.Lock()
        self._tally = Tally(device=device, boot=boot, seq=0)
        self._no_owner = dict.fromkeys(NoOwner, 0)
        self._held: list[_Span] = []
        self._pending: list[PendingClip] = []
        self._ring: _Span = (0, 0)

    def tally(self) -> Tally:
        """Return a consistent snapshot of all counters."""
        with self._lock:
            return msgspec.structs.replace(self._tally, held_samples=_length(self._held))

    def voices(self) -> AttributionNotice:
        """Return the counts of voices without an owner, which are a part of ``unattributed``."""
        with self._lock:
            return AttributionNotice(
                guests=self._no_owner[NoOwner.GUEST],
                unsure=self._no_owner[NoOwner.UNSURE],
                bystanders=self._no_owner[NoOwner.BYSTANDER],
            )

    def count_no_owner(self, reason: NoOwner) -> None:
        """Count a voice without an owner; its clip's outcome is set besides."""
        with self._lock:
            self._no_owner[reason] += 1

    def count_frame(self, frame: Frame, ring_first_sample: int) -> None:
        """Count a frame that was pushed into the ring buffer.

        Args:
            frame: the frame.
            ring_first_sample: position of the oldest sample in the ring buffer.
        """
        with self._lock:
            self._add(heard_samples=len(frame.samples))
            self._held = _merge_spans([*self._held, (frame.first_sample, frame.end_sample)])
            self._ring = (ring_first_sample, frame.end_sample)
            self._settle()

    def count_gap(self, gap: Gap) -> None:
        """Count a gap, at which the ring buffer was wiped."""
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
        """Count the ring buffer as wiped without a gap: at the stop."""
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
        """Hold all samples from ``first_sample`` on for a new clip; return the clip."""
        with self._lock:
            pending = PendingClip(first_sample)
            self._pending.append(pending)
            return pending

    def end_clip(self, pending: PendingClip, end_sample: int) -> None:
        """Set the end of a clip; later samples are held by the ring buffer only."""
        with self._lock:
            pending.end_sample = end_sample
            self._settle()

    def narrow_clip(self, pending: PendingClip, first_sample: int, end_sample: int) -> None:
        """Hold only a part of a clip that has ended: the rest is wiped and never sealed."""
        with self._lock:
            pending.first_sample, pending.end_sample = first_sample, end_sample
            self._settle()

    def release_clip(self, pending: PendingClip) -> None:
        """Stop holding the samples of a clip that begins again later; it has no outcome."""
        with self._lock:
            if pending in self._pending:
                self._pending.remove(pending)
                self._settle()

    def set_outcome(self, pending: PendingClip, outcome: ClipOutcome, seq: int = 0) -> None:
        """Count a clip's outcome and stop holding its samples; a second call has no effect.

        Args:
            pending: the clip, from `begin_clip`.
            outcome: outcome of the clip.
            seq: sequence number of its envelope; 0 without one.
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
        """Discard samples that neither the ring buffer nor a clip holds."""
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


def _length(spans: list[_Span]) -> int:
    return sum(end - first for first, end in spans)


def _merge_spans(spans: list[_Span]) -> list[_Span]:
    """Return the union as sorted, disjoint spans."""
    merged: list[_Span] = []
    for first, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((first, end))
    return merged


def _intersect(first: list[_Span], second: list[_Span]) -> list[_Span]:
    """Return the intersection of two lists of disjoint spans."""
    both = ((max(a, c), min(b, d)) for a, b in first for c, d in second)
    return _merge_spans(list(both))


def _subtract(spans: list[_Span], hole: _Span) -> list[_Span]:
    """Return the spans without ``hole``."""
    return _intersect(spans, [(-_ENDLESS, hole[0]), (hole[1], _ENDLESS)])
